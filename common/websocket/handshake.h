// The opening handshake (RFC 6455 section 4).
#pragma once

#include <string>
#include <string_view>

#include "common/base/result.h"
#include "common/http/head.h"

namespace aphlict::websocket {

// Whether a request asks for a WebSocket at all (an Upgrade header that has the token `websocket`). One
// that does not is plain HTTP.
bool IsUpgrade(const http::RequestHead& request);

// The server's side: checks a request (section 4.2.1) and gives the value of Sec-WebSocket-Accept.
// Errors: `code` is the status to answer with: 400, 405 (not GET), 426 (a version other than 13, to be
// answered with `Sec-WebSocket-Version: 13`).
Result<std::string> AcceptHandshake(const http::RequestHead& request);

// The 101 response. `protocol` is the subprotocol that was chosen, or empty.
std::string SwitchingProtocols(std::string_view accept, std::string_view protocol);

// The client's side. `key` is 16 random bytes in base64.
std::string RandomKey();
std::string HandshakeRequest(std::string_view authority, std::string_view path, std::string_view key,
                             std::string_view protocol, const http::Headers& further);
// Whether `response` accepts the handshake of `key` with `protocol` (section 4.1). Errors say what is wrong;
// `code` is the response's status.
Result<void> CheckHandshakeResponse(const http::ResponseHead& response, std::string_view key,
                                    std::string_view protocol);

}  // namespace aphlict::websocket
