// What comes on a WebSocket, from a client or on the feed: how the bytes are cut does not matter, and the messages,
// pings and closes are those of a slow and separate reading of RFC 6455.
#include <algorithm>

#include "common/base/bytes.h"
#include "common/websocket/message_reader.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/slow_json.h"

namespace aphlict::fuzz {
namespace {

using websocket::MessageReader;
using websocket::Opcode;
using websocket::Role;
using Status = MessageReader::Status;

constexpr websocket::ReaderLimits kLimits{.message_bytes = 400, .fragments = 5};

std::string Line(std::string_view kind, std::string_view payload) {
  return std::string(kind).append(" ").append(payload).append("\n");
}

class Transcript : public websocket::ReaderEvents {
 public:
  void OnMessage(Opcode opcode, std::string_view payload) override {
    lines += Line(opcode == Opcode::kText ? "text" : "binary", payload);
  }
  void OnPing(std::string_view payload) override { lines += Line("ping", payload); }
  void OnPong(std::string_view payload) override { lines += Line("pong", payload); }

  std::string lines;
};

// What came of some bytes.
struct Outcome {
  std::string lines;
  Status status = Status::kBetweenMessages;
  bool closed_by_peer = false;
  std::uint16_t code = 0;  // when closed
  std::string reason;

  std::string Text() const {
    return lines + std::to_string(static_cast<int>(status)) + (closed_by_peer ? " by peer " : " ") +
           std::to_string(code) + " " + reason;
  }
};

Outcome Run(Role role, std::string_view bytes, const Cutting& cutting) {
  MessageReader reader(role, kLimits);
  Transcript transcript;
  ForEachPiece(bytes, cutting, [&](std::string_view piece) {
    const bool was_closed = reader.status() == Status::kClosed;
    const Status status = reader.Read(piece, transcript);
    Check(status == reader.status(), "the status is that of the last bytes");
    Check(!was_closed || status == Status::kClosed, "who is closed stays closed");
  });
  Outcome outcome{transcript.lines, reader.status(), false, 0, ""};
  if (outcome.status == Status::kClosed) {
    outcome.closed_by_peer = reader.closed_by_peer();
    outcome.code = reader.close_code();
    outcome.reason = reader.close_reason();
    const std::string payload = websocket::ClosePayload(outcome.code, outcome.reason);
    Check(payload.size() <= 125 && ReadUtf8Slowly(std::string_view(payload).substr(
                                       std::min<std::size_t>(2, payload.size()))) == Utf8::kWhole,
          "what is closed with can be sent");
  }
  return outcome;
}

// A reading of all bytes at once. Where several things are wrong at the same place, each of their codes will do.
class SlowReading {
 public:
  SlowReading(Role role, std::string_view bytes) : rest_(bytes), masked_(role == Role::kServer) {
    while (!rest_.empty() && codes.empty() && !pending && !closed_by_peer) Frame();
  }

  std::string lines;
  std::vector<std::uint16_t> codes;  // why it is closed for a broken rule
  bool may_wait = false;             // the broken rule may be noticed only when the payload begins
  bool pending = false;              // the bytes end within a frame
  bool in_message() const { return pending || fragments_ > 0; }
  bool closed_by_peer = false;
  std::uint16_t code = 0;
  std::string reason;

 private:
  void Frame() {
    const auto at = [this](std::size_t i) { return static_cast<unsigned char>(rest_[i]); };
    if (rest_.size() < 2) return Wait();
    const bool final = (at(0) & 0x80) != 0;
    const int opcode = at(0) & 0x0f;
    const bool control = opcode >= 8;
    const bool has_mask = (at(1) & 0x80) != 0;
    std::uint64_t length = at(1) & 0x7f;
    if (control && (length > 125 || !final)) codes.push_back(1002);
    const std::size_t length_size = length == 126 ? 2 : length == 127 ? 8 : 0;
    const std::size_t head = 2 + length_size + (has_mask ? 4 : 0);
    if (control && length > 125) return;
    if (rest_.size() < 2 + length_size) return Wait();
    if (length_size == 2) length = LoadBigEndian<std::uint16_t>(rest_.data() + 2);
    if (length_size == 8) length = LoadBigEndian<std::uint64_t>(rest_.data() + 2);
    if ((length_size == 2 && length < 126) || (length_size == 8 && (length <= 0xffff || length >> 63 != 0))) {
      codes.push_back(1002);
    }
    const bool whole = rest_.size() >= head && rest_.size() - head >= length;
    if (opcode == 8) {  // judged as a whole
      if (!whole) {
        may_wait = true;
        return Wait();
      }
    } else if (rest_.size() < head) {
      return Wait();
    }
    Judge(final, opcode, control, has_mask, length);
    may_wait = rest_.size() == head && length > 0;
    std::string payload(
        rest_.substr(head, static_cast<std::size_t>(std::min<std::uint64_t>(length, rest_.size() - head))));
    if (has_mask) {
      for (std::size_t i = 0; i < payload.size(); ++i) {
        payload[i] = static_cast<char>(payload[i] ^ rest_[head - 4 + i % 4]);
      }
    }
    if (opcode == 8) CheckClose(payload);
    if (!control && codes.empty()) AddToMessage(payload, whole && final);
    if (!codes.empty()) return;
    if (!whole) return Wait();
    rest_.remove_prefix(head + payload.size());
    if (opcode == 8) return Close(payload);
    if (opcode == 9) lines += Line("ping", payload);
    if (opcode == 10) lines += Line("pong", payload);
    if (!control && final) {
      lines += Line(text_ ? "text" : "binary", message_);
      message_.clear();
      fragments_ = 0;
      declared_ = 0;
    }
  }

