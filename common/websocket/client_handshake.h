// The client's side of the opening handshake (RFC 6455 section 4.1) as bytes: the request, and its answer in whatever
// pieces that comes.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/base/result.h"
#include "common/http/head.h"

namespace aphlict::websocket {

class ClientHandshake {
 public:
  // `protocol` is the subprotocol to ask for, or empty.
  explicit ClientHandshake(std::string_view protocol = "");

  std::string Request(std::string_view authority, std::string_view path, const http::Headers& further = {}) const;

  // Takes the next bytes of the answer. Nothing as long as its head has not come whole; then, once, what came behind
  // it. Errors: what is wrong, with the reason that a refusal gives in its body, {"error": "why"} or plain text; `code`
  // is the answer's status, or 0 where it is none.
  std::optional<Result<std::string>> Take(std::string_view bytes);

 private:
  std::string protocol_;
  std::string key_;
  std::string answer_;  // as far as it has come
};

}  // namespace aphlict::websocket
