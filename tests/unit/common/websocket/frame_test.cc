#include "common/websocket/frame.h"

#include <doctest/doctest.h>

#include <string>

namespace aphlict::websocket {
namespace {

std::string Frame(Opcode opcode, std::string_view payload, std::optional<std::uint32_t> mask = std::nullopt) {
  return std::string(EncodeFrame(opcode, payload, mask).view());
}

TEST_CASE("frames are encoded as in the examples of RFC 6455, section 5.7") {
  CHECK(Frame(Opcode::kText, "Hello") == "\x81\x05Hello");
  CHECK(Frame(Opcode::kText, "Hello", 0x37fa213d) == "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
  CHECK(Frame(Opcode::kPing, "Hello") == "\x89\x05Hello");
  CHECK(Frame(Opcode::kPong, "Hello", 0x37fa213d) == "\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
  CHECK(FrameHeader(Opcode::kBinary, 256) == std::string("\x82\x7e\x01\x00", 4));
  CHECK(FrameHeader(Opcode::kBinary, 65536) == std::string("\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 10));
}

TEST_CASE("a payload's length is written in the shortest way") {
  CHECK(FrameHeader(Opcode::kText, 0) == std::string("\x81\x00", 2));
  CHECK(FrameHeader(Opcode::kText, 125) == "\x81\x7d");
  CHECK(FrameHeader(Opcode::kText, 126) == std::string("\x81\x7e\x00\x7e", 4));
  CHECK(FrameHeader(Opcode::kText, 65535) == "\x81\x7e\xff\xff");
  CHECK(FrameHeader(Opcode::kText, 0x0102030405060708) == "\x81\x7f\x01\x02\x03\x04\x05\x06\x07\x08");
}

TEST_CASE("a masked frame gives back its payload when it is unmasked") {
  for (std::size_t size : {0, 1, 3, 4, 125, 126, 65535, 65536}) {
    const std::string payload(size, 'x');
    const std::string frame = Frame(Opcode::kBinary, payload, 0x01020304);
    REQUIRE(frame.size() > size + 4);
    const std::size_t header = frame.size() - size;
    CHECK((frame[1] & 0x80) != 0);
    CHECK(frame.substr(header - 4, 4) == "\x01\x02\x03\x04");
    std::string unmasked = frame.substr(header);
    for (std::size_t i = 0; i < size; ++i) unmasked[i] ^= static_cast<char>(i % 4 + 1);
    CHECK(unmasked == payload);
  }
}

TEST_CASE("a close payload is the code and the reason") {
  CHECK(ClosePayload(kGoingAway, "") == "\x03\xe9");
  CHECK(ClosePayload(kPolicyViolation, "no") == "\x03\xf0no");

  SUBCASE("without either, where there is no code to send") {
    CHECK(ClosePayload(kNoStatusReceived, "reason").empty());
    CHECK(ClosePayload(kAbnormalClosure, "reason").empty());
  }
  SUBCASE("cut to what fits a control frame") {
    CHECK(ClosePayload(kGoingAway, std::string(123, 'a')).size() == 125);
    CHECK(ClosePayload(kGoingAway, std::string(124, 'a')).size() == 125);
  }
  SUBCASE("cut between two characters") {
    const std::string payload = ClosePayload(kGoingAway, std::string(122, 'a') +
                                                             "\u20ac"
                                                             "b");
    CHECK(payload == "\x03\xe9" + std::string(122, 'a'));
    CHECK(ClosePayload(kGoingAway, std::string(120, 'a') + "\u20ac"
                                                           "b") == "\x03\xe9" + std::string(120, 'a') + "\u20ac");
  }
}

TEST_CASE("the payload of an encoded frame is found") {
  for (std::size_t size : {0, 1, 125, 126, 65535, 65536}) {
    const std::string payload(size, 'x');
    const std::string frame = Frame(Opcode::kText, payload);
    CHECK(PayloadOffset(frame, Opcode::kText) == frame.size() - size);
  }
}

TEST_CASE("what is not exactly one final unmasked frame of the opcode has no payload offset") {
  const std::string frame = Frame(Opcode::kText, "Hello");
  CHECK(PayloadOffset("", Opcode::kText) == std::nullopt);
  CHECK(PayloadOffset("\x81", Opcode::kText) == std::nullopt);
  CHECK(PayloadOffset(frame, Opcode::kBinary) == std::nullopt);
  CHECK(PayloadOffset(frame + "x", Opcode::kText) == std::nullopt);
  CHECK(PayloadOffset(frame.substr(0, 6), Opcode::kText) == std::nullopt);
  CHECK(PayloadOffset(Frame(Opcode::kText, "Hello", 1), Opcode::kText) == std::nullopt);
  CHECK(PayloadOffset("\x01\x05Hello", Opcode::kText) == std::nullopt);
  CHECK(PayloadOffset("\xc1\x05Hello", Opcode::kText) == std::nullopt);
  CHECK(PayloadOffset(std::string("\x81\x7e\x00\x05Hello", 9), Opcode::kText) == std::nullopt);
}

}  // namespace
}  // namespace aphlict::websocket
