// Messages out of a connection's bytes (RFC 6455 sections 5 to 8): what comes in.
//
// wslay's event API does the checks of frames: reserved bits, opcodes, masks, fragmentation, control frames,
// UTF-8, close codes. One of its contexts takes 8.6 KB, so a connection has one only while it is in the
// middle of a message: readers are lent by a pool and given back at a message's end (ReaderPool).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/websocket/frame.h"

namespace aphlict::websocket {

enum class Role { kServer, kClient };  // whose bytes are read: a server's reader expects masked frames

struct ReaderLimits {
  std::size_t message_bytes = 1024 * 1024;  // past it 1009
  std::size_t fragments = 1024;             // of one message; past it 1008
  // Of a pool's readers that stay with a connection because its message has not come whole, all together: what they
  // may take, wslay's part included.
  std::size_t unfinished_bytes = SIZE_MAX;

  bool operator==(const ReaderLimits&) const = default;
};

// Receives what a reader finds. Views are borrowed for the call. No call may destroy the reader.
class ReaderEvents {
 public:
  virtual ~ReaderEvents() = default;
  virtual void OnMessage(Opcode opcode, std::string_view payload) = 0;  // kText (well-formed UTF-8) or kBinary
  virtual void OnPing(std::string_view payload) = 0;
  virtual void OnPong(std::string_view payload) = 0;
};

class MessageReader {
 public:
  enum class Status {
    kBetweenMessages,  // nothing is pending: the reader can serve another connection
    kInMessage,        // in the middle of a frame or of a fragmented message
    kClosed,           // the peer sent a close frame, or broke a rule; the reader is spent
  };

  MessageReader(Role role, const ReaderLimits& limits);
  ~MessageReader();
  MessageReader(const MessageReader&) = delete;
  MessageReader& operator=(const MessageReader&) = delete;

  // Reads all of `bytes`. After kClosed the rest is ignored. Whatever the bytes are, what is allocated stays
  // within the limits (for a moment twice the message, while its buffer grows) and some 100 KB of wslay's own (it
  // queues an answer for each ping of a 4 KiB piece; they are thrown away, the owner answers pings itself).
  // `events` may ask to stop by calling Stop(): the rest of `bytes` is then ignored, too, and the result is
  // kClosed; the owner knows its reason.
  Status Read(std::string_view bytes, ReaderEvents& events);
  void Stop();
  Status status() const;       // as after the last Read()
  std::size_t memory() const;  // bytes that it takes, wslay's included

  // After kClosed: the code to close with, which is the peer's own when it sent one (kNoStatusReceived when
  // its close frame had none), and the reason: the peer's own, or in words the rule that it broke.
  bool closed_by_peer() const;
  std::uint16_t close_code() const;
  std::string_view close_reason() const;
  const ReaderLimits& limits() const;

 private:
  friend class ReaderPool;
  struct Impl;
  std::unique_ptr<Impl> impl_;
  std::size_t counted_bytes_ = 0;  // in its pool's
};

// Lends readers of one role and one set of limits. Keeps at most `spare` of those given back.
class ReaderPool {
 public:
  ReaderPool(Role role, const ReaderLimits& limits, std::size_t spare = 64);

  // Each is given back.
  std::unique_ptr<MessageReader> Take();
  // For the readers to be taken; those that are lent keep what they began with.
  void SetLimits(const ReaderLimits& limits);
  void GiveBack(std::unique_ptr<MessageReader> reader);
  // A reader stays with its connection after a Read(). Returns false when they take too much; it counts then, too.
  bool Keep(MessageReader& reader);

 private:
  Role role_;
  ReaderLimits limits_;
  std::size_t spare_;
  std::size_t unfinished_bytes_ = 0;
  std::vector<std::unique_ptr<MessageReader>> free_;
};

}  // namespace aphlict::websocket
