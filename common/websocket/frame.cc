#include "common/websocket/frame.h"

#include <algorithm>

namespace aphlict::websocket {

namespace {

constexpr char kFinal = static_cast<char>(0x80);  // in a header's first byte
constexpr std::uint8_t kMasked = 0x80;            // in its second
constexpr std::uint8_t kLengthOf16Bits = 126;
constexpr std::uint8_t kLengthOf64Bits = 127;
constexpr std::size_t kMaxControlPayload = 125;  // section 5.5

std::string Header(Opcode opcode, std::uint64_t payload_size, std::uint8_t mask_bit) {
  std::string header;
  header.push_back(static_cast<char>(kFinal | static_cast<char>(opcode)));
  // Section 5.2: the length must be written in the shortest way.
  if (payload_size < kLengthOf16Bits) {
    header.push_back(static_cast<char>(mask_bit | payload_size));
  } else if (payload_size <= 0xffff) {
    header.push_back(static_cast<char>(mask_bit | kLengthOf16Bits));
    AppendBigEndian(header, static_cast<std::uint16_t>(payload_size));
  } else {
    header.push_back(static_cast<char>(mask_bit | kLengthOf64Bits));
    AppendBigEndian(header, payload_size);
  }
  return header;
}

}  // namespace

std::string FrameHeader(Opcode opcode, std::uint64_t payload_size) { return Header(opcode, payload_size, 0); }

SharedBytes EncodeFrame(Opcode opcode, std::string_view payload, std::optional<std::uint32_t> mask) {
  if (!mask) return SharedBytes::Concat(FrameHeader(opcode, payload.size()), payload);

  char key[4];
  StoreBigEndian(key, *mask);
  std::string header = Header(opcode, payload.size(), kMasked);
  header.append(key, sizeof(key));
  char* out = nullptr;
  SharedBytes frame = SharedBytes::Uninitialized(header.size() + payload.size(), &out);
  std::memcpy(out, header.data(), header.size());
  out += header.size();
  for (std::size_t i = 0; i < payload.size(); ++i) {
    out[i] = static_cast<char>(payload[i] ^ key[i % sizeof(key)]);
  }
  return frame;
}

std::string ClosePayload(std::uint16_t code, std::string_view reason) {
  std::string payload;
  // These two stand for the absence of a code, and must not be sent (section 7.4.1).
  if (code == kNoStatusReceived || code == kAbnormalClosure) return payload;
  AppendBigEndian(payload, code);
  std::size_t length = std::min(reason.size(), kMaxControlPayload - payload.size());
  if (length < reason.size()) {
    // A byte 10xxxxxx continues a character, so the character begins before it.
    while (length > 0 && (reason[length] & 0xc0) == 0x80) --length;
  }
  payload.append(reason.substr(0, length));
  return payload;
}

std::optional<std::size_t> PayloadOffset(std::string_view frame, Opcode opcode) {
  for (std::size_t offset : {2, 4, 10}) {
    if (frame.size() < offset) break;
    const std::string header = FrameHeader(opcode, frame.size() - offset);
    if (header.size() == offset && frame.starts_with(header)) return offset;
  }
  return std::nullopt;
}

}  // namespace aphlict::websocket
