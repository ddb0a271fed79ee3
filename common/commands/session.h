// What a command has around it: a loop, whom it trusts, its token, and where it prints.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"
#include "common/base/secret.h"
#include "common/base/time.h"
#include "common/commands/http_call.h"
#include "common/commands/options.h"
#include "common/http/head.h"
#include "common/json/value.h"
#include "common/net/loop.h"
#include "common/net/tls_context.h"

namespace aphlict::commands {

class Session {
 public:
  // Reads what the options name. Errors: `code` is an exit code of sysexits(3), here and below.
  static Result<std::unique_ptr<Session>> Open(std::string program, const Options& options);

  net::Loop& loop() { return loop_; }
  const net::TlsContext* tls() const { return tls_.get(); }
  const http::Url& admin() const { return admin_; }
  Duration timeout() const { return timeout_; }

  // A request for an admin port: `path` behind the URL's own, with the instance and the token.
  HttpRequest AdminRequest(const http::Url& url, std::string_view path, const std::string& instance) const;
  // Turns the loop until there is an answer, whatever its status. Errors: 69.
  Result<HttpAnswer> Fetch(HttpRequest request);
  // Publishes a message at the node that --admin names. Errors: as of Fetch().
  Result<HttpAnswer> Publish(std::string message, const std::string& instance);
  // The status of the node that --admin names, as text and read, fit for ReadTree(). Errors: 69 when it is not reached,
  // 77 when it lets nobody in, 76 when what answers is no node.
  struct Status {
    std::string text;
    json::Value value;
  };
  Result<Status> FetchStatus(const std::string& instance);
  static Result<Status> ReadStatus(const http::Url& url, const HttpAnswer& answer);

  // Turns the loop until Done() is called.
  void Wait();
  void Done();

  // To stdout, at once. Returns false when nobody reads it any more.
  bool Print(std::string_view text);
  // To stderr, a line, with the program's name.
  void Say(std::string_view text);
  // On a terminal, what the command is about to do, on stderr, in the place of what was said before; else nothing.
  // Empty: takes it away.
  void Progress(std::string_view text);
  bool output_is_terminal() const { return output_is_terminal_; }
  // Of the terminal, in characters; 0: it is none.
  std::size_t width() const;

 private:
  Session(std::string program, const Options& options);

  std::string program_;
  net::Loop loop_;
  std::unique_ptr<net::TlsContext> tls_;
  std::optional<Secrets> token_;
  http::Url admin_;
  Duration timeout_;
  bool waits_ = false;
  bool output_is_terminal_;
  bool errors_are_terminal_;
  bool progress_shown_ = false;
};

// A message of that type for these, with a uniqueID of its own.
std::string TestMessage(std::string_view type, const std::vector<std::string>& phids);

// What an answer that was not wanted says: "502 Bad Gateway: …", with the reason that a node gives in its JSON.
std::string Describe(const HttpAnswer& answer);

// An exit code for an answer's status: 69, 76, 77 or 65.
int ExitCodeOf(int status);

}  // namespace aphlict::commands
