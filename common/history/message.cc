#include "common/history/message.h"

#include <cassert>

#include "common/websocket/frame.h"

namespace aphlict::history {

namespace {

constexpr char kMessageKind = 1;
constexpr std::size_t kEpochAt = 1;
constexpr std::size_t kSequenceAt = 17;
constexpr std::size_t kAcceptedAt = 25;
constexpr std::size_t kInstanceSizeAt = 33;
constexpr std::size_t kUniqueIdSizeAt = 35;
constexpr std::size_t kSubscriberCountAt = 39;
constexpr std::size_t kSubscribersSizeAt = 43;
constexpr std::size_t kHeadSize = 47;

std::int64_t Microseconds(Time time) { return std::chrono::floor<microseconds>(time.time_since_epoch()).count(); }

// Whether `section` is exactly `count` subscribers.
bool AreSubscribers(std::string_view section, std::uint32_t count) {
  for (; count > 0; --count) {
    if (section.size() < 4) return false;
    const auto size = LoadBigEndian<std::uint32_t>(section.data());
    if (section.size() - 4 < size) return false;
    section.remove_prefix(4 + std::size_t{size});
  }
  return section.empty();
}

}  // namespace

Message Message::Create(std::string_view epoch, Sequence sequence, Time accepted, const Content& content) {
  assert(epoch.size() == kEpochLength && content.instance.size() <= 0xffff);
  const std::string_view subscribers = content.subscribers.encoded();
  const std::string client_header = websocket::FrameHeader(websocket::Opcode::kText, content.body.size());
  const std::size_t payload_size = kHeadSize + content.instance.size() + content.unique_id.size() + subscribers.size() +
                                   client_header.size() + content.body.size();
  const std::string header = websocket::FrameHeader(websocket::Opcode::kBinary, payload_size);

  Message message;
  char* at = nullptr;
  message.frame_ = SharedBytes::Uninitialized(header.size() + payload_size, &at);
  message.payload_at_ = static_cast<std::uint32_t>(header.size());
  const auto append = [&at](std::string_view bytes) {
    if (!bytes.empty()) std::memcpy(at, bytes.data(), bytes.size());
    at += bytes.size();
  };
  append(header);
  char* head = at;
  head[0] = kMessageKind;
  std::memcpy(head + kEpochAt, epoch.data(), kEpochLength);
  StoreBigEndian(head + kSequenceAt, sequence);
  StoreBigEndian(head + kAcceptedAt, Microseconds(accepted));
  StoreBigEndian(head + kInstanceSizeAt, static_cast<std::uint16_t>(content.instance.size()));
  StoreBigEndian(head + kUniqueIdSizeAt, static_cast<std::uint32_t>(content.unique_id.size()));
  StoreBigEndian(head + kSubscriberCountAt, content.subscribers.size());
  StoreBigEndian(head + kSubscribersSizeAt, static_cast<std::uint32_t>(subscribers.size()));
  at += kHeadSize;
  append(content.instance);
  append(content.unique_id);
  append(subscribers);
  append(client_header);
  append(content.body);
  message.FindParts();
  return message;
}

Result<Message> Message::Decode(std::string_view payload, Duration clock_difference) {
  if (payload.size() < kHeadSize || payload[0] != kMessageKind) return Error{"not a message of the feed"};
  const auto* head = payload.data();
  const std::size_t instance_size = LoadBigEndian<std::uint16_t>(head + kInstanceSizeAt);
  const std::size_t unique_id_size = LoadBigEndian<std::uint32_t>(head + kUniqueIdSizeAt);
  const std::size_t subscribers_size = LoadBigEndian<std::uint32_t>(head + kSubscribersSizeAt);
  const std::size_t before_frame = kHeadSize + instance_size + unique_id_size + subscribers_size;
  if (before_frame > payload.size()) return Error{"a message whose parts are longer than it is"};
  const auto sequence = LoadBigEndian<Sequence>(head + kSequenceAt);
  if (sequence == 0) return Error{"a message with sequence 0"};
  if (sequence > kMaxSequence) return Error{"a message with a sequence that is too large"};
  if (!IsUtf8(payload.substr(kEpochAt, kEpochLength)) || !IsUtf8(payload.substr(kHeadSize, instance_size))) {
    return Error{"a message whose epoch or instance is not UTF-8"};
  }
  if (!AreSubscribers(payload.substr(kHeadSize + instance_size + unique_id_size, subscribers_size),
                      LoadBigEndian<std::uint32_t>(head + kSubscriberCountAt))) {
    return Error{"a message whose subscribers do not fill their part"};
  }
  if (!websocket::PayloadOffset(payload.substr(before_frame), websocket::Opcode::kText)) {
    return Error{"a message that does not end in one whole text frame"};
  }
  const auto remote = LoadBigEndian<std::int64_t>(head + kAcceptedAt);
  if (!IsClockReading(remote)) return Error{"a message of a time that no clock has"};
  const std::int64_t accepted = Microseconds(Time(microseconds(remote)) + clock_difference);
  if (!IsClockReading(accepted)) return Error{"a message of a time that no clock has"};
  const std::string header = websocket::FrameHeader(websocket::Opcode::kBinary, payload.size());
  Message message;
  char* at = nullptr;
  message.frame_ = SharedBytes::Uninitialized(header.size() + payload.size(), &at);
  message.payload_at_ = static_cast<std::uint32_t>(header.size());
  std::memcpy(at, header.data(), header.size());
  std::memcpy(at + header.size(), payload.data(), payload.size());
  StoreBigEndian(at + header.size() + kAcceptedAt, accepted);
  message.FindParts();
  return message;
}

Message Message::Renumbered(std::string_view epoch, Sequence sequence) const {
  assert(epoch.size() == kEpochLength);
  Message renumbered = *this;
  char* at = nullptr;
  renumbered.frame_ = SharedBytes::Uninitialized(frame_.size(), &at);
  std::memcpy(at, frame_.data(), frame_.size());
  std::memcpy(at + payload_at_ + kEpochAt, epoch.data(), kEpochLength);
  StoreBigEndian(at + payload_at_ + kSequenceAt, sequence);
  return renumbered;
}

void Message::FindParts() {
  const char* head = payload().data();
  subscribers_at_ = static_cast<std::uint32_t>(kHeadSize + LoadBigEndian<std::uint16_t>(head + kInstanceSizeAt)) +
                    LoadBigEndian<std::uint32_t>(head + kUniqueIdSizeAt);
  client_frame_at_ = subscribers_at_ + LoadBigEndian<std::uint32_t>(head + kSubscribersSizeAt);
}

SharedBytes Message::body() const {
  const SharedBytes frame = client_frame();
  return frame.Slice(*websocket::PayloadOffset(frame.view(), websocket::Opcode::kText));
}

std::string_view Message::epoch() const { return payload().substr(kEpochAt, kEpochLength); }

Sequence Message::sequence() const { return LoadBigEndian<Sequence>(payload().data() + kSequenceAt); }

Time Message::accepted() const {
  return Time(microseconds(LoadBigEndian<std::int64_t>(payload().data() + kAcceptedAt)));
}

std::string_view Message::instance() const {
  return payload().substr(kHeadSize, LoadBigEndian<std::uint16_t>(payload().data() + kInstanceSizeAt));
}

std::string_view Message::unique_id() const {
  const auto size = LoadBigEndian<std::uint32_t>(payload().data() + kUniqueIdSizeAt);
  return payload().substr(subscribers_at_ - size, size);
}

std::uint32_t Message::subscriber_count() const {
  return LoadBigEndian<std::uint32_t>(payload().data() + kSubscriberCountAt);
}

}  // namespace aphlict::history
