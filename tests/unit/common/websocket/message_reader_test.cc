#include "common/websocket/message_reader.h"

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

namespace aphlict::websocket {
namespace {

using Status = MessageReader::Status;

constexpr ReaderLimits kLimits{.message_bytes = 100'000, .fragments = 8};

// Writes down what a reader finds, a line each: "text hello".
class Transcript : public ReaderEvents {
 public:
  void OnMessage(Opcode opcode, std::string_view payload) override {
    Add(opcode == Opcode::kText ? "text " : "binary ", payload);
    if (stop_at_message != nullptr) stop_at_message->Stop();
  }
  void OnPing(std::string_view payload) override {
    Add("ping ", payload);
    if (stop_at_ping != nullptr) stop_at_ping->Stop();
  }
  void OnPong(std::string_view payload) override { Add("pong ", payload); }

  std::string lines;
  MessageReader* stop_at_message = nullptr;
  MessageReader* stop_at_ping = nullptr;

 private:
  void Add(std::string_view what, std::string_view payload) { lines.append(what).append(payload).append("\n"); }
};

// What came of some bytes.
struct Outcome {
  std::string lines{};
  Status status = Status::kBetweenMessages;
  std::uint16_t code = 0;
  bool by_peer = false;
  std::string reason{};

  bool operator==(const Outcome&) const = default;
};

std::ostream& operator<<(std::ostream& out, const Outcome& outcome) {
  return out << outcome.lines << "status " << static_cast<int>(outcome.status) << ", code " << outcome.code
             << (outcome.by_peer ? " by the peer: " : ": ") << outcome.reason;
}

Outcome ReadPieces(const std::vector<std::string_view>& pieces, const ReaderLimits& limits, Role role) {
  MessageReader reader(role, limits);
  Transcript transcript;
  Outcome outcome;
  for (std::string_view piece : pieces) {
    // A buffer of its own, so that reading past the end is seen.
    const std::vector<char> copy(piece.begin(), piece.end());
    outcome.status = reader.Read({copy.data(), copy.size()}, transcript);
    CHECK(outcome.status == reader.status());
  }
  outcome.lines = transcript.lines;
  if (outcome.status == Status::kClosed) {
    outcome.code = reader.close_code();
    outcome.by_peer = reader.closed_by_peer();
    outcome.reason = reader.close_reason();
  }
  return outcome;
}

// Reads `bytes` whole, in two pieces split at every place, and byte by byte: the outcome must be the same.
Outcome Read(std::string_view bytes, const ReaderLimits& limits = kLimits, Role role = Role::kServer) {
  const Outcome whole = ReadPieces({bytes}, limits, role);
  // Long ones are split around the edges of their headers and of wslay's buffer only.
  const std::size_t step = bytes.size() > 2000 ? 509 : 1;
  for (std::size_t split = 0; split <= bytes.size(); split += split < 20 ? 1 : step) {
    CAPTURE(split);
    CHECK(ReadPieces({bytes.substr(0, split), bytes.substr(split)}, limits, role) == whole);
  }
  std::vector<std::string_view> single;
  for (std::size_t i = 0; i < bytes.size(); ++i) single.push_back(bytes.substr(i, 1));
  CHECK(ReadPieces(single, limits, role) == whole);
  return whole;
}

constexpr std::uint32_t kMask = 0x37fa213d;

// A masked frame, as clients send it.
std::string Client(Opcode opcode, std::string_view payload) {
  return std::string(EncodeFrame(opcode, payload, kMask).view());
}

std::string Text(std::string_view payload) { return Client(Opcode::kText, payload); }

// One that is followed by more of its message.
std::string Fragment(Opcode opcode, std::string_view payload) {
  std::string frame = Client(opcode, payload);
  frame[0] = static_cast<char>(frame[0] & 0x7f);
  return frame;
}

std::string CloseFrame(std::uint16_t code, std::string_view reason = {}) {
  return Client(Opcode::kClose, ClosePayload(code, reason));
}

void CheckBroken(std::string_view bytes, std::uint16_t code, std::string_view lines = "") {
  const Outcome outcome = Read(bytes);
  CHECK(outcome.status == Status::kClosed);
  CHECK(outcome.code == code);
  CHECK_FALSE(outcome.by_peer);
  CHECK(outcome.reason != "");
  CHECK(outcome.lines == lines);
}

TEST_CASE("a message in one frame is given once, at its end") {
  CHECK(Read(Text("hello")) == Outcome{.lines = "text hello\n"});
  CHECK(Read(Client(Opcode::kBinary, "\xff\xfe")) == Outcome{.lines = "binary \xff\xfe\n"});
  CHECK(Read(Text("")) == Outcome{.lines = "text \n"});
  CHECK(Read(Text("\u20ac \U0001f600")) == Outcome{.lines = "text \u20ac \U0001f600\n"});
}

TEST_CASE("messages of every form of length are given whole") {
  for (std::size_t size : {125, 126, 127, 4082, 4090, 4096, 4100, 65535, 65536, 70000}) {
    const std::string payload(size, 'x');
    CHECK(Read(Text(payload) + Text("next")).lines == "text " + payload + "\ntext next\n");
  }
}

TEST_CASE("several messages in one piece are given in order") {
  std::string bytes;
  std::string lines;
  for (int i = 0; i < 300; ++i) {
    bytes += Text("message " + std::to_string(i));
    lines += "text message " + std::to_string(i) + "\n";
  }
  CHECK(Read(bytes) == Outcome{.lines = lines});
}

TEST_CASE("a fragmented message is put together") {
  const std::string bytes = Fragment(Opcode::kText, "one ") + Fragment(Opcode::kContinuation, "two ") +
                            Fragment(Opcode::kContinuation, "") + Client(Opcode::kContinuation, "three");
  CHECK(Read(bytes + Text("next")).lines == "text one two three\ntext next\n");

  SUBCASE("although a fragment ends within a character") {
    CHECK(Read(Fragment(Opcode::kText, "\xe2\x82") + Client(Opcode::kContinuation, "\xac")).lines == "text \u20ac\n");
  }
  SUBCASE("although pings, pongs and their payloads come between") {
    const std::string mixed = Fragment(Opcode::kText, "one ") + Client(Opcode::kPing, "a") +
                              Client(Opcode::kPong, "b") + Client(Opcode::kContinuation, "two");
    CHECK(Read(mixed).lines == "ping a\npong b\ntext one two\n");
  }
  SUBCASE("although all fragments are empty") {
    CHECK(Read(Text("x") + Fragment(Opcode::kBinary, "") + Client(Opcode::kContinuation, "")).lines ==
          "text x\nbinary \n");
  }
}

TEST_CASE("a reader is between messages only when nothing of another has come") {
  const std::string message = Text("hello");
  const std::string fragments =
      Fragment(Opcode::kText, "a") + Client(Opcode::kPing, "") + Client(Opcode::kContinuation, std::string(200, 'b'));
  const std::string close = CloseFrame(kGoingAway, "bye");
  for (const std::string& bytes : {message, fragments, message + close}) {
    for (std::size_t split = 1; split < bytes.size(); ++split) {
      CAPTURE(split);
      const bool at_end = bytes.size() > message.size() && split == message.size() && bytes.starts_with(message);
      CHECK(ReadPieces({std::string_view(bytes).substr(0, split)}, kLimits, Role::kServer).status ==
            (at_end ? Status::kBetweenMessages : Status::kInMessage));
    }
  }
  CHECK(Read(message + Client(Opcode::kPing, "")).status == Status::kBetweenMessages);
  CHECK(Read("").status == Status::kBetweenMessages);
  CHECK(Read(message + "\x81").status == Status::kInMessage);
}

TEST_CASE("a close frame gives the peer's code and reason, and ends the reading") {
  const std::string after = Text("ignored") + "garbage";
  CHECK(Read(Text("a") + CloseFrame(kGoingAway, "bye") + after) ==
        Outcome{"text a\n", Status::kClosed, kGoingAway, true, "bye"});

  SUBCASE("when it has no code") {
    CHECK(Read(Client(Opcode::kClose, "") + after) == Outcome{"", Status::kClosed, kNoStatusReceived, true, ""});
  }
  SUBCASE("when its reason has characters of several bytes, wherever the bytes are split") {
    CHECK(Read(CloseFrame(kGoingAway, "\u20ac\u00e9\U0001f600x") + after) ==
          Outcome{"", Status::kClosed, kGoingAway, true, "\u20ac\u00e9\U0001f600x"});
  }
  SUBCASE("when it comes within a fragmented message") {
    CHECK(Read(Fragment(Opcode::kText, "a") + CloseFrame(kNormalClosure) + after) ==
          Outcome{"", Status::kClosed, kNormalClosure, true, ""});
  }
  SUBCASE("when it is as long as a control frame may be") {
    const std::string reason(123, 'r');
    CHECK(Read(CloseFrame(kGoingAway, reason) + after) == Outcome{"", Status::kClosed, kGoingAway, true, reason});
  }
}

TEST_CASE("close codes are those of RFC 6455, of IANA's registry, and private ones") {
  for (int code : {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999}) {
    CAPTURE(code);
    const auto sent = static_cast<std::uint16_t>(code);
    CHECK(Read(CloseFrame(sent)) == Outcome{"", Status::kClosed, sent, true, ""});
  }
  for (int code : {0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535}) {
    CAPTURE(code);
    std::string payload;
    AppendBigEndian(payload, static_cast<std::uint16_t>(code));
    CheckBroken(Client(Opcode::kClose, payload), kProtocolError);
  }
}

TEST_CASE("a close frame with half a code is a protocol error") {
  CheckBroken(Client(Opcode::kClose, "\x03"), kProtocolError);
}

TEST_CASE("text that is not UTF-8 is refused with 1007") {
  CheckBroken(Text("\xff"), kInvalidPayload);
  CheckBroken(Text("a\xc0\xaf"), kInvalidPayload);          // overlong
  CheckBroken(Text("a\xed\xa0\x80"), kInvalidPayload);      // a surrogate
  CheckBroken(Text("a\xf4\x90\x80\x80"), kInvalidPayload);  // past U+10FFFF
  CheckBroken(Text("a\xe2\x82"), kInvalidPayload);          // cut off
  CheckBroken(Text("ok") + Text("a\x80") + Text("ignored"), kInvalidPayload, "text ok\n");

  SUBCASE("in a later fragment") {
    CheckBroken(Fragment(Opcode::kText, "\xe2\x82") + Client(Opcode::kContinuation, "a"), kInvalidPayload);
  }
  SUBCASE("in the reason of a close frame, wherever the bytes are split") {
    CheckBroken(CloseFrame(kGoingAway,
                           "a\xff"
                           "bc"),
                kInvalidPayload);
    CheckBroken(CloseFrame(kGoingAway, "abc\xe2\x82"), kInvalidPayload);
  }
  SUBCASE("before its message has come whole") {
    const std::string bytes = Text("a\xff" + std::string(5000, 'b'));
    CHECK(ReadPieces({std::string_view(bytes).substr(0, 12)}, kLimits, Role::kServer).code == kInvalidPayload);
    CheckBroken(Fragment(Opcode::kText, "a\xff"), kInvalidPayload);
  }
}

TEST_CASE("frames against the rules are refused with 1002") {
  auto with_first_byte = [](std::string frame, int first) {
    frame[0] = static_cast<char>(first);
    return frame;
  };
  SUBCASE("reserved bits") {
    for (int bit : {0x40, 0x20, 0x10}) {
      CheckBroken(with_first_byte(Text("a"), 0x81 | bit), kProtocolError);
      CheckBroken(with_first_byte(Client(Opcode::kPing, ""), 0x89 | bit), kProtocolError);
      CheckBroken(with_first_byte(CloseFrame(kGoingAway), 0x88 | bit), kProtocolError);
      CheckBroken(Fragment(Opcode::kText, "a") + with_first_byte(Client(Opcode::kContinuation, "b"), 0x80 | bit),
                  kProtocolError);
    }
  }
  SUBCASE("unknown opcodes") {
    for (int opcode : {0x3, 0x4, 0x5, 0x6, 0x7, 0xb, 0xc, 0xd, 0xe, 0xf}) {
      CAPTURE(opcode);
      CheckBroken(with_first_byte(Text("a"), 0x80 | opcode), kProtocolError);
      CheckBroken(
          Text("a") + Fragment(Opcode::kText, "b") + with_first_byte(Text("c"), 0x80 | opcode) + Text("ignored"),
          kProtocolError, "text a\n");
    }
  }
  SUBCASE("a client's frame without a mask") {
    CheckBroken("\x81\x05Hello", kProtocolError);
    CheckBroken(std::string("\x89\x00", 2), kProtocolError);
    CheckBroken("\x88\x02\x03\xe9", kProtocolError);
  }
  SUBCASE("a server's frame with one") {
    for (const std::string& frame : {Text("Hello"), CloseFrame(kGoingAway)}) {
      const Outcome outcome = Read(frame, kLimits, Role::kClient);
      CHECK(outcome.status == Status::kClosed);
      CHECK(outcome.code == kProtocolError);
    }
  }
  SUBCASE("a continuation of nothing") {
    CheckBroken(Client(Opcode::kContinuation, "a"), kProtocolError);
    CheckBroken(Text("a") + Fragment(Opcode::kContinuation, "b"), kProtocolError, "text a\n");
  }
  SUBCASE("a new message within a fragmented one") {
    CheckBroken(Fragment(Opcode::kText, "a") + Text("b"), kProtocolError);
    CheckBroken(Fragment(Opcode::kText, "") + Client(Opcode::kBinary, "b"), kProtocolError);
  }
  SUBCASE("a fragmented control frame") {
    for (Opcode opcode : {Opcode::kPing, Opcode::kPong, Opcode::kClose}) {
      CheckBroken(Fragment(opcode, "") + Client(Opcode::kContinuation, ""), kProtocolError);
    }
  }
  SUBCASE("a control frame of more than 125 bytes") {
    for (Opcode opcode : {Opcode::kPing, Opcode::kPong, Opcode::kClose}) {
      CheckBroken(Client(opcode, "\x03\xe9" + std::string(124, 'a')), kProtocolError);
      CheckBroken(Client(opcode, std::string(70000, 'a')), kProtocolError);
    }
  }
  SUBCASE("a length that is not in its shortest form") {
    CheckBroken(std::string("\x81\xfe\x00\x05\x00\x00\x00\x00hello", 13), kProtocolError);
    CheckBroken(std::string("\x81\xff\x00\x00\x00\x00\x00\x00\xff\xff\x00\x00\x00\x00", 14) + std::string(65535, 'a'),
                kProtocolError);
  }
  SUBCASE("a length of 64 bits that has the highest one set") {
    CheckBroken(std::string("\x81\xff\x80\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00hello", 19), kProtocolError);
    CheckBroken("\x82" + std::string(9, '\xff') + "abcdefgh", kProtocolError);
  }
}

TEST_CASE("a message past its bytes is refused with 1009") {
  const ReaderLimits limits{.message_bytes = 10, .fragments = 8};
  CHECK(Read(Text("0123456789"), limits).lines == "text 0123456789\n");
  CHECK(Read(Text("0123456789a"), limits).code == kMessageTooBig);

  SUBCASE("as soon as its length is known") {
    const std::string bytes = Client(Opcode::kBinary, std::string(70000, 'a'));
    CHECK(ReadPieces({std::string_view(bytes).substr(0, 15)}, limits, Role::kServer).code == kMessageTooBig);
    CHECK(Read(std::string("\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00"
                           "a",
                           15),
               limits)
              .code == kMessageTooBig);
  }
  SUBCASE("counted over all its fragments") {
    const std::string start = Fragment(Opcode::kText, "01234") + Client(Opcode::kPing, "a long ping");
    CHECK(Read(start + Client(Opcode::kContinuation, "56789"), limits).lines == "ping a long ping\ntext 0123456789\n");
    CHECK(Read(start + Client(Opcode::kContinuation, "56789a"), limits).code == kMessageTooBig);
  }
  SUBCASE("counted anew for each message") {
    CHECK(Read(Text("012345678") + Text("012345678"), limits).status == Status::kBetweenMessages);
  }
  SUBCASE("rather than for what else is wrong in it") {
    CHECK(Read(Text("\xff"
                    "0123456789"),
               limits)
              .code == kMessageTooBig);
  }
}

TEST_CASE("a message of too many fragments is refused with 1008") {
  const ReaderLimits limits{.message_bytes = 1000, .fragments = 3};
  const std::string two = Fragment(Opcode::kText, "a") + Fragment(Opcode::kContinuation, "");
  const std::string last = Client(Opcode::kContinuation, "c");
  CHECK(Read(two + last + two + last, limits).lines == "text ac\ntext ac\n");
  CHECK(Read(two + Fragment(Opcode::kContinuation, "") + last, limits).code == kPolicyViolation);
}

TEST_CASE("a client's reader takes unmasked frames") {
  auto server = [](Opcode opcode, std::string_view payload) {
    return std::string(EncodeFrame(opcode, payload).view());
  };
  const std::string long_payload(70000, 'x');
  CHECK(Read(server(Opcode::kPing, "p") + server(Opcode::kText, "hello") + server(Opcode::kBinary, long_payload) +
                 server(Opcode::kClose, ClosePayload(kTryAgainLater, "full")),
             kLimits, Role::kClient) ==
        Outcome{"ping p\ntext hello\nbinary " + long_payload + "\n", Status::kClosed, kTryAgainLater, true, "full"});
}

TEST_CASE("any number of pings is taken") {
  std::string bytes;
  for (int i = 0; i < 20'000; ++i) bytes += Client(Opcode::kPing, "");
  MessageReader reader(Role::kServer, kLimits);
  Transcript transcript;
  CHECK(reader.Read(bytes, transcript) == Status::kBetweenMessages);
  CHECK(transcript.lines.size() == 20'000 * 6);
}

TEST_CASE("a reader that is stopped by what it found ignores the rest") {
  MessageReader reader(Role::kServer, kLimits);
  Transcript transcript;
  SUBCASE("after a message") {
    transcript.stop_at_message = &reader;
    const std::string bytes = Text("one") + Text("two") + CloseFrame(kGoingAway);
    CHECK(reader.Read(bytes, transcript) == Status::kClosed);
    CHECK(transcript.lines == "text one\n");
  }
  SUBCASE("after a ping") {
    transcript.stop_at_ping = &reader;
    const std::string bytes = Client(Opcode::kPing, "") + Text("two") + Client(Opcode::kPing, "");
    CHECK(reader.Read(bytes, transcript) == Status::kClosed);
    CHECK(transcript.lines == "ping \n");
  }
  CHECK_FALSE(reader.closed_by_peer());
  const std::string lines = transcript.lines;
  CHECK(reader.Read(Text("three"), transcript) == Status::kClosed);
  CHECK(transcript.lines == lines);
}

TEST_CASE("the reason says in words what was wrong") {
  CHECK(Read(Text("\xff")).reason == "text that is not UTF-8");
  CHECK(Read(Text("abc"), {.message_bytes = 2, .fragments = 1}).reason == "a message of more than 2 bytes");
  CHECK(Read(Client(Opcode::kClose, "\x03\xec")).reason == "a close frame with the code 1004");
  CHECK(Read(Client(Opcode::kClose, "\x03")).reason == "a close frame with half a code");
  CHECK(Read("\x81\x05Hello").reason.find("wrong mask") != std::string::npos);
}

TEST_CASE("what readers keep of messages that have not come whole is bounded, over all of a pool") {
  ReaderPool pool(Role::kServer, {.message_bytes = 100'000, .fragments = 8, .unfinished_bytes = 150'000});
  Transcript transcript;
  const std::string most = Text(std::string(80'000, 'x')).substr(0, 70'000);
  auto one = pool.Take();
  REQUIRE(one->Read(most, transcript) == Status::kInMessage);
  CHECK(one->memory() > 70'000);
  CHECK(pool.Keep(*one));
  CHECK(pool.Keep(*one));  // counts once
  auto other = pool.Take();
  REQUIRE(other->Read(most, transcript) == Status::kInMessage);
  CHECK_FALSE(pool.Keep(*other));
  SUBCASE("until one of them is given back") {
    pool.GiveBack(std::move(one));
    CHECK(pool.Keep(*other));
    pool.GiveBack(std::move(other));
    auto third = pool.Take();
    REQUIRE(third->Read(most, transcript) == Status::kInMessage);
    CHECK(pool.Keep(*third));
  }
}

TEST_CASE("a pool lends a reader again that was given back between messages") {
  ReaderPool pool(Role::kServer, kLimits, 1);
  Transcript transcript;
  auto reader = pool.Take();
  MessageReader* const address = reader.get();
  const std::string message = Text("hello");

  SUBCASE("after a message") {
    CHECK(reader->Read(message, transcript) == Status::kBetweenMessages);
    pool.GiveBack(std::move(reader));
    reader = pool.Take();
    CHECK(reader.get() == address);
    CHECK(reader->Read(message, transcript) == Status::kBetweenMessages);
    CHECK(transcript.lines == "text hello\ntext hello\n");
  }
  SUBCASE("but not one that began with other limits") {
    auto spare = pool.Take();
    pool.GiveBack(std::move(spare));
    ReaderLimits limits = kLimits;
    limits.message_bytes = 3;
    pool.SetLimits(limits);
    CHECK(reader->Read(message, transcript) == Status::kBetweenMessages);
    pool.GiveBack(std::move(reader));
    reader = pool.Take();
    CHECK(reader->Read(message, transcript) == Status::kClosed);
    CHECK(reader->close_code() == kMessageTooBig);
  }
  SUBCASE("but not one that is in the middle of a message, or closed") {
    reader->Read(message.substr(0, 3), transcript);
    auto closed = pool.Take();
    closed->Read(CloseFrame(kGoingAway), transcript);
    pool.GiveBack(std::move(reader));
    pool.GiveBack(std::move(closed));
    CHECK(pool.Take()->Read(message, transcript) == Status::kBetweenMessages);
  }
  SUBCASE("and keeps no more than its spares") {
    auto second = pool.Take();
    pool.GiveBack(std::move(reader));
    pool.GiveBack(std::move(second));
    CHECK(pool.Take().get() == address);
  }
}

}  // namespace
}  // namespace aphlict::websocket
