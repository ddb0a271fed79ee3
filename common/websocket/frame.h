// WebSocket frames as bytes (RFC 6455 section 5): what goes out.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/bytes.h"

namespace aphlict::websocket {

enum class Opcode : std::uint8_t {
  kContinuation = 0x0,
  kText = 0x1,
  kBinary = 0x2,
  kClose = 0x8,
  kPing = 0x9,
  kPong = 0xa,
};

// Close codes (RFC 6455 section 7.4.1; 1012 to 1014 are in IANA's registry).
inline constexpr std::uint16_t kNormalClosure = 1000;
inline constexpr std::uint16_t kGoingAway = 1001;
inline constexpr std::uint16_t kProtocolError = 1002;
inline constexpr std::uint16_t kUnsupportedData = 1003;
inline constexpr std::uint16_t kNoStatusReceived = 1005;  // never sent: a close without a code
inline constexpr std::uint16_t kAbnormalClosure = 1006;   // never sent: the connection broke
inline constexpr std::uint16_t kInvalidPayload = 1007;
inline constexpr std::uint16_t kPolicyViolation = 1008;
inline constexpr std::uint16_t kMessageTooBig = 1009;
inline constexpr std::uint16_t kInternalError = 1011;
inline constexpr std::uint16_t kTryAgainLater = 1013;

// The longest header: 2 bytes, 8 of length, 4 of mask.
inline constexpr std::size_t kMaxFrameHeader = 14;

// The header of an unfragmented, unmasked frame: what a server sends.
std::string FrameHeader(Opcode opcode, std::uint64_t payload_size);

// A whole frame. With a mask, as a client must send (section 5.3), the payload is masked by it. Masks of a
// client must come from a strong source of randomness (section 10.3).
SharedBytes EncodeFrame(Opcode opcode, std::string_view payload, std::optional<std::uint32_t> mask = std::nullopt);

// The payload of a close frame (section 5.5.1). A reason longer than 123 bytes is cut at a character.
std::string ClosePayload(std::uint16_t code, std::string_view reason);

// The header of one complete unmasked frame that fills `frame` to its end: where its payload begins, or
// nothing when `frame` is not exactly one final, unmasked frame of that opcode.
std::optional<std::size_t> PayloadOffset(std::string_view frame, Opcode opcode);

}  // namespace aphlict::websocket
