#include "common/feed/upstream_connection.h"

#include <algorithm>
#include <utility>

#include "common/http/authorization.h"

namespace aphlict::feed {

namespace {

constexpr Duration kConnectTime = seconds(3);  // for connection, handshake and welcome together
constexpr websocket::ReaderLimits kReaderLimits{kMaxMessageBytes, 1024};

}  // namespace

UpstreamConnection::UpstreamConnection(net::Loop& loop, const http::Url& url, const net::Address& address,
                                       const net::TlsContext* tls, std::shared_ptr<const Secrets> secrets,
                                       UpstreamHandler& handler)
    : loop_(loop),
      url_(url),
      secrets_(std::move(secrets)),
      handler_(handler),
      readers_(websocket::Role::kClient, kReaderLimits, 1),
      handshake_(kSubprotocol),
      started_(Now()),
      timer_(loop, [this] { CheckTime(); }) {
  auto stream = net::Stream::Connect(loop, address, url.secure() ? tls : nullptr, url.host);
  if (!stream) {
    // Told later, so that nobody is called back from a constructor.
    not_connected_ = stream.error().text;
  } else {
    stream_ = std::move(*stream);
    stream_->SetHandler(this);
  }
  timer_.Start(stream_ ? kConnectTime : Duration::zero(), seconds(1));
}

UpstreamConnection::~UpstreamConnection() = default;

void UpstreamConnection::SendStatus(std::string_view report) {
  if (connection_) connection_->Send(websocket::Opcode::kText, report);
}

void UpstreamConnection::Close(std::uint16_t code, std::string_view reason) {
  lost_ = true;
  timer_.Stop();
  stream_.reset();
  if (connection_) connection_->Close(code, reason);
}

void UpstreamConnection::OnConnected() {
  const std::string_view path = url_.path == "/" ? kPath : std::string_view(url_.path);
  http::Headers further;
  if (secrets_) further.Add("Authorization", http::BearerValue(secrets_->RevealFirst()));
  stream_->Write(handshake_.Request(url_.authority(), path, further));
}

void UpstreamConnection::OnBytes(std::string_view bytes) {
  const auto unread = handshake_.Take(bytes);
  if (!unread) return;
  if (!*unread) {
    const Error& error = unread->error();
    if (error.code != 401 && error.code != 403) return Lose(error.text);
    if (LetGo()) handler_.OnRefused(error.code, error.text);
    return;
  }
  connection_.emplace(std::move(stream_), websocket::Role::kClient, readers_,
                      static_cast<server::WebSocketHandler&>(*this));
  connection_->Send(websocket::Opcode::kText, Encode(handler_.MakeHello()));
  connection_->Receive(**unread);
}

void UpstreamConnection::OnEnd(const std::string& reason) { Lose(reason); }

void UpstreamConnection::OnMessage(websocket::Opcode opcode, std::string_view payload) {
  if (opcode == websocket::Opcode::kText) return OnControl(payload);
  if (!welcomed_) return Fail("a message before the welcome");
  auto message = history::Message::Decode(payload, *clock_difference_);
  if (!message) return Fail(message.error().text);
  handler_.OnMessage(std::move(*message));
}

void UpstreamConnection::OnControl(std::string_view payload) {
  auto control = ParseControl(payload);
  if (!control) return Fail(control.error().text);
  if (auto* welcome = std::get_if<Welcome>(&*control)) {
    if (welcomed_) return Fail("a second welcome");
    welcomed_ = true;
    ReadClockOf(welcome->clock);
    return handler_.OnWelcome(*welcome);
  }
  if (!welcomed_) return Fail("a control message before the welcome");
  if (auto* heartbeat = std::get_if<Heartbeat>(&*control)) {
    ReadClockOf(heartbeat->clock);
    return handler_.OnHeartbeat(*heartbeat);
  }
  if (auto* gap = std::get_if<history::Gap>(&*control)) return handler_.OnGap(*gap);
  if (auto* above = std::get_if<Above>(&*control)) return handler_.OnAbove(above->nodes);
  if (std::holds_alternative<Drain>(*control)) return handler_.OnDrain();
  Fail("a control message that only the node below sends");
}

void UpstreamConnection::OnClosed(std::uint16_t code, const std::string& reason) {
  std::string text = "closed with " + std::to_string(code);
  if (!reason.empty()) text += ": " + reason;
  Lose(text);
}

void UpstreamConnection::ReadClockOf(ClockReading remote) {
  // The reading was older on its arrival by the time it took here: the smallest difference is the truest.
  const Duration difference = Now() - FromClock(remote);
  clock_difference_ = clock_difference_ ? std::min(*clock_difference_, difference) : difference;
}

void UpstreamConnection::CheckTime() {
  if (!stream_ && !connection_) return Lose(not_connected_);
  const Time now = Now();
  if (!welcomed_) {
    if (now - started_ >= kConnectTime) Lose("no welcome within 3 s");
  } else if (now - connection_->last_heard() > kSilence) {
    Fail("nothing heard for 15 s");
  }
}

void UpstreamConnection::Fail(std::string_view reason) {
  if (connection_) connection_->Close(websocket::kPolicyViolation, reason);
  Lose(std::string(reason));
}

void UpstreamConnection::Lose(const std::string& reason) {
  if (LetGo()) handler_.OnLost(reason);
}

bool UpstreamConnection::LetGo() {
  if (std::exchange(lost_, true)) return false;
  timer_.Stop();
  stream_.reset();
  return true;
}

}  // namespace aphlict::feed
