#include "common/history/message.h"

#include <doctest/doctest.h>

#include <random>
#include <string>
#include <vector>

#include "common/websocket/frame.h"
#include "tests/unit/support/messages.h"

namespace aphlict::history {
namespace {

using testing::At;
using testing::Make;
using testing::Parts;
using websocket::Opcode;

// Where the head's numbers are (common/history/message.h).
constexpr std::size_t kSequenceAt = 17;
constexpr std::size_t kAcceptedAt = 25;
constexpr std::size_t kInstanceSizeAt = 33;
constexpr std::size_t kUniqueIdSizeAt = 35;
constexpr std::size_t kSubscriberCountAt = 39;
constexpr std::size_t kSubscribersSizeAt = 43;
constexpr std::size_t kHeadSize = 47;

std::string BodyOf(const Message& message) {
  const SharedBytes frame = message.client_frame();
  const auto offset = websocket::PayloadOffset(frame.view(), Opcode::kText);
  REQUIRE(offset);
  return std::string(frame.view().substr(*offset));
}

// Reads all of a message's parts, so that the sanitizer sees one that lies outside its buffer.
Parts PartsOf(const Message& message) {
  Parts parts;
  parts.epoch = message.epoch();
  parts.sequence = message.sequence();
  parts.accepted = message.accepted();
  parts.instance = message.instance();
  parts.unique_id = message.unique_id();
  parts.subscribers.clear();
  message.ForEachSubscriber([&](std::string_view subscriber) {
    parts.subscribers.emplace_back(subscriber);
    return true;
  });
  CHECK(parts.subscribers.size() == message.subscriber_count());
  parts.body = BodyOf(message);
  return parts;
}

// From a buffer of its own, so that reading past its end is seen.
Result<Message> Decode(std::string_view payload, Duration clock_difference = {}) {
  const std::vector<char> copy(payload.begin(), payload.end());
  return Message::Decode({copy.data(), copy.size()}, clock_difference);
}

// What comes out of a feed's frame.
Parts DecodedPartsOf(const Message& message) {
  const std::string_view frame = message.feed_frame().view();
  const auto offset = websocket::PayloadOffset(frame, Opcode::kBinary);
  REQUIRE(offset);
  REQUIRE(frame.substr(*offset) == message.feed_payload());
  const auto decoded = Decode(message.feed_payload());
  REQUIRE(decoded);
  CHECK(decoded->feed_frame().view() == frame);
  CHECK(decoded->client_frame().view() == message.client_frame().view());
  return PartsOf(*decoded);
}

void CheckRoundTrip(const Parts& parts) {
  CAPTURE(parts);
  const Message message = Make(parts);
  CHECK(PartsOf(message) == parts);
  CHECK(DecodedPartsOf(message) == parts);
}

TEST_CASE("a message is encoded as in the example of docs/protocol.md") {
  const Message message = Make({.sequence = 7,
                                .accepted = Time(seconds(1)),
                                .instance = "dog",
                                .subscribers = {"P"},
                                .body = R"({"subscribers":["P"]})"});
  std::string expected = "\x01" + std::string(16, 'a');
  AppendBigEndian(expected, std::uint64_t{7});
  AppendBigEndian(expected, std::uint64_t{0xf4240});
  AppendBigEndian(expected, std::uint16_t{3});
  AppendBigEndian(expected, std::uint32_t{0});
  AppendBigEndian(expected, std::uint32_t{1});
  AppendBigEndian(expected, std::uint32_t{5});
  expected += "dog";
  AppendBigEndian(expected, std::uint32_t{1});
  expected += "P\x81\x15{\"subscribers\":[\"P\"]}";
  CHECK(message.feed_payload() == expected);
}

TEST_CASE("what a message is made of comes back, on the node that made it and on those below") {
  CheckRoundTrip({.epoch = "0123456789abcdef",
                  .sequence = 0x0102030405060708,
                  .accepted = At(12'345),
                  .instance = "dog",
                  .unique_id = "0123456789abcdef0123456789abcdef",
                  .subscribers = {"PHID-USER-1", "PHID-PROJ-22", "PHID-CONP-333"},
                  .body = R"({"type":"notification","n":1.50})"});

  SUBCASE("although a part is empty") {
    CheckRoundTrip({.instance = ""});
    CheckRoundTrip({.unique_id = ""});
    CheckRoundTrip({.subscribers = {}});
    CheckRoundTrip({.subscribers = {"", "", ""}});
    CheckRoundTrip({.body = ""});
    CheckRoundTrip({.instance = "", .unique_id = "", .subscribers = {}, .body = ""});
  }
  SUBCASE("although a part is as large as it may be") {
    CheckRoundTrip({.instance = std::string(65'535, 'i')});
    CheckRoundTrip({.unique_id = std::string(100'000, 'u')});
    CheckRoundTrip({.subscribers = std::vector<std::string>(65'536, "P")});
    CheckRoundTrip({.subscribers = {std::string(100'000, 'p'), "P"}});
    CheckRoundTrip({.sequence = kMaxSequence});
  }
  SUBCASE("although a part has any bytes") {
    const std::string bytes("\0\xff\xed\xa0\x80\"\n", 7);
    const std::string text("\0\xc3\xa9\"\n", 5);
    CheckRoundTrip({.instance = text, .unique_id = bytes, .subscribers = {bytes, "b"}, .body = bytes});
  }
}

std::size_t HeaderSize(std::size_t payload_size) { return payload_size < 126 ? 2 : payload_size < 65'536 ? 4 : 10; }

TEST_CASE("the clients' frame has the shortest header for its length") {
  for (const std::size_t size : {125, 126, 65'535, 65'536}) {
    const Parts parts{.body = std::string(size, 'x')};
    CheckRoundTrip(parts);
    CHECK(Make(parts).client_frame().size() == HeaderSize(size) + size);
  }
}

TEST_CASE("the feed's frame has the shortest header for its length") {
  const std::size_t other = Make({.body = ""}).feed_payload().size() - HeaderSize(0);
  for (const std::size_t size : {125, 126, 65'535, 65'536}) {
    CAPTURE(size);
    const Parts parts{.body = std::string(size - other - HeaderSize(size - other), 'x')};
    const Message message = Make(parts);
    REQUIRE(message.feed_payload().size() == size);
    CheckRoundTrip(parts);
    CHECK(message.feed_frame().size() == HeaderSize(size) + size);
    CHECK(message.size() == HeaderSize(size) + size);
  }
}

TEST_CASE("a message costs one buffer, whoever it goes to") {
  const Message message = Make({.body = "a body"});
  const std::string_view whole = message.feed_frame().view();
  const SharedBytes client = message.client_frame();
  CHECK(client.data() + client.size() == whole.data() + whole.size());
  const Message copy = message;  // NOLINT: the copy is what is tested
  CHECK(copy.feed_frame().data() == whole.data());
}

TEST_CASE("a visit of the subscribers ends when the visitor says so") {
  const Message message = Make({.subscribers = {"a", "b", "c"}});
  std::string seen;
  message.ForEachSubscriber([&](std::string_view subscriber) {
    seen += subscriber;
    return subscriber != "b";
  });
  CHECK(seen == "ab");
}

TEST_CASE("acceptance is told on the clock of the node that has the message") {
  const Message sent = Make({.accepted = At(5000), .unique_id = "u", .body = "body"});
  const auto received = Decode(sent.feed_payload(), milliseconds(1234));
  REQUIRE(received);
  CHECK(received->accepted() == At(6234));

  SUBCASE("and all else stays as it was") {
    std::string expected(sent.feed_payload());
    StoreBigEndian(expected.data() + kAcceptedAt,
                   std::chrono::duration_cast<microseconds>(At(6234).time_since_epoch()).count());
    CHECK(received->feed_payload() == expected);
    Parts parts = PartsOf(*received);
    parts.accepted = At(5000);
    CHECK(parts == PartsOf(sent));
  }
  SUBCASE("over several hops") {
    const auto further = Decode(received->feed_payload(), -milliseconds(234));
    REQUIRE(further);
    CHECK(further->accepted() == At(6000));
  }
  SUBCASE("although that is before the clock's begin") {
    const auto before = Decode(sent.feed_payload(), -std::chrono::hours(2000));
    REQUIRE(before);
    CHECK(before->accepted() == At(5000) - std::chrono::hours(2000));
    CHECK(Decode(before->feed_payload(), std::chrono::hours(2000))->accepted() == At(5000));
  }
  SUBCASE("in whole microseconds, rounded down") {
    CHECK(Make({.accepted = At(0) + Duration(1999)}).accepted() == At(0) + Duration(1000));
    CHECK(Make({.accepted = Time(Duration(-1))}).accepted() == Time(Duration(-1000)));
  }
}

TEST_CASE("a message under another number is the same message") {
  const Parts parts{.sequence = 3, .accepted = At(5), .unique_id = "u", .subscribers = {"a", "b"}, .body = "body"};
  const Message message = Make(parts);
  const Message renumbered = message.Renumbered("bbbbbbbbbbbbbbbb", 1);
  Parts expected = parts;
  expected.epoch = "bbbbbbbbbbbbbbbb";
  expected.sequence = 1;
  CHECK(PartsOf(renumbered) == expected);
  CHECK(DecodedPartsOf(renumbered) == expected);
  CHECK(PartsOf(message) == parts);
}

// A payload with all its parts, none of which looks like another.
std::string Payload() {
  return std::string(Make({.sequence = 9,
                           .instance = "instance",
                           .unique_id = "unique",
                           .subscribers = {"PHID-USER-1", "PHID-USER-2"},
                           .body = std::string(300, 'x')})
                         .feed_payload());
}

TEST_CASE("a payload that is cut off anywhere is refused") {
  const std::string payload = Payload();
  REQUIRE(Decode(payload));
  for (std::size_t size = 0; size < payload.size(); ++size) {
    CAPTURE(size);
    CHECK_FALSE(Decode(std::string_view(payload).substr(0, size)));
  }
  CHECK_FALSE(Decode(payload + "x"));
}

template <class T>
void CheckWrongSize(std::size_t at) {
  const std::string payload = Payload();
  const T right = LoadBigEndian<T>(payload.data() + at);
  std::vector<T> wrong = {0,
                          1,
                          47,
                          128,
                          0x7fff,
                          0xffff,
                          static_cast<T>(payload.size()),
                          static_cast<T>(~T{0}),
                          static_cast<T>(T{1} << (sizeof(T) * 8 - 1))};
  for (int difference = -20; difference <= 400; ++difference) wrong.push_back(static_cast<T>(right + difference));
  for (const T size : wrong) {
    if (size == right) continue;
    CAPTURE(at);
    CAPTURE(size);
    std::string changed = payload;
    StoreBigEndian(changed.data() + at, size);
    CHECK_FALSE(Decode(changed));
  }
}

TEST_CASE("a payload with a wrong length is refused") {
  SUBCASE("of the instance") { CheckWrongSize<std::uint16_t>(kInstanceSizeAt); }
  SUBCASE("of the uniqueID") { CheckWrongSize<std::uint32_t>(kUniqueIdSizeAt); }
  SUBCASE("of the subscribers") { CheckWrongSize<std::uint32_t>(kSubscribersSizeAt); }
  SUBCASE("of the first subscriber") { CheckWrongSize<std::uint32_t>(kHeadSize + 8 + 6); }
  SUBCASE("of the last subscriber") { CheckWrongSize<std::uint32_t>(kHeadSize + 8 + 6 + 15); }
  SUBCASE("of the list of subscribers") { CheckWrongSize<std::uint32_t>(kSubscriberCountAt); }
  SUBCASE("of the clients' frame") { CheckWrongSize<std::uint16_t>(kHeadSize + 8 + 6 + 30 + 2); }
}

TEST_CASE("a time that no clock has is refused, before or after it is put on this node's clock") {
  const auto with_time = [](std::int64_t accepted) {
    std::string payload = Payload();
    StoreBigEndian(payload.data() + kAcceptedAt, accepted);
    return payload;
  };
  CHECK(Decode(with_time(kMaxClockReading)));
  CHECK(Decode(with_time(-kMaxClockReading)));
  for (const std::int64_t accepted : {kMaxClockReading + 1, -kMaxClockReading - 1, INT64_MAX, INT64_MIN}) {
    CAPTURE(accepted);
    CHECK_FALSE(Decode(with_time(accepted)));
  }
  CHECK_FALSE(Decode(with_time(kMaxClockReading), microseconds(1)));
  CHECK_FALSE(Decode(with_time(-kMaxClockReading), -microseconds(kMaxClockReading)));
  CHECK(Decode(with_time(kMaxClockReading), -2 * microseconds(kMaxClockReading)));
}

TEST_CASE("a sequence that a cursor cannot hold is refused") {
  std::string payload = Payload();
  StoreBigEndian(payload.data() + kSequenceAt, kMaxSequence);
  CHECK(Decode(payload));
  StoreBigEndian(payload.data() + kSequenceAt, kMaxSequence + 1);
  CHECK_FALSE(Decode(payload));
}

TEST_CASE("an epoch or an instance that is not UTF-8 is refused: a cursor and a status could not tell it") {
  for (const std::size_t at : {kSequenceAt - 1, kHeadSize}) {
    std::string payload = Payload();
    payload[at] = '\xff';
    CHECK_FALSE(Decode(payload));
  }
}

TEST_CASE("sizes whose sum is past 32 bits are refused") {
  std::string payload = Payload();
  StoreBigEndian(payload.data() + kUniqueIdSizeAt, std::uint32_t{0xffffffff});
  StoreBigEndian(payload.data() + kSubscribersSizeAt, std::uint32_t{30 + 6 + 1});
  CHECK_FALSE(Decode(payload));
}

TEST_CASE("a payload that is no message of the feed is refused, and the error says why") {
  const auto reason = [](std::size_t at, std::string_view bytes) {
    std::string payload = Payload();
    payload.replace(at, bytes.size(), bytes);
    const auto decoded = Decode(payload);
    REQUIRE_FALSE(decoded);
    return decoded.error().text;
  };
  using namespace std::string_view_literals;
  CHECK(reason(0, "\x02") == "not a message of the feed");
  CHECK(reason(0, "\0"sv) == "not a message of the feed");
  CHECK(reason(kSequenceAt, "\0\0\0\0\0\0\0\0"sv) == "a message with sequence 0");
  CHECK(reason(kInstanceSizeAt, "\xff\xff") == "a message whose parts are longer than it is");
  CHECK(reason(kSubscriberCountAt, "\0\0\0\3"sv) == "a message whose subscribers do not fill their part");
  const std::size_t frame_at = kHeadSize + 8 + 6 + 30;
  const std::string no_frame = "a message that does not end in one whole text frame";
  CHECK(reason(frame_at, "\x82") == no_frame);      // binary
  CHECK(reason(frame_at, "\x01") == no_frame);      // a fragment
  CHECK(reason(frame_at, "\xc1") == no_frame);      // compressed
  CHECK(reason(frame_at, "\x81\xfe") == no_frame);  // masked
}

TEST_CASE("a payload with a changed byte is refused, or gives parts that lie within it") {
  const std::string payload = Payload();
  int refused = 0;
  for (std::size_t at = 0; at < kHeadSize + 8 + 6 + 30 + 4; ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      // A moment of acceptance centuries away is no matter of lengths.
      if (at >= kAcceptedAt && at < kAcceptedAt + 2) continue;
      std::string changed = payload;
      changed[at] = static_cast<char>(changed[at] ^ 1 << bit);
      if (const auto decoded = Decode(changed)) {
        CHECK(PartsOf(*decoded).body == std::string(300, 'x'));
      } else {
        ++refused;
      }
    }
  }
  CHECK(refused > 200);
}

TEST_CASE("random lengths give parts that lie within the payload, or nothing") {
  std::mt19937 random(20);
  int accepted = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string payload = Payload();
    const auto store = [&](std::size_t at, auto width, std::uint32_t most) {
      using T = decltype(width);
      if (random() % 2 == 0) StoreBigEndian(payload.data() + at, static_cast<T>(random() % most));
    };
    store(kInstanceSizeAt, std::uint16_t{}, 16);
    store(kUniqueIdSizeAt, std::uint32_t{}, 16);
    store(kSubscribersSizeAt, std::uint32_t{}, 64);
    store(kSubscriberCountAt, std::uint32_t{}, 4);
    if (const auto decoded = Decode(payload)) {
      ++accepted;
      PartsOf(*decoded);
    }
  }
  CHECK(accepted > 100);
  CHECK(accepted < 10'000);
}

}  // namespace
}  // namespace aphlict::history
