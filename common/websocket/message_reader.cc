#include "common/websocket/message_reader.h"

#include <wslay/wslay.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <new>
#include <optional>
#include <utility>

#include "common/base/bytes.h"

namespace aphlict::websocket {

namespace {

// What wslay is given at most before its answers are thrown away: it queues one for each ping.
constexpr std::size_t kPiece = 4096;
// A reader keeps this much for its next message, so that a pool of them stays small.
constexpr std::size_t kSparePayload = 16 * 1024;
constexpr std::size_t kContextBytes = 8'632;     // of wslay 1.1.1
constexpr std::size_t kMaxControlPayload = 125;  // section 5.5

// The bytes of a frame's header before those of the mask, told from its second byte.
constexpr std::size_t LengthEnd(unsigned char second) {
  const unsigned char length = second & 0x7f;
  return length == 126 ? 4 : length == 127 ? 10 : 2;
}

constexpr std::size_t MaskSize(unsigned char second) { return (second & 0x80) != 0 ? 4 : 0; }

// Follows frames through the bytes as they come, only to know where one ends and the next begins:
// wslay, which reads ahead, does not tell. Whether they are allowed is wslay's business.
class FrameWalk {
 public:
  bool between_frames() const { return header_size_ == 0 && payload_left_ == 0; }

  // Goes through `bytes` up to their end, or to where a close frame begins. Returns how far that is.
  std::size_t Go(std::string_view bytes) {
    std::size_t at = 0;
    while (at < bytes.size()) {
      if (payload_left_ > 0) {
        const std::uint64_t step = std::min<std::uint64_t>(payload_left_, bytes.size() - at);
        payload_left_ -= step;
        at += static_cast<std::size_t>(step);
      } else if (header_size_ == 0 && IsClose(bytes[at])) {
        break;
      } else {
        AddToHeader(bytes[at++]);
      }
    }
    return at;
  }

 private:
  static bool IsClose(char first) { return (first & 0x0f) == static_cast<char>(Opcode::kClose); }

  void AddToHeader(char byte) {
    header_[header_size_++] = byte;
    if (header_size_ < 2) return;
    const auto second = static_cast<unsigned char>(header_[1]);
    const std::size_t length_end = LengthEnd(second);
    if (header_size_ < length_end + MaskSize(second)) return;
    if (length_end == 2) payload_left_ = second & 0x7f;
    if (length_end == 4) payload_left_ = LoadBigEndian<std::uint16_t>(header_ + 2);
    if (length_end == 10) payload_left_ = LoadBigEndian<std::uint64_t>(header_ + 2);
    header_size_ = 0;
  }

  char header_[kMaxFrameHeader];
  std::size_t header_size_ = 0;
  std::uint64_t payload_left_ = 0;
};

// A close frame that comes in pieces is handed to wslay as a whole: wslay takes the first two bytes
// of each piece for the code, and so checks the wrong bytes of the reason (wslay_event_recv() in 1.1.1).
class CloseFrame {
 public:
  bool empty() const { return size_ == 0; }

  // Takes from the front of `bytes` what belongs to the frame, and returns how much that is.
  std::size_t Add(std::string_view bytes) {
    std::size_t taken = 0;
    while (taken < bytes.size() && !complete()) bytes_[size_++] = bytes[taken++];
    return taken;
  }

  bool complete() const {
    if (size_ < 2) return false;
    const auto second = static_cast<unsigned char>(bytes_[1]);
    const std::size_t length = second & 0x7f;
    // One that is too long is refused by its first two bytes.
    return length > kMaxControlPayload || size_ == 2 + MaskSize(second) + length;
  }

  std::string_view bytes() const { return {bytes_, size_}; }

