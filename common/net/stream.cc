#include "common/net/stream.h"

#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cassert>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "common/net/socket_options.h"
#include "common/net/tls_context.h"
#include "common/net/tls_session.h"

namespace aphlict::net {

namespace {

constexpr int kMaxVectors = 64;  // of one sendmsg()

}  // namespace

void CloseStream::operator()(Stream* stream) const noexcept { stream->Close(); }

Stream::Stream(Loop& loop, int descriptor) : descriptor_(descriptor) {
  poll_.data = this;
  ++loop.streams_;
  // Fails only for what is not a socket, or is watched already.
  if (uv_poll_init(loop.uv(), &poll_, descriptor) != 0) std::abort();
}

Stream::~Stream() = default;

void Stream::Encrypt(std::unique_ptr<TlsSession> tls) {
  tls_ = std::move(tls);
  handshaking_ = true;
}

StreamPtr Stream::Adopt(Loop& loop, int descriptor, const TlsContext* tls) {
  StreamPtr stream(new Stream(loop, descriptor));
  stream->accepted_ = true;
  if (tls != nullptr) stream->Encrypt(tls->Accept(descriptor));
  return stream;
}

Result<StreamPtr> Stream::Connect(Loop& loop, const Address& address, const TlsContext* tls, const std::string& host) {
  const int descriptor = socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return Error{"socket: " + ErrorText(errno)};
  SetConnectionOptions(descriptor);
  if (connect(descriptor, address.get(), address.length()) != 0 && errno != EINPROGRESS) {
    Error error{"connect to " + address.ToString() + ": " + ErrorText(errno)};
    close(descriptor);
    return error;
  }
  StreamPtr stream(new Stream(loop, descriptor));
  stream->connecting_ = true;
  if (tls != nullptr) stream->Encrypt(tls->Connect(descriptor, host));
  return stream;
}

void Stream::SetHandler(StreamHandler* handler) {
  handler_ = handler;
  UpdateInterest();
}

void Stream::Close() {
  assert(!closed_);
  closed_ = true;
  handler_ = nullptr;
  Loop& owner = loop();
  owner.counters_.unsent -= unsent();
  if (InOutbox()) owner.outbox_.Leave(place_);
  --owner.streams_;
  queue_.Clear();
  uv_close(reinterpret_cast<uv_handle_t*>(&poll_),
           [](uv_handle_t* handle) { delete static_cast<Stream*>(handle->data); });
  close(descriptor_);
}

void Stream::Write(SharedBytes bytes) {
  if (bytes.empty() || closed_ || ended_) return;
  loop().counters_.unsent += bytes.size();
  if (InOutbox()) {
    QueueSlice();
  } else if (!blocked_ && !connecting_ && !handshaking_) {
    if (queue_.empty() && !shutdown_) return EnterOutbox(std::move(bytes));
    EnterOutbox({});
  }
  Queue(std::move(bytes));
}

void Stream::EnterOutbox(SharedBytes slice) {
  place_ = loop().outbox_.Enter(this, std::move(slice), tls_ ? -1 : descriptor_);
}

void Stream::Queue(SharedBytes bytes) {
  Loop& owner = loop();
  if (queue_.empty()) last_progress_ = owner.turn_began();
  queue_.Push(std::move(bytes), owner.spare_chunks_);
}

// What lies in the outbox does not go alone. REQUIRES: InOutbox().
void Stream::QueueSlice() {
  SharedBytes& slice = loop().outbox_.slice(place_);
  if (!slice.empty()) Queue(std::move(slice));
}

// Of `bytes`, which were all that there was, the kernel has taken so much, or it is the negative of an errno.
void Stream::SendRest(const SharedBytes& bytes, ssize_t sent) {
  Queue(bytes);
  if (sent > 0) Consume(static_cast<std::size_t>(sent));
  if (sent < 0 && sent != -EAGAIN && sent != -EINTR) return End("write: " + ErrorText(static_cast<int>(-sent)));
  Flush();
}

void Stream::Flush() {
  if (tls_) return FlushEncrypted();
  while (!queue_.empty()) {
    iovec vectors[kMaxVectors];
    std::size_t count = 0;
    std::size_t total = 0;
    queue_.ForEach([&](const SharedBytes& slice) {
      vectors[count++] = {const_cast<char*>(slice.data()), slice.size()};
      total += slice.size();
      return count < kMaxVectors;
    });
    ssize_t sent;
    do {
      if (count == 1) {
        sent = send(descriptor_, vectors[0].iov_base, vectors[0].iov_len, MSG_NOSIGNAL);
      } else {
        msghdr message{};
        message.msg_iov = vectors;
        message.msg_iovlen = count;
        sent = sendmsg(descriptor_, &message, MSG_NOSIGNAL);
      }
    } while (sent < 0 && errno == EINTR);
    if (sent < 0) {
      if (errno != EAGAIN) return End("write: " + ErrorText(errno));
      sent = 0;
    }
    Consume(static_cast<std::size_t>(sent));
    if (static_cast<std::size_t>(sent) < total) return Block();
  }
  AllSent();
}

void Stream::FlushEncrypted() {
  if (handshaking_) return;
  while (!queue_.empty()) {
    std::size_t sent = 0;
    const TlsSession::Status status = tls_->Write(NextRecord(), &sent);
    if (status == TlsSession::Status::kWantsWrite) return Block();
    if (status != TlsSession::Status::kDone) return End("write: " + tls_->error());
    Consume(sent);
  }
  AllSent();
}

// What the next record is to hold: small writes share one. As long as the kernel does not take it, this begins with the
// same bytes.
std::string_view Stream::NextRecord() {
  char* const record = loop().scratch();
  std::string_view first;
  std::size_t slices = 0;
  std::size_t size = 0;
  queue_.ForEach([&](const SharedBytes& slice) {
    if (slices++ == 0) {
      first = slice.view();
      return first.size() < TlsSession::kRecordBytes;
    }
    if (slices == 2) {
      std::memcpy(record, first.data(), first.size());
      size = first.size();
    }
    const std::string_view bytes = slice.view().substr(0, TlsSession::kRecordBytes - size);
    std::memcpy(record + size, bytes.data(), bytes.size());
    size += bytes.size();
    return size < TlsSession::kRecordBytes;
  });
  return slices == 1 ? first : std::string_view(record, size);
}

// The kernel takes no more for now. It has taken some, or has not been asked since there is something to take: the poll
// says when there is room.
void Stream::Block() {
  blocked_ = true;
  last_progress_ = Now();
  UpdateInterest();
}

void Stream::AllSent() {
  if (!shutdown_) return;
  SendEnd();
  if (read_ended_) End("end of stream");
}

void Stream::SendEnd() {
  if (tls_) tls_->SayEnd();
  shutdown(descriptor_, SHUT_WR);
}

void Stream::Consume(std::size_t sent) {
  if (sent == 0) return;
  Loop& owner = loop();
  owner.counters_.sent += sent;
  owner.counters_.unsent -= sent;
  queue_.Consume(sent, owner.spare_chunks_);
}

void Stream::NotifyWhenDrained() {
  notify_drained_ = true;
  UpdateInterest();
}

// Only when something does come is the poll told: most pauses, such as that of a request which is answered in its own
// turn, are over by then, and two system calls are saved.
void Stream::PauseReading() { paused_ = true; }

void Stream::ResumeReading() {
  paused_ = false;
  UpdateInterest();
}

void Stream::ShutdownWhenSent() {
  shutdown_ = true;
  if (InOutbox()) QueueSlice();
  if (queue_.empty() && !connecting_) SendEnd();
}

Address Stream::peer() const { return PeerOf(descriptor_); }

Address Stream::local() const { return LocalOf(descriptor_); }

void Stream::UpdateInterest() {
  if (closed_) return;
  int events = 0;
  if (!ended_ && handler_ != nullptr) {
    if (!connecting_ && !paused_ && !read_ended_) events |= UV_READABLE;
    if (connecting_ || blocked_ || notify_drained_) events |= UV_WRITABLE;
  }
  if (events == interest_) return;
  interest_ = static_cast<std::uint8_t>(events);
  if (events == 0) {
    uv_poll_stop(&poll_);
    return;
  }
  uv_poll_start(&poll_, events, [](uv_poll_t* poll, int status, int ready) noexcept {
    static_cast<Stream*>(poll->data)->OnEvents(status, ready);
  });
}

void Stream::OnEvents(int status, int events) {
  loop().Enter();
  if (status < 0) {
    // libuv says EBADF for any error condition of the socket; the socket knows better.
    int error = 0;
    socklen_t length = sizeof(error);
    getsockopt(descriptor_, SOL_SOCKET, SO_ERROR, &error, &length);
    interest_ = 0;  // libuv has stopped watching
    // A peer that refuses a certificate says why, and resets the connection in the middle of what it is sent.
    if (tls_ && !connecting_ && !paused_) ReadOnce();
    if (closed_ || ended_) return;
    return End((connecting_ ? "connect: " : "") + ErrorText(error == 0 ? ECONNRESET : error));
  }
  if (connecting_) return FinishConnecting();
  if ((events & UV_WRITABLE) != 0) {
    blocked_ = false;
    if (handshaking_ || (tls_ && tls_->has_rest())) Decrypt();
    if (closed_ || ended_) return;
    // Not at the turn's end like others: the interest in writability must be settled before the next poll.
    if (!InOutbox()) Flush();
    if (closed_ || ended_) return;
    const bool drained = notify_drained_ && unsent() == 0;
    if (drained) notify_drained_ = false;
    UpdateInterest();
    if (drained) handler_->OnDrained();
    if (closed_ || ended_) return;
  }
  if ((events & UV_READABLE) == 0) return;
  if (paused_) return UpdateInterest();
  if (accepted_ && handshaking_) return handler_->OnHandshake();
  if (yields_ && !loop().MayRead(&round_)) return;
  ReadOnce();
}

void Stream::ContinueHandshake() {
  if (handshaking_) ReadOnce();
}

void Stream::FinishConnecting() {
  int error = 0;
  socklen_t length = sizeof(error);
  getsockopt(descriptor_, SOL_SOCKET, SO_ERROR, &error, &length);
  if (error != 0) return End("connect: " + ErrorText(error));
  connecting_ = false;
  UpdateInterest();
  if (tls_) return Decrypt();  // begins the handshake
  if (!queue_.empty()) EnterOutbox({});
  handler_->OnConnected();
}

// One read a turn, so that a fast sender does not keep the loop from everybody else.
void Stream::ReadOnce() {
  char* const buffer = tls_ ? loop().scratch() : loop().read_buffer();
  ssize_t got;
  do {
    got = recv(descriptor_, buffer, Loop::kReadBufferSize, 0);
  } while (got < 0 && errno == EINTR);
  if (got > 0) {
    const std::string_view bytes(buffer, static_cast<std::size_t>(got));
    if (!tls_) {
      loop().counters_.received += bytes.size();
      return handler_->OnBytes(bytes);
    }
    // Who has waited for too long has gone; a handshake with it would keep the living waiting.
    if (!tls_->begun() && PeerHasClosed(descriptor_)) return End("TLS: the peer left before its handshake");
    tls_->Receive(bytes);
    return Decrypt();
  }
  if (got == 0) {
    read_ended_ = true;
    UpdateInterest();
    return handler_->OnReadEnd();
  }
  if (errno != EAGAIN) End("read: " + ErrorText(errno));
}

// Goes on with the handshake and then with the peer's records, as far as what was received lasts.
void Stream::Decrypt() {
  using Status = TlsSession::Status;
  if (handshaking_) {
    const Status status = tls_->Handshake();
    if (status == Status::kWantsRead) return;
    if (status == Status::kWantsWrite) return WaitToDecrypt();
    if (status != Status::kDone) return End(status == Status::kEnd ? "TLS: the peer gave up" : tls_->error());
    handshaking_ = false;
    if (!queue_.empty()) EnterOutbox({});
    if (!accepted_) handler_->OnConnected();
  }
  Status status = Status::kDone;
  while (status == Status::kDone && !closed_ && !ended_) {
    std::size_t got = 0;
    status = tls_->Read(loop().read_buffer(), Loop::kReadBufferSize, &got);
    if (got == 0) continue;
    loop().counters_.received += got;
    handler_->OnBytes({loop().read_buffer(), got});
  }
  if (closed_ || ended_ || status == Status::kWantsRead) return;
  if (status == Status::kWantsWrite) return WaitToDecrypt();
  if (status == Status::kFailed) return End(tls_->error());
  read_ended_ = true;
  UpdateInterest();
  handler_->OnReadEnd();
}

void Stream::WaitToDecrypt() {
  tls_->KeepRest();
  blocked_ = true;
  UpdateInterest();
}

void Stream::End(const std::string& reason) {
  if (ended_) return;
  ended_ = true;
  UpdateInterest();
  if (handler_ != nullptr) handler_->OnEnd(reason);
}

}  // namespace aphlict::net
