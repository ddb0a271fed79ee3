#include "tests/bench/load/websocket.h"

namespace aphlict::bench {

std::string MaskedFrame(Opcode opcode, std::string_view payload) {
  static constexpr unsigned char kMask[4] = {0x12, 0x34, 0x56, 0x78};
  std::string frame(1, static_cast<char>(0x80 | opcode));
  if (payload.size() < 126) {
    frame += static_cast<char>(0x80 | payload.size());
  } else if (payload.size() < 65536) {
    frame += static_cast<char>(0x80 | 126);
    frame += static_cast<char>(payload.size() >> 8);
    frame += static_cast<char>(payload.size() & 0xff);
  } else {
    frame += static_cast<char>(0x80 | 127);
    for (int shift = 56; shift >= 0; shift -= 8) frame += static_cast<char>((payload.size() >> shift) & 0xff);
  }
  frame.append(reinterpret_cast<const char*>(kMask), sizeof(kMask));
  for (std::size_t i = 0; i < payload.size(); ++i) {
    frame += static_cast<char>(static_cast<unsigned char>(payload[i]) ^ kMask[i % 4]);
  }
  return frame;
}
std::optional<Frame> FirstFrame(std::string_view bytes) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  if (bytes.size() < 2) return {};
  std::size_t head_bytes = 2;
  std::size_t payload_bytes = byte(1) & 0x7f;
  if (payload_bytes >= 126) {
    const std::size_t digits = payload_bytes == 126 ? 2 : 8;
    if (bytes.size() < 2 + digits) return {};
    payload_bytes = 0;
    for (std::size_t i = 0; i < digits; ++i) payload_bytes = payload_bytes << 8 | byte(2 + i);
    head_bytes += digits;
  }
  if (bytes.size() - head_bytes < payload_bytes) return {};
  return Frame{static_cast<Opcode>(byte(0) & 0x0f), head_bytes, bytes.substr(head_bytes, payload_bytes)};
}

}  // namespace aphlict::bench
