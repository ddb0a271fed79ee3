// One request over a connection of its own, and its answer: what asks nodes, and whatever else answers in their place.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/result.h"
#include "common/base/time.h"
#include "common/http/head.h"
#include "common/http/response_parser.h"
#include "common/net/dialer.h"
#include "common/net/loop.h"
#include "common/net/stream.h"
#include "common/net/timer.h"
#include "common/net/tls_context.h"

namespace aphlict::commands {

struct HttpRequest {
  std::string method = "GET";
  http::Url url;
  std::string body;
  http::Headers headers;  // further ones; not Host, Connection, Content-Length
};

struct HttpAnswer {
  http::ResponseHead head;
  std::string body;
  Duration took{};  // from the connection being there to the answer's last byte
};

class HttpCall : private net::StreamHandler {
 public:
  // Told once, and later. Errors: no whole answer within `timeout`; `text` says how far it came.
  using Done = std::function<void(Result<HttpAnswer>)>;

  // `tls` outlives the call. A call that is gone is cancelled.
  HttpCall(net::Loop& loop, HttpRequest request, const net::TlsContext* tls, Duration timeout, Done done);

  static constexpr std::size_t kMostBytes = 256 * 1024 * 1024;  // of an answer

 private:
  void OnStream(Result<net::StreamPtr> stream);
  void OnBytes(std::string_view bytes) override;
  void OnEnd(const std::string& reason) override;
  void OnReadEnd() override;
  void Ended(const std::string& reason, bool whole);
  void Finish();
  void Fail(const std::string& reason);

  HttpRequest request_;
  Done done_;
  Time sent_{};
  net::StreamPtr stream_;
  http::ResponseParser parser_;
  bool over_ = false;
  Duration timeout_;
  net::Timer deadline_;
  net::Dialer dialer_;
};

}  // namespace aphlict::commands
