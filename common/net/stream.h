// A connected TCP socket. Reads as bytes come, queues what is written, and sends the queue in one gathered
// write at the end of the loop's turn (see Loop).
//
// It is a uv_poll_t with reads and writes of its own rather than a uv_tcp_t: 88 bytes less for each idle
// client, no request for each write, and a descriptor that is closed at once. docs/decisions/ has the reasons.
#pragma once

#include <uv.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/bytes.h"
#include "common/base/fetch_ahead.h"
#include "common/base/result.h"
#include "common/base/time.h"
#include "common/net/address.h"
#include "common/net/loop.h"
#include "common/net/write_queue.h"

namespace aphlict::net {

// What happens on a stream. Each call may destroy the stream, and the handler itself.
class StreamHandler {
 public:
  virtual ~StreamHandler() = default;
  // An outgoing connection is there. Not called for accepted ones.
  virtual void OnConnected() {}
  // On a stream that was accepted with TLS: bytes of the peer's handshake have come. The handler lets it go on with
  // Stream::ContinueHandshake(), now or later; handshakes cost more than anything else that a peer can ask for. None
  // begins with a peer that has closed by then.
  virtual void OnHandshake() {}
  // `bytes` is borrowed for the call, and never empty.
  virtual void OnBytes(std::string_view bytes) = 0;
  // The stream is over: the peer closed its side (`reason` is "end of stream"), or it failed. Nothing else
  // will be called. The handler is expected to let go of the stream.
  virtual void OnEnd(const std::string& reason) = 0;
  // The peer closed its sending side, and may still read. For who has nothing more to say, that is the end.
  virtual void OnReadEnd() { OnEnd("end of stream"); }
  // After NotifyWhenDrained(): all that was queued has been handed to the kernel, which has room for more.
  virtual void OnDrained() {}
};

class Stream;
class TlsContext;
class TlsSession;

// Closes the socket at once, without sending what is queued, and frees the memory when libuv has let go of it.
struct CloseStream {
  void operator()(Stream* stream) const noexcept;
};
using StreamPtr = std::unique_ptr<Stream, CloseStream>;

class Stream {
 public:
  // Takes over the descriptor of a connected, non-blocking socket. With `tls`, its peer speaks that.
  static StreamPtr Adopt(Loop& loop, int descriptor, const TlsContext* tls = nullptr);
  // Begins to connect; OnConnected() or OnEnd() follows. With `tls`, the handshake is part of connecting, and `host` is
  // who must be there. Errors: no socket could be made.
  static Result<StreamPtr> Connect(Loop& loop, const Address& address, const TlsContext* tls = nullptr,
                                   const std::string& host = "");

  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // Whom to tell. Reading begins with the first handler. The handler must outlive the stream or its own
  // replacement.
  void SetHandler(StreamHandler* handler);

  // Queues bytes; they leave at the end of this turn, or as soon as the kernel takes them. Never calls the
  // handler.
  void Write(SharedBytes bytes);
  void Write(std::string_view bytes) { Write(SharedBytes::Copy(bytes)); }

  // Bytes queued and not yet taken by the kernel.
  std::size_t unsent() const { return queue_.bytes() + (InOutbox() ? loop().outbox_.slice(place_).size() : 0); }
  // Whether nothing can come or go any more: it has failed, or the peer has closed its side and has been sent
  // everything.
  bool spent() const { return ended_ || (read_ended_ && unsent() == 0); }
  // When the kernel last took some of them, or else, to the turn, when the first of them was queued. Meaningful while
  // unsent() > 0.
  Time last_progress() const { return queue_.empty() ? loop().turn_began() : last_progress_; }
  // Fetches into the cache what unsent(), Write(), and sending look at: the first 56 bytes, which are in two lines at
  // most.
  void Prefetch() const {
    FetchLine(this);
    FetchLine(&poll_.loop);
  }
  // Asks for one OnDrained().
  void NotifyWhenDrained();

  // For streams of which there are very many, and of whose other ends nobody knows anything: they read when the loop
  // has time for them (Loop::MayRead), after those that do not yield.
  void Yield() { yields_ = true; }

  void PauseReading();
  void ResumeReading();

  // See StreamHandler::OnHandshake.
  void ContinueHandshake();
  // Whether it has TLS, and its handshake is not done.
  bool handshaking() const { return handshaking_; }

  // Half-closes once all that is queued is sent. Where the peer has closed its side before, that is the end.
  void ShutdownWhenSent();

  // The other end, or an empty address if the connection is gone. Costs a system call.
  Address peer() const;
  // This end, likewise.
  Address local() const;
  Loop& loop() const { return Loop::From(poll_.loop); }

 private:
  friend class Outbox;
  friend struct CloseStream;

  Stream(Loop& loop, int descriptor);
  ~Stream();

  void Encrypt(std::unique_ptr<TlsSession> tls);
  void Close();
  void OnEvents(int status, int events);
  void FinishConnecting();
  void ReadOnce();
  void Decrypt();
  void WaitToDecrypt();
  bool InOutbox() const { return loop().outbox_.Has(this, place_); }
  void EnterOutbox(SharedBytes slice);
  void Queue(SharedBytes bytes);
  void QueueSlice();
  void Flush();
  void FlushEncrypted();
  void SendRest(const SharedBytes& bytes, ssize_t sent);
  std::string_view NextRecord();
  void Block();
  void AllSent();
  void SendEnd();
  void Consume(std::size_t sent);
  void UpdateInterest();
  void End(const std::string& reason);

  // In this order, all that a write needs lies together: Prefetch().
  WriteQueue queue_;  // what the kernel has not taken, and what does not go by the outbox alone
  std::unique_ptr<TlsSession> tls_;
  std::uint32_t place_ = 0;  // in the outbox
  int descriptor_;
  std::uint8_t interest_ = 0;  // the events that poll_ watches
  std::uint8_t round_ = 0;     // in which it has read, where it yields
  bool connecting_ : 1 = false;
  bool closed_ : 1 = false;
  bool paused_ : 1 = false;
  bool blocked_ : 1 = false;  // the kernel takes no more for now
  bool notify_drained_ : 1 = false;
  bool shutdown_ : 1 = false;
  bool read_ended_ : 1 = false;
  bool ended_ : 1 = false;
  bool accepted_ : 1 = false;
  bool yields_ : 1 = false;
  bool handshaking_ : 1 = false;  // of TLS
  uv_poll_t poll_;                // poll_.data is this stream; poll_.loop is at its beginning
  StreamHandler* handler_ = nullptr;
  Time last_progress_{};
};

}  // namespace aphlict::net
