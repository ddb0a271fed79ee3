// Requests out of bytes (RFC 9112), with bounds and without leniency. llhttp in strict mode does the
// grammar. What its version lets through although the RFC does not (a bare CR, a bare LF, folded header
// lines, several Hosts), and all sizes, are checked here. Trailers are checked like headers, and dropped.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/result.h"
#include "common/http/head.h"

namespace aphlict::http {

struct ParserLimits {
  std::size_t head_bytes = 16 * 1024;        // past it 431
  std::size_t headers = 100;                 // past it 431
  std::size_t body_bytes = 8 * 1024 * 1024;  // past it 413
};

// Parses one request after another from a connection's bytes.
//
// Errors of Feed: the request can not be understood; `code` is the status to answer with (400, 413, 417,
// 431, 501 for a transfer coding or method we do not have, 505), `text` the reason for the answer's body. The
// connection has lost its framing and must be closed after the answer.
class RequestParser {
 public:
  enum class State {
    kHead,      // the head is not complete
    kBody,      // head() is there, the body is not complete
    kComplete,  // head() and body() are there; nothing more is consumed until Next()
  };

  explicit RequestParser(const ParserLimits& limits = {});
  ~RequestParser();
  RequestParser(const RequestParser&) = delete;
  RequestParser& operator=(const RequestParser&) = delete;

  // Takes bytes from the front of `bytes`, and returns how many. Stops early only in kComplete, and once
  // when the head has become complete (state() kBody), so that the caller can look at it before the body
  // comes: an oversized Content-Length has failed by then. Call again with the rest.
  Result<std::size_t> Feed(std::string_view bytes);

  State state() const;
  // Whether any byte of a request has been taken: tells an idle connection from a slow one.
  bool started() const;
  const RequestHead& head() const;  // REQUIRES: kBody or kComplete.
  std::string& body();              // REQUIRES: kComplete. The caller may take it.
  // Bytes that what has come of a request takes.
  std::size_t memory() const;

  // Ready for the next request. REQUIRES: kComplete.
  void Next();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace aphlict::http
