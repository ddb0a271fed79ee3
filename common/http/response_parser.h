// Responses out of bytes (RFC 9112), with bounds and without leniency, by the same rules as requests (parser.h).
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/result.h"
#include "common/http/head.h"
#include "common/http/parser.h"

namespace aphlict::http {

// Parses one response after another from a connection's bytes: answers to other methods than HEAD and CONNECT.
// Interim ones (1xx) are passed over. Errors of Feed() and End() say what is wrong; the connection is of no use then.
class ResponseParser {
 public:
  explicit ResponseParser(const ParserLimits& limits = {});
  ~ResponseParser();
  ResponseParser(const ResponseParser&) = delete;
  ResponseParser& operator=(const ResponseParser&) = delete;

  // Takes bytes from the front of `bytes`, and returns how many: all, until a response is complete.
  Result<std::size_t> Feed(std::string_view bytes);
  // The peer has closed its side, which may be how the body ends. Errors: the response is cut off.
  Result<void> End();

  // Whether any byte of a response has been taken that is not an interim one.
  bool started() const;
  bool complete() const;
  const ResponseHead& head() const;  // REQUIRES: complete().
  std::string& body();               // REQUIRES: complete(). The caller may take it.
  bool keep_alive() const;           // REQUIRES: complete(). Whether the connection may be used again.

  // Ready for the next response. REQUIRES: complete().
  void Next();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// A whole response head, from the status line to the empty line, both included (the answer to a WebSocket
// handshake). Errors: it is not one, or it breaks the rules of parser.h.
Result<ResponseHead> ParseResponseHead(std::string_view head);

}  // namespace aphlict::http
