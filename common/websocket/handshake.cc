#include "common/websocket/handshake.h"

#include <openssl/evp.h>
#include <openssl/rand.h>

#include <array>
#include <cstdlib>

namespace aphlict::websocket {

namespace {

constexpr std::string_view kVersion = "13";

std::string Base64(const unsigned char* data, std::size_t size) {
  std::string text(4 * ((size + 2) / 3), '\0');
  // It writes a zero byte after the text, too: where std::string has its own.
  EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), data, static_cast<int>(size));
  return text;
}

// Whether `text` is 16 bytes in base64: 21 characters of 6 bits, one for the last 2, and the padding.
bool IsKey(std::string_view text) {
  constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  return text.size() == 24 && text.ends_with("==") &&
         text.substr(0, 22).find_first_not_of(kAlphabet) == std::string_view::npos;
}

// Section 4.2.2, item 5.4. Errors: OpenSSL has no SHA-1; `code` is 500.
Result<std::string> AcceptValue(std::string_view key) {
  std::string text(key);
  text += "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int size = 0;
  if (EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha1(), nullptr) != 1) {
    return Error{"SHA-1 is not available", 500};
  }
  return Base64(digest.data(), size);
}

}  // namespace

bool IsUpgrade(const http::RequestHead& request) { return request.headers.HasToken("Upgrade", "websocket"); }

Result<std::string> AcceptHandshake(const http::RequestHead& request) {
  const http::Headers& headers = request.headers;
  if (request.method != "GET") return Error{"a WebSocket handshake is a GET", 405};
  if (request.version_minor < 1) return Error{"a WebSocket handshake needs HTTP/1.1", 400};
  if (!IsUpgrade(request)) return Error{"Upgrade does not name websocket", 400};
  if (!headers.HasToken("Connection", "upgrade")) {
    return Error{"Connection does not name upgrade", 400};
  }
  // Before the key: the handshake of another version may look different.
  const http::Headers::Found versions = headers.FindAll("Sec-WebSocket-Version");
  if (versions.count > 1) return Error{"more than one Sec-WebSocket-Version", 400};
  if (versions.first != kVersion) {
    return Error{"only version 13 of the WebSocket protocol is spoken here", 426};
  }
  const http::Headers::Found keys = headers.FindAll("Sec-WebSocket-Key");
  if (keys.count != 1) return Error{"there must be one Sec-WebSocket-Key", 400};
  if (!IsKey(keys.first)) return Error{"Sec-WebSocket-Key is not 16 bytes in base64", 400};
  return AcceptValue(keys.first);
}

std::string SwitchingProtocols(std::string_view accept, std::string_view protocol) {
  std::string response =
      "HTTP/1.1 101 Switching Protocols\r\n"
      "Upgrade: websocket\r\n"
      "Connection: Upgrade\r\n"
      "Sec-WebSocket-Accept: ";
  response.append(accept).append("\r\n");
  if (!protocol.empty()) {
    response.append("Sec-WebSocket-Protocol: ").append(protocol).append("\r\n");
  }
  return response += "\r\n";
}

std::string RandomKey() {
  std::array<unsigned char, 16> bytes;
  // Fails only where the kernel has no random numbers: nothing can go on safely then.
  if (RAND_bytes(bytes.data(), bytes.size()) != 1) std::abort();
  return Base64(bytes.data(), bytes.size());
}

std::string HandshakeRequest(std::string_view authority, std::string_view path, std::string_view key,
                             std::string_view protocol, const http::Headers& further) {
  std::string request;
  auto add_header = [&](std::string_view name, std::string_view value) {
    request.append(name).append(": ").append(value).append("\r\n");
  };
  request.append("GET ").append(path).append(" HTTP/1.1\r\n");
  add_header("Host", authority);
  add_header("Upgrade", "websocket");
  add_header("Connection", "Upgrade");
  add_header("Sec-WebSocket-Key", key);
  add_header("Sec-WebSocket-Version", kVersion);
  if (!protocol.empty()) add_header("Sec-WebSocket-Protocol", protocol);
  for (std::size_t i = 0; i < further.size(); ++i) add_header(further[i].name, further[i].value);
  return request += "\r\n";
}

Result<void> CheckHandshakeResponse(const http::ResponseHead& response, std::string_view key,
                                    std::string_view protocol) {
  const http::Headers& headers = response.headers;
  auto error = [&](std::string text) { return Error{std::move(text), response.status}; };
  if (response.status != 101) {
    return error("answered with status " + std::to_string(response.status) + " in place of 101");
  }
  if (!headers.HasToken("Upgrade", "websocket")) return error("Upgrade does not name websocket");
  if (!headers.HasToken("Connection", "upgrade")) return error("Connection does not name upgrade");

  const Result<std::string> accept = AcceptValue(key);
  if (!accept) return error(accept.error().text);
  if (const auto [count, first] = headers.FindAll("Sec-WebSocket-Accept"); count != 1 || first != *accept) {
    return error("Sec-WebSocket-Accept does not belong to our key");
  }
  if (headers.Count("Sec-WebSocket-Extensions") > 0) {
    return error("chose an extension that was not offered");
  }
  const auto [protocols, chosen] = headers.FindAll("Sec-WebSocket-Protocol");
  if (chosen != protocol || protocols > 1) {
    return error("chose the subprotocol \"" + std::string(chosen) + "\" in place of \"" + std::string(protocol) + "\"");
  }
  return {};
}

}  // namespace aphlict::websocket
