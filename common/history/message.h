// One message, in the one encoding that it has everywhere: in memory, in a client's queue, and on the feed.
//
// The buffer is a WebSocket frame of the feed (RFC 6455, binary, unmasked), whose payload is, with integers in
// network byte order:
//
//     offset  size
//          0     1  kind: 1, a message
//          1    16  epoch
//         17     8  sequence
//         25     8  accepted: microseconds on the sending node's monotonic clock, signed
//         33     2  I, the size of the instance's name
//         35     4  U, the size of the uniqueID; 0 when the message has none
//         39     4  the number of subscribers
//         43     4  S, the size of all subscribers
//         47     I  the instance's name
//                U  the uniqueID
//                S  the subscribers, each a size of 4 bytes and as many bytes
//              ...  to the end: the frame that clients get, a whole unmasked text frame (RFC 6455) with the
//                   bytes that were published
//
// So a message is encoded once by the node that first has it, and costs one buffer however many repeaters and
// clients it goes to; a repeater forwards the buffer that it received, with only `accepted` written anew.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/bytes.h"
#include "common/base/result.h"
#include "common/base/time.h"
#include "common/history/cursor.h"

namespace aphlict::history {

// The subscribers of a message, encoded as above: one piece of memory however many they are.
class SubscriberList {
 public:
  SubscriberList() = default;
  SubscriberList(const std::vector<std::string>& subscribers) {  // NOLINT: implicit
    for (const std::string& subscriber : subscribers) Add(subscriber);
  }

  // Takes memory for as many bytes at once.
  void Reserve(std::size_t bytes) { encoded_.reserve(bytes); }
  void Add(std::string_view subscriber) {
    AppendBigEndian(encoded_, static_cast<std::uint32_t>(subscriber.size()));
    encoded_.append(subscriber);
    ++size_;
  }
  void Clear() {
    encoded_.clear();
    size_ = 0;
  }

  std::uint32_t size() const { return size_; }
  std::string_view encoded() const { return encoded_; }

  // Calls visit(std::string_view) for each, until one returns false.
  template <class Visit>
  void ForEach(Visit visit) const {
    Walk(encoded_.data(), size_, visit);
  }
  // The same for `count` of them that are encoded at `at`.
  template <class Visit>
  static void Walk(const char* at, std::uint32_t count, Visit visit) {
    for (; count > 0; --count) {
      const auto size = LoadBigEndian<std::uint32_t>(at);
      if (!visit(std::string_view(at + 4, size))) return;
      at += 4 + size;
    }
  }

 private:
  std::string encoded_;
  std::uint32_t size_ = 0;
};

class Message {
 public:
  struct Content {
    std::string_view instance;   // REQUIRES: UTF-8, at most 65,535 bytes
    std::string_view unique_id;  // empty: none
    const SubscriberList& subscribers;
    std::string_view body;  // what clients get, byte for byte
  };

  // Encodes a message that this node numbers.
  static Message Create(std::string_view epoch, Sequence sequence, Time accepted, const Content& content);
  // Takes a message from a feed's binary payload. `clock_difference` is what must be added to the sender's clock
  // to get this node's. Errors: the payload breaks the layout above, or has what no node would write in it.
  // REQUIRES: `clock_difference` is that of two clock readings (IsClockReading()).
  static Result<Message> Decode(std::string_view payload, Duration clock_difference);

  std::string_view epoch() const;
  Sequence sequence() const;
  Time accepted() const;  // on this node's clock
  std::string_view instance() const;
  std::string_view unique_id() const;
  std::uint32_t subscriber_count() const;

  // Calls visit(std::string_view) for each subscriber, until one returns false.
  template <class Visit>
  void ForEachSubscriber(Visit visit) const {
    SubscriberList::Walk(payload().data() + subscribers_at_, subscriber_count(), visit);
  }

  // The same message under another number.
  Message Renumbered(std::string_view epoch, Sequence sequence) const;

  // The frames, sharing the message's buffer.
  const SharedBytes& feed_frame() const { return frame_; }
  SharedBytes client_frame() const { return frame_.Slice(payload_at_ + client_frame_at_); }
  // What was published, sharing the buffer likewise.
  SharedBytes body() const;
  // What Decode() takes. Borrowed from the message.
  std::string_view feed_payload() const { return payload(); }
  // What it takes of the history's bytes.
  std::size_t size() const { return frame_.size(); }

 private:
  Message() = default;
  std::string_view payload() const { return frame_.view().substr(payload_at_); }
  void FindParts();

  SharedBytes frame_;
  std::uint32_t payload_at_ = 0;       // in the frame
  std::uint32_t subscribers_at_ = 0;   // in the payload
  std::uint32_t client_frame_at_ = 0;  // in the payload
};

}  // namespace aphlict::history
