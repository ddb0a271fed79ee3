#include "common/server/websocket_connection.h"

#include <utility>

#include "common/base/random.h"

namespace aphlict::server {

namespace {

// With more unsent, one answer waits for all pings that come meanwhile.
constexpr std::size_t kMostUnsentBeforePong = 4096;

}  // namespace

// Passes what a reader finds to the handler, until the connection is closed.
class WebSocketConnection::Receiver : public websocket::ReaderEvents {
 public:
  explicit Receiver(WebSocketConnection& connection) : connection_(connection) {}

  void OnMessage(websocket::Opcode opcode, std::string_view payload) override {
    if (connection_.closed()) return;
    connection_.in_message_since_ = connection_.last_heard_;
    connection_.handler_.OnMessage(opcode, payload);
    if (connection_.closed()) connection_.reader_->Stop();
  }
  void OnPing(std::string_view payload) override { connection_.SendPong(payload); }
  void OnPong(std::string_view) override {}  // that it came is all there is to know: last_heard()

 private:
  WebSocketConnection& connection_;
};

WebSocketConnection::WebSocketConnection(net::StreamPtr stream, websocket::Role role, websocket::ReaderPool& pool,
                                         WebSocketHandler& handler)
    : stream_(std::move(stream)),
      pool_(pool),
      handler_(handler),
      last_heard_(stream_->loop().turn_began()),
      role_(role) {
  stream_->SetHandler(this);
}

WebSocketConnection::~WebSocketConnection() {
  if (reader_) pool_.GiveBack(std::move(reader_));
}

void WebSocketConnection::SendFrame(SharedBytes frame) {
  if (stream_) stream_->Write(std::move(frame));
}

void WebSocketConnection::Send(websocket::Opcode opcode, std::string_view payload) {
  if (!stream_) return;
  std::optional<std::uint32_t> mask;
  if (role_ == websocket::Role::kClient) mask = static_cast<std::uint32_t>(RandomSeed());
  stream_->Write(websocket::EncodeFrame(opcode, payload, mask));
}

void WebSocketConnection::SendPong(std::string_view payload) {
  if (!stream_) return;
  if (!pending_pong_ && stream_->unsent() < kMostUnsentBeforePong) return Send(websocket::Opcode::kPong, payload);
  // Only the latest ping needs an answer (RFC 6455 section 5.5.3), so a flood of them costs no more than that.
  pending_pong_ = std::make_unique<std::string>(payload);
  stream_->NotifyWhenDrained();
}

void WebSocketConnection::Close(std::uint16_t code, std::string_view reason) {
  if (!stream_) return;
  // A close frame that came without a code is answered by one without a code (RFC 6455 section 7.1.5).
  Send(websocket::Opcode::kClose, code == websocket::kNoStatusReceived ? "" : websocket::ClosePayload(code, reason));
  net::Loop& loop = stream_->loop();
  loop.Linger(std::move(stream_));
}

void WebSocketConnection::NotifyWhenDrained() {
  handler_wants_drained_ = true;
  if (stream_) stream_->NotifyWhenDrained();
}

void WebSocketConnection::PauseReading() {
  if (stream_) stream_->PauseReading();
}

void WebSocketConnection::ResumeReading() {
  if (stream_) stream_->ResumeReading();
}

void WebSocketConnection::OnBytes(std::string_view bytes) {
  if (bytes.empty() || !stream_) return;
  last_heard_ = stream_->loop().turn_began();
  if (!reader_) {
    reader_ = pool_.Take();
    in_message_since_ = last_heard_;
  }
  Receiver receiver(*this);
  const auto status = reader_->Read(bytes, receiver);
  if (status == websocket::MessageReader::Status::kBetweenMessages && stream_) {
    return pool_.GiveBack(std::move(reader_));
  }
  if (!stream_) return;
  if (status == websocket::MessageReader::Status::kInMessage) {
    if (pool_.Keep(*reader_)) return;
    const std::string reason = "too many messages, or too large ones, are on their way at once";
    Close(websocket::kTryAgainLater, reason);
    return handler_.OnClosed(websocket::kTryAgainLater, reason);
  }
  const std::uint16_t code = reader_->close_code();
  const std::string reason(reader_->close_reason());
  Close(code, reader_->closed_by_peer() ? "" : reason);
  handler_.OnClosed(code, reason);
}

void WebSocketConnection::OnEnd(const std::string& reason) {
  stream_.reset();
  handler_.OnClosed(websocket::kAbnormalClosure, reason);
}

void WebSocketConnection::OnDrained() {
  if (pending_pong_) {
    Send(websocket::Opcode::kPong, *pending_pong_);
    pending_pong_.reset();
  }
  if (std::exchange(handler_wants_drained_, false)) handler_.OnDrained();
}

}  // namespace aphlict::server
