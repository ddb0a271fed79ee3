#include "common/websocket/client_handshake.h"

#include <utility>

#include "common/http/response_parser.h"
#include "common/json/value.h"
#include "common/websocket/handshake.h"

namespace aphlict::websocket {

namespace {

constexpr std::size_t kMostHead = 16 * 1024;
constexpr std::size_t kMostReason = 256;

std::string ReasonIn(std::string_view body) {
  const auto object = json::Parse(body.substr(0, 4 * kMostReason));
  const std::string reason = object ? (*object)["error"].string() : "";
  return reason.empty() ? std::string(body.substr(0, kMostReason)) : reason;
}

}  // namespace

ClientHandshake::ClientHandshake(std::string_view protocol) : protocol_(protocol), key_(RandomKey()) {}

std::string ClientHandshake::Request(std::string_view authority, std::string_view path,
                                     const http::Headers& further) const {
  return HandshakeRequest(authority, path, key_, protocol_, further);
}

std::optional<Result<std::string>> ClientHandshake::Take(std::string_view bytes) {
  answer_.append(bytes);
  const std::size_t end = answer_.find("\r\n\r\n");
  if (end == std::string::npos) {
    if (answer_.size() > kMostHead) return Error{"the answer to the handshake is too long"};
    return std::nullopt;
  }
  const std::string answer = std::exchange(answer_, {});
  const auto head = http::ParseResponseHead(std::string_view(answer).substr(0, end + 4));
  if (!head) return Error{"the answer to the handshake: " + head.error().text};
  const std::string_view behind = std::string_view(answer).substr(end + 4);
  if (auto accepted = CheckHandshakeResponse(*head, key_, protocol_); !accepted) {
    const std::string reason = ReasonIn(behind);
    return Error{accepted.error().text + (reason.empty() ? "" : ": " + reason), head->status};
  }
  return std::string(behind);
}

}  // namespace aphlict::websocket