 private:
  char bytes_[2 + 4 + kMaxControlPayload];
  std::size_t size_ = 0;
};

// Section 7.4, and the codes 1012 to 1014 of IANA's registry, which wslay does not know.
bool IsCloseCode(std::uint16_t code) {
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
}

}  // namespace

struct MessageReader::Impl {
  Impl(Role role, const ReaderLimits& reader_limits);
  ~Impl() { wslay_event_context_free(context); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  void Read(std::string_view bytes);
  void Give(std::string_view piece);
  void DropAnswers();
  void Close(std::uint16_t code, std::string reason);
  Status status() const;

  // What wslay finds, in the order of a frame.
  void OnFrameStart(const wslay_event_on_frame_recv_start_arg& frame);
  void OnFrameChunk(std::string_view data);
  void OnFrameEnd();
  void OnMessageEnd(const wslay_event_on_msg_recv_arg& message);
  void AddToMessage(std::string_view data);

  // wslay's callbacks. An exception may not unwind through its C.
  static ssize_t TakeInput(wslay_event_context_ptr context, std::uint8_t* out, std::size_t size, int flags,
                           void* self) noexcept;
  static ssize_t Swallow(wslay_event_context_ptr, const std::uint8_t*, std::size_t size, int, void*) noexcept {
    return static_cast<ssize_t>(size);
  }
  static int MakeMask(wslay_event_context_ptr, std::uint8_t* out, std::size_t size, void*) noexcept {
    std::memset(out, 0, size);  // nobody gets to see it
    return 0;
  }
  static void FrameStart(wslay_event_context_ptr, const wslay_event_on_frame_recv_start_arg* frame,
                         void* self) noexcept {
    static_cast<Impl*>(self)->OnFrameStart(*frame);
  }
  static void FrameChunk(wslay_event_context_ptr, const wslay_event_on_frame_recv_chunk_arg* chunk,
                         void* self) noexcept {
    static_cast<Impl*>(self)->OnFrameChunk({reinterpret_cast<const char*>(chunk->data), chunk->data_length});
  }
  static void FrameEnd(wslay_event_context_ptr, void* self) noexcept { static_cast<Impl*>(self)->OnFrameEnd(); }
  static void MessageEnd(wslay_event_context_ptr, const wslay_event_on_msg_recv_arg* message, void* self) noexcept {
    static_cast<Impl*>(self)->OnMessageEnd(*message);
  }

  const ReaderLimits limits;
  wslay_event_context_ptr context = nullptr;
  ReaderEvents* events = nullptr;  // during Read()
  std::string_view input;          // during Give(): what wslay has yet to take

  FrameWalk walk;
  CloseFrame close_frame;

  // The frame that wslay is in.
  std::uint8_t frame_opcode = 0;
  std::uint64_t frame_payload = 0;
  // The message that is being collected: none while there are no fragments.
  std::size_t fragments = 0;
  bool only_fragment = false;
  std::uint64_t declared_bytes = 0;
  std::string payload;
  // A payload that came in one piece is left where wslay has it, until the end of its frame.
  std::string_view whole_payload;

  bool closed = false;
  bool closed_by_peer = false;
  std::uint16_t close_code = kNormalClosure;
  std::string close_reason;
};

MessageReader::Impl::Impl(Role role, const ReaderLimits& reader_limits) : limits(reader_limits) {
  static constexpr wslay_event_callbacks kCallbacks = {TakeInput,  Swallow,  MakeMask,  FrameStart,
                                                       FrameChunk, FrameEnd, MessageEnd};
  const int result = role == Role::kServer ? wslay_event_context_server_init(&context, &kCallbacks, this)
                                           : wslay_event_context_client_init(&context, &kCallbacks, this);
  if (result != 0) throw std::bad_alloc();  // its only failure
  wslay_event_config_set_no_buffering(context, 1);
  // The limit is ours, over all frames of a message: see OnFrameStart().
  wslay_event_config_set_max_recv_msg_length(context, std::numeric_limits<std::uint64_t>::max());
}

void MessageReader::Impl::Read(std::string_view bytes) {
  while (!bytes.empty() && !closed) {
    if (close_frame.empty()) {
      const std::string_view piece = bytes.substr(0, kPiece);
      const std::size_t walked = walk.Go(piece);
      if (walked > 0) Give(piece.substr(0, walked));
      bytes.remove_prefix(walked);
      if (walked == piece.size()) continue;  // else a close frame begins here
    }
    bytes.remove_prefix(close_frame.Add(bytes));
    if (!closed && close_frame.complete()) Give(close_frame.bytes());
  }
}

void MessageReader::Impl::Give(std::string_view piece) {
  input = piece;
  const int result = wslay_event_recv(context);
  DropAnswers();
  if (result == WSLAY_ERR_CALLBACK_FAILURE) {
    // No callback of ours fails: this is what comes of its WSLAY_ERR_PROTO.
    Close(kProtocolError,
          "a control frame that is too long or fragmented, or a length that is not in its shortest "
          "form");
  } else if (result != 0) {
    Close(kInternalError, "out of memory");
  } else if (wslay_event_get_close_sent(context) != 0) {
    // It queued the close itself, and what is not one of ours (see Close()) has one of two causes.
    const std::uint16_t code = wslay_event_get_status_code_sent(context);
    Close(code, code == kInvalidPayload
                    ? "text that is not UTF-8"
                    : "a frame with reserved bits, an unknown opcode, a wrong mask, or out of order");
  }
}

void MessageReader::Impl::DropAnswers() {
  if (wslay_event_want_write(context) != 0) wslay_event_send(context);
}

// The first reason is the one that counts.
void MessageReader::Impl::Close(std::uint16_t code, std::string reason) {
  if (closed) return;
  closed = true;
  close_code = code;
  close_reason = std::move(reason);
  wslay_event_shutdown_read(context);
}

void MessageReader::Impl::OnFrameStart(const wslay_event_on_frame_recv_start_arg& frame) {
  frame_opcode = frame.opcode;
  frame_payload = frame.payload_length;
  if (wslay_is_ctrl_frame(frame.opcode)) return;

  // The sum cannot overflow: a frame has less than 2^63 bytes, and what was before it is within the limit.
  declared_bytes += frame.payload_length;
  ++fragments;
  only_fragment = fragments == 1 && frame.fin != 0;
  if (declared_bytes > limits.message_bytes) {
    Close(kMessageTooBig, "a message of more than " + std::to_string(limits.message_bytes) + " bytes");
  } else if (fragments > limits.fragments) {
    Close(kPolicyViolation, "a message in more than " + std::to_string(limits.fragments) + " fragments");
  }
}

void MessageReader::Impl::OnFrameChunk(std::string_view data) {
  if (closed) return;
  if (frame_opcode == WSLAY_CONNECTION_CLOSE) {
    whole_payload = data;  // see CloseFrame
  } else if (!wslay_is_ctrl_frame(frame_opcode)) {
    AddToMessage(data);
  }
}

void MessageReader::Impl::AddToMessage(std::string_view data) {
  if (only_fragment && data.size() == frame_payload) {
    whole_payload = data;  // the usual case
    return;
  }
  const std::size_t needed = payload.size() + data.size();
  if (needed > payload.capacity()) {
    // What is declared is not trusted with memory before half of it has come.
    std::string larger;  // reserve() of a string that has a capacity takes at least twice that
    larger.reserve(std::min(limits.message_bytes, std::max(needed, 2 * payload.capacity())));
    larger.append(payload);
    payload.swap(larger);
  }
  payload.append(data);
}

void MessageReader::Impl::OnFrameEnd() {
  if (closed || frame_opcode != WSLAY_CONNECTION_CLOSE) return;
  // wslay has checked that the reason is UTF-8. Its check of the code, which is to come, knows
  // fewer of them.
  const std::string_view close = whole_payload;
  if (close.empty()) {
    closed_by_peer = true;
    return Close(kNoStatusReceived, "");
  }
  if (close.size() == 1) return Close(kProtocolError, "a close frame with half a code");
  const auto code = LoadBigEndian<std::uint16_t>(close.data());
  if (!IsCloseCode(code)) {
    return Close(kProtocolError, "a close frame with the code " + std::to_string(code));
  }
  closed_by_peer = true;
  Close(code, std::string(close.substr(2)));
}

void MessageReader::Impl::OnMessageEnd(const wslay_event_on_msg_recv_arg& message) {
  if (closed) return;
  if (wslay_is_ctrl_frame(message.opcode)) {
    const std::string_view data(reinterpret_cast<const char*>(message.msg), message.msg_length);
    if (message.opcode == WSLAY_PING) events->OnPing(data);
    if (message.opcode == WSLAY_PONG) events->OnPong(data);
    return;
  }
  const bool collected = !payload.empty();
  events->OnMessage(static_cast<Opcode>(message.opcode), collected ? payload : whole_payload);
  fragments = 0;
  declared_bytes = 0;
  whole_payload = {};
  payload.clear();
  if (payload.capacity() > kSparePayload) std::string().swap(payload);
}

MessageReader::Status MessageReader::Impl::status() const {
  if (closed) return Status::kClosed;
  const bool between = walk.between_frames() && close_frame.empty() && fragments == 0;
  return between ? Status::kBetweenMessages : Status::kInMessage;
}

ssize_t MessageReader::Impl::TakeInput(wslay_event_context_ptr context, std::uint8_t* out, std::size_t size, int,
                                       void* self) noexcept {
  std::string_view& input = static_cast<Impl*>(self)->input;
  if (input.empty()) {
    wslay_event_set_error(context, WSLAY_ERR_WOULDBLOCK);
    return -1;
  }
  const std::size_t taken = input.copy(reinterpret_cast<char*>(out), size);
  input.remove_prefix(taken);
  return static_cast<ssize_t>(taken);
}

MessageReader::MessageReader(Role role, const ReaderLimits& limits) : impl_(std::make_unique<Impl>(role, limits)) {}

MessageReader::~MessageReader() = default;

MessageReader::Status MessageReader::Read(std::string_view bytes, ReaderEvents& events) {
  impl_->events = &events;
  impl_->Read(bytes);
  impl_->events = nullptr;
  return impl_->status();
}

void MessageReader::Stop() { impl_->Close(kNormalClosure, ""); }

MessageReader::Status MessageReader::status() const { return impl_->status(); }
std::size_t MessageReader::memory() const { return kContextBytes + sizeof(Impl) + impl_->payload.capacity(); }
bool MessageReader::closed_by_peer() const { return impl_->closed_by_peer; }
std::uint16_t MessageReader::close_code() const { return impl_->close_code; }
std::string_view MessageReader::close_reason() const { return impl_->close_reason; }
const ReaderLimits& MessageReader::limits() const { return impl_->limits; }

ReaderPool::ReaderPool(Role role, const ReaderLimits& limits, std::size_t spare)
    : role_(role), limits_(limits), spare_(spare) {}

std::unique_ptr<MessageReader> ReaderPool::Take() {
  if (free_.empty()) return std::make_unique<MessageReader>(role_, limits_);
  std::unique_ptr<MessageReader> reader = std::move(free_.back());
  free_.pop_back();
  return reader;
}

void ReaderPool::SetLimits(const ReaderLimits& limits) {
  if (limits == limits_) return;
  limits_ = limits;
  free_.clear();
}

void ReaderPool::GiveBack(std::unique_ptr<MessageReader> reader) {
  unfinished_bytes_ -= std::exchange(reader->counted_bytes_, 0);
  if (reader->status() != MessageReader::Status::kBetweenMessages || reader->limits() != limits_) return;
  if (free_.size() < spare_) free_.push_back(std::move(reader));
}

bool ReaderPool::Keep(MessageReader& reader) {
  const std::size_t kept = reader.memory();
  unfinished_bytes_ += kept - std::exchange(reader.counted_bytes_, kept);
  return unfinished_bytes_ <= limits_.unfinished_bytes;
}

}  // namespace aphlict::websocket
