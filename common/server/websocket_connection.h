// One WebSocket over a stream, at either end: a browser's, or a feed's. Knows frames and closing (RFC 6455),
// not what the messages mean.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/bytes.h"
#include "common/base/fetch_ahead.h"
#include "common/base/time.h"
#include "common/net/stream.h"
#include "common/websocket/frame.h"
#include "common/websocket/message_reader.h"

namespace aphlict::server {

// What happens on a connection. No call may destroy the connection at once; Loop::DeleteLater() does it safely.
class WebSocketHandler {
 public:
  virtual ~WebSocketHandler() = default;
  // A text or binary message. `payload` is borrowed for the call.
  virtual void OnMessage(websocket::Opcode opcode, std::string_view payload) = 0;
  // The peer closed, broke a rule, or is gone. The connection is over, and is expected to be let go of. `code`
  // is what it was closed with (1006 when it broke); not called after Close().
  virtual void OnClosed(std::uint16_t code, const std::string& reason) = 0;
  // After NotifyWhenDrained(): there is room for more.
  virtual void OnDrained() {}
};

class WebSocketConnection : private net::StreamHandler {
 public:
  // Takes over a stream after the handshake. `pool` gives readers of the same `role` and outlives the
  // connection, as does `handler`.
  WebSocketConnection(net::StreamPtr stream, websocket::Role role, websocket::ReaderPool& pool,
                      WebSocketHandler& handler);
  ~WebSocketConnection() override;
  WebSocketConnection(const WebSocketConnection&) = delete;
  WebSocketConnection& operator=(const WebSocketConnection&) = delete;

  // Reads bytes that came behind the handshake. Call once, before the loop turns.
  void Receive(std::string_view bytes) { OnBytes(bytes); }

  // Queues a frame that is encoded already, unmasked: a server's. Nothing happens once closed.
  void SendFrame(SharedBytes frame);
  // Encodes a frame (masked at a client's end) and queues it.
  void Send(websocket::Opcode opcode, std::string_view payload);

  // Sends a close frame and lets go of the stream, which is closed in good order by the loop. The handler is
  // not called again.
  void Close(std::uint16_t code, std::string_view reason);
  bool closed() const { return stream_ == nullptr; }

  void NotifyWhenDrained();
  void PauseReading();
  void ResumeReading();

  std::size_t unsent() const { return stream_ ? stream_->unsent() : 0; }
  // Fetch into the cache what unsent() and SendFrame() look at: first Prefetch(), and once that is there, the other.
  void Prefetch() const { FetchLine(&stream_); }
  void PrefetchStream() const {
    if (stream_) stream_->Prefetch();
  }
  Time last_progress() const { return stream_ ? stream_->last_progress() : Time{}; }
  // When bytes last came from the peer.
  Time last_heard() const { return last_heard_; }
  // Since when a message has been incomplete; the epoch's begin when none is.
  Time in_message_since() const { return reader_ ? in_message_since_ : Time{}; }
  net::Address peer() const { return stream_ ? stream_->peer() : net::Address(); }

 private:
  class Receiver;

  void OnBytes(std::string_view bytes) override;
  void OnEnd(const std::string& reason) override;
  void OnDrained() override;
  void SendPong(std::string_view payload);

  net::StreamPtr stream_;  // null once closed
  websocket::ReaderPool& pool_;
  WebSocketHandler& handler_;
  std::unique_ptr<websocket::MessageReader> reader_;  // only in the middle of a message
  std::unique_ptr<std::string> pending_pong_;         // the latest ping's payload, while output waits
  Time last_heard_;
  Time in_message_since_{};
  websocket::Role role_;
  bool handler_wants_drained_ = false;
};

}  // namespace aphlict::server
