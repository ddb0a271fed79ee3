#include "master/push_peer.h"

#include <utility>

#include "common/base/backoff.h"
#include "common/json/value.h"

namespace aphlict::master {

namespace {

constexpr Duration kConnectTime = seconds(3);
constexpr Duration kAnswerTime = seconds(15);
// Node.js, which Aphlict runs on, closes a connection that was idle for 5 s.
constexpr Duration kIdleTime = seconds(4);
constexpr Duration kMaxDelay = seconds(2);
constexpr std::size_t kMaxAnswer = 64 * 1024;
// What a copy takes besides its bytes.
constexpr std::size_t kOverhead = 256;

// Answers that another attempt may change: the peer is about to stop, is full, or does not let this node in.
bool IsWorthAnotherAttempt(int status) {
  return status >= 500 || status == 401 || status == 403 || status == 408 || status == 429;
}

std::string FingerprintIn(std::string_view receipt) {
  const auto value = json::Parse(receipt);
  return value && value->is_object() ? (*value)["fingerprint"].string() : std::string();
}

std::int64_t Seconds(Time time) { return std::chrono::floor<seconds>(time.time_since_epoch()).count(); }

}  // namespace

PushPeer::PushPeer(net::Loop& loop, const http::Url& url, std::shared_ptr<const net::TlsContext> tls,
                   const PushLimits& limits, Log& log)
    : loop_(loop),
      url_(url),
      tls_(std::move(tls)),
      limits_(limits),
      log_(log),
      random_(RandomSeed()),
      deadline_(loop, [this] { OnDeadline(); }),
      retry_(loop, [this] { Go(); }) {}

PushPeer::~PushPeer() = default;

void PushPeer::Change(std::shared_ptr<const net::TlsContext> tls, const PushLimits& limits) {
  limits_ = limits;
  if (tls == tls_) return;
  tls_ = std::move(tls);
  if (!dialer_) return;
  StopDialing();  // it has the old one
  Go();
}

void PushPeer::Push(PushCopy copy) {
  queued_bytes_ += copy.size() + kOverhead;
  queue_.push_back(std::move(copy));
  std::size_t dropped = 0;
  for (; queued_bytes_ > limits_.bytes && queue_.size() > first_waiting() + 1; ++dropped) Erase(first_waiting());
  if (dropped > 0) Dropped(dropped, "more wait than `history.bytes`");
  Go();
}

void PushPeer::Expire() {
  const Time oldest = Now() - limits_.age;
  std::size_t dropped = 0;
  for (; queue_.size() > first_waiting() && queue_[first_waiting()].accepted < oldest; ++dropped) {
    Erase(first_waiting());
  }
  if (dropped > 0) Dropped(dropped, "they have waited for longer than `history.seconds`");
}

void PushPeer::Go() {
  if (queue_.empty() || sent_ || dialer_ || retry_.active()) return;
  if (stream_) return Send();
  dialer_ = std::make_unique<net::Dialer>(loop_, url_.host, url_.port, url_.secure() ? tls_.get() : nullptr,
                                          [this](Result<net::StreamPtr> stream) { OnStream(std::move(stream)); });
  deadline_.Start(kConnectTime);
}

void PushPeer::StopDialing() {
  loop_.DeleteLater(std::shared_ptr<net::Dialer>(std::move(dialer_)));
  deadline_.Stop();
}

void PushPeer::OnStream(Result<net::StreamPtr> stream) {
  StopDialing();
  if (!stream) return Fail(stream.error().text);
  stream_ = std::move(*stream);
  stream_->SetHandler(this);
  used_before_ = false;
  deadline_.Start(kIdleTime);
  Go();
}

void PushPeer::Send() {
  const PushCopy& copy = queue_.front();
  stream_->Write("POST " + copy.target + " HTTP/1.1\r\nHost: " + url_.authority() +
                 "\r\nUser-Agent: aphlict-relay/" APHLICT_RELAY_VERSION
                 "\r\nContent-Type: application/json\r\nContent-Length: " +
                 std::to_string(copy.size()) + "\r\n\r\n");
  stream_->Write(copy.before);
  stream_->Write(copy.between);
  stream_->Write(copy.after);
  parser_ = std::make_unique<http::ResponseParser>(http::ParserLimits{.body_bytes = kMaxAnswer});
  sent_ = true;
  deadline_.Start(kAnswerTime);
}

void PushPeer::OnBytes(std::string_view bytes) {
  if (!sent_) return LetGo();  // nobody has asked anything
  const auto taken = parser_->Feed(bytes);
  if (!taken) return Fail("the answer is not HTTP: " + taken.error().text);
  if (parser_->complete()) OnAnswer(parser_->keep_alive() && *taken == bytes.size());
}

void PushPeer::OnReadEnd() {
  if (sent_ && parser_->End()) return OnAnswer(false);
  OnEnd("end of stream");
}

void PushPeer::OnEnd(const std::string& reason) {
  if (!sent_) return LetGo();
  // A connection that was idle may have been closed by the peer just when it was used again.
  if (used_before_ && !parser_->started()) {
    LetGo();
    return Go();
  }
  Fail("no answer: " + reason);
}

void PushPeer::OnAnswer(bool keep) {
  const int status = parser_->head().status;
  if (IsWorthAnotherAttempt(status)) return Fail("answered " + std::to_string(status));
  const bool taken = status >= 200 && status < 300;
  if (taken) {
    ++counters_.taken;
    fingerprint_ = FingerprintIn(parser_->body());
  } else {
    ++counters_.refused;
    fingerprint_.clear();
    std::int64_t suppressed = 0;
    if (refuse_limiter_.Allow(Seconds(Now()), &suppressed)) {
      log_.Warning("push_refused", {{"peer", url_.authority()}, {"status", status}, {"suppressed", suppressed}});
    }
  }
  failures_ = 0;
  sent_ = false;
  Erase(0);
  used_before_ = true;
  deadline_.Start(kIdleTime);
  if (!keep) LetGo();
  Go();
}

void PushPeer::OnDeadline() {
  if (dialer_) {
    StopDialing();
    return Fail("no connection within 3 s");
  }
  if (sent_) return Fail("no answer within 15 s");
  LetGo();
}

void PushPeer::Fail(const std::string& reason) {
  LetGo();
  fingerprint_.clear();
  ++failures_;
  ++counters_.failures;
  std::int64_t suppressed = 0;
  if (fail_limiter_.Allow(Seconds(Now()), &suppressed)) {
    log_.Warning(
        "push_failed",
        {{"peer", url_.authority()}, {"reason", reason}, {"waiting", queue_.size()}, {"suppressed", suppressed}});
  }
  retry_.Start(BackoffDelay(failures_, kMaxDelay, random_));
}

void PushPeer::Dropped(std::size_t count, std::string_view reason) {
  counters_.dropped += count;
  std::int64_t suppressed = 0;
  if (drop_limiter_.Allow(Seconds(Now()), &suppressed)) {
    log_.Error("push_dropped",
               {{"peer", url_.authority()}, {"messages", count}, {"reason", reason}, {"suppressed", suppressed}});
  }
}

void PushPeer::Erase(std::size_t place) {
  queued_bytes_ -= queue_[place].size() + kOverhead;
  queue_.erase(queue_.begin() + static_cast<std::ptrdiff_t>(place));
}

void PushPeer::LetGo() {
  stream_.reset();
  sent_ = false;
  deadline_.Stop();
}

}  // namespace aphlict::master
