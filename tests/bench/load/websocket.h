// The little of WebSocket (RFC 6455) that a client needs.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace aphlict::bench {

enum Opcode : unsigned char { kText = 1, kBinary = 2, kClose = 8, kPing = 9, kPong = 10 };

// RFC 6455 section 1.3: this key must be answered so.
inline constexpr const char* kHandshakeKey = "dGhlIHNhbXBsZSBub25jZQ==";
inline constexpr const char* kHandshakeAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

// One whole frame, masked as a client's must be.
std::string MaskedFrame(Opcode opcode, std::string_view payload);

struct Frame {
  Opcode opcode;
  std::size_t head_bytes;
  std::string_view payload;

  std::size_t bytes() const { return head_bytes + payload.size(); }
};

// The unmasked frame that `bytes` begins with, or nothing if it is not there yet as a whole. It lives as long as they.
std::optional<Frame> FirstFrame(std::string_view bytes);

}  // namespace aphlict::bench
