// Responses as values, and their bytes (RFC 9112 section 4).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/bytes.h"
#include "common/http/head.h"

namespace aphlict::http {

struct Header {
  std::string name;
  std::string value;
};

struct Response {
  int status = 200;
  std::string content_type = "text/plain; charset=utf-8";
  std::string body;
  std::vector<Header> headers;  // further ones; not Content-Length, Content-Type, Connection
};

// The reason phrase of RFC 9110 section 15, or "Unknown".
std::string_view ReasonPhrase(int status);

// Head and body; `close` tells the peer that the connection ends after it. To a HEAD request the body is left out, its
// length is not.
std::string Serialize(const Response& response, bool close, bool head_request = false);

// A response that is given again and again: its bytes are made once.
class PreparedResponse {
 public:
  explicit PreparedResponse(const Response& response);

  // What Serialize() makes, shared.
  SharedBytes Bytes(bool close, bool head_request) const;

 private:
  SharedBytes keep_alive_;
  SharedBytes close_;
  std::size_t body_size_;
};

// A JSON body that says what is wrong: {"error":"…"}.
Response ErrorResponse(int status, std::string_view reason);

}  // namespace aphlict::http