  // Sections 5.2, 5.4 and 5.5, and the bounds.
  void Judge(bool final, int opcode, bool control, bool has_mask, std::uint64_t length) {
    const bool known = opcode <= 2 || (opcode >= 8 && opcode <= 10);
    const bool reserved_bits = (rest_[0] & 0x70) != 0;
    if (!known || reserved_bits || has_mask != masked_) codes.push_back(1002);
    if (control) {
      if (!final) codes.push_back(1002);
      return;
    }
    if ((opcode == 0) != (fragments_ > 0)) codes.push_back(1002);
    if (opcode != 0) text_ = opcode == 1;
    ++fragments_;
    declared_ = length > UINT64_MAX - declared_ ? UINT64_MAX : declared_ + length;
    if (declared_ > kLimits.message_bytes) codes.push_back(1009);
    if (fragments_ > kLimits.fragments) codes.push_back(1008);
  }

  void AddToMessage(const std::string& payload, bool ends) {
    message_ += payload;
    if (!text_) return;
    const Utf8 utf8 = ReadUtf8Slowly(message_);
    if (utf8 == Utf8::kMalformed || (ends && utf8 != Utf8::kWhole)) codes.push_back(1007);
  }

  // Sections 5.5.1 and 7.4.
  void CheckClose(const std::string& payload) {
    if (payload.empty()) return;
    if (payload.size() == 1) return codes.push_back(1002);
    const auto given = LoadBigEndian<std::uint16_t>(payload.data());
    const bool may_be_sent = (given >= 1000 && given <= 1014 && given != 1004 && given != 1005 && given != 1006) ||
                             (given >= 3000 && given <= 4999);
    if (!may_be_sent) codes.push_back(1002);
    if (ReadUtf8Slowly(std::string_view(payload).substr(2)) != Utf8::kWhole) codes.push_back(1007);
  }

  void Close(const std::string& payload) {
    closed_by_peer = true;
    code = payload.empty() ? websocket::kNoStatusReceived : LoadBigEndian<std::uint16_t>(payload.data());
    reason = payload.size() > 2 ? payload.substr(2) : "";
  }

  void Wait() { pending = true; }

  std::string_view rest_;
  const bool masked_;
  std::string message_;
  bool text_ = false;
  std::uint64_t declared_ = 0;
  std::size_t fragments_ = 0;
};

void Compare(const Outcome& found, const SlowReading& expected) {
  CheckSame(found.lines, expected.lines, "both readings find the same messages");
  if (expected.closed_by_peer) {
    Check(found.status == Status::kClosed && found.closed_by_peer && found.code == expected.code,
          "both readings find the peer's close");
    return CheckSame(found.reason, expected.reason, "both readings find the same reason");
  }
  Check(!found.closed_by_peer, "only a close frame is the peer's close");
  if (!expected.codes.empty()) {
    if (found.status == Status::kInMessage && expected.may_wait) return;
    Check(found.status == Status::kClosed, "a broken rule closes");
    Check(std::count(expected.codes.begin(), expected.codes.end(), found.code) > 0, "with the code that says which");
    return;
  }
  Check(found.status == (expected.in_message() ? Status::kInMessage : Status::kBetweenMessages),
        "both readings are within a message, or none is");
}

// Messages in frames that break no rule but bounds, with pings between their fragments, and what is expected of them.
std::string Build(Role role, Input& input) {
  std::string bytes;
  const auto add = [&](Opcode opcode, std::string_view payload, bool final) {
    const auto mask = role == Role::kServer ? std::optional(input.Integer<std::uint32_t>()) : std::nullopt;
    std::string frame(websocket::EncodeFrame(opcode, payload, mask).view());
    if (!final) frame[0] = static_cast<char>(frame[0] & 0x7f);
    bytes += frame;
  };
  while (!input.empty()) {
    const std::uint8_t shape = input.Byte();
    Opcode opcode = (shape & 1) != 0 ? Opcode::kText : Opcode::kBinary;
    for (int more = shape >> 1 & 3; more > 0; --more) {
      add(opcode, input.Bytes(200), false);
      opcode = Opcode::kContinuation;
      if ((shape & 8) != 0) add(Opcode::kPing, input.Bytes(125), true);
    }
    add(opcode, input.Bytes(200), true);
    if ((shape & 0xf0) == 0xf0) add(Opcode::kClose, input.Bytes(125), true);
  }
  return bytes;
}

void Test(Input input) {
  const std::uint8_t kind = input.Byte();
  const Role role = (kind & 1) != 0 ? Role::kClient : Role::kServer;
  const std::string bytes = (kind & 2) != 0 ? Build(role, input) : std::string(input.Rest());
  const Outcome whole = Run(role, bytes, {bytes.size()});
  Compare(whole, SlowReading(role, bytes));
  ForEachCutting(bytes, [&](const Cutting& cutting) {
    CheckSame(whole.Text(), Run(role, bytes, cutting).Text(), "the outcome is the same however the bytes are cut");
  });
}

}  // namespace
}  // namespace aphlict::fuzz

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  aphlict::fuzz::Test(aphlict::fuzz::Input(data, size));
  return 0;
}
