#include "master/push_peer.h"

#include <algorithm>
#include <utility>

#include "common/base/backoff.h"
#include "common/json/value.h"

namespace aphlict::master {

namespace {

constexpr Duration kConnectTime = seconds(15);  // for the name and all addresses together
constexpr Duration kAnswerTime = seconds(15);
// Node.js, which Aphlict runs on, closes a connection that was idle for 5 s.
constexpr Duration kIdleTime = seconds(4);
constexpr Duration kMaxDelay = seconds(2);
constexpr std::size_t kMaxAnswer = 64 * 1024;
// What a copy takes besides its bytes.
constexpr std::size_t kOverhead = 256;

// Answers that another attempt may change: the peer is about to stop, is full, or does not let this node in.
bool IsWorthAnotherAttempt(int status) {
  if (status == 501 || status == 505) return false;
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
      retry_(loop, [this] { Go(); }),
      resume_(loop, [this] {
        due_ = true;
        Go();
      }) {}

PushPeer::~PushPeer() = default;

void PushPeer::Change(std::shared_ptr<const net::TlsContext> tls, const PushLimits& limits) {
  limits_ = limits;
  Trim();
  Expire();
  if (tls == tls_) return;
  tls_ = std::move(tls);
  if (dialer_) StopDialing();  // it has the old one
  if (sending_) {
    outdated_ = true;
  } else {
    LetGo();
  }
  Go();
}

void PushPeer::GiveUp(std::string_view reason) {
  if (queued_ > 0) Dropped(queued_, reason);
}

void PushPeer::Push(PushCopy copy) {
  ++queued_;
  queued_bytes_ += copy.size() + kOverhead;
  std::deque<PushCopy>& waiting = WaitingFor(copy.target);
  waiting.push_back(std::move(copy));
  Trim();
  Go();
}

std::deque<PushCopy>& PushPeer::WaitingFor(const std::string& target) {
  const auto put_off = put_off_.find(target);
  return put_off == put_off_.end() ? queue_ : put_off->second.waiting;
}

void PushPeer::Forget(const PushCopy& copy) {
  --queued_;
  queued_bytes_ -= copy.size() + kOverhead;
}

void PushPeer::DropFirst(std::deque<PushCopy>& waiting) {
  Forget(waiting.front());
  waiting.pop_front();
}

// What was put off goes first.
void PushPeer::Trim() {
  std::size_t dropped = 0;
  const auto drop_of = [&](std::deque<PushCopy>& waiting, std::size_t kept) {
    for (; queued_bytes_ > limits_.bytes && waiting.size() > kept; ++dropped) DropFirst(waiting);
  };
  if (queued_bytes_ > limits_.bytes) {
    for (auto& [target, put_off] : put_off_) drop_of(put_off.waiting, 0);
    drop_of(queue_, 1);
  }
  if (dropped > 0) Dropped(dropped, "more wait than `history.bytes`");
}

void PushPeer::Expire() {
  const Time oldest = Now() - limits_.age;
  std::size_t dropped = 0;
  const auto drop_of = [&](std::deque<PushCopy>& waiting) {
    for (; !waiting.empty() && waiting.front().accepted < oldest; ++dropped) DropFirst(waiting);
  };
  drop_of(queue_);
  for (auto& [target, put_off] : put_off_) drop_of(put_off.waiting);
  std::erase_if(put_off_, [&](const auto& each) {
    return each.second.waiting.empty() && !(sending_ && sending_->target == each.first);
  });
  if (dropped > 0) Dropped(dropped, "they have waited for longer than `history.seconds`");
}

std::optional<PushCopy> PushPeer::Next() {
  const auto take = [](std::deque<PushCopy>& waiting) {
    PushCopy copy = std::move(waiting.front());
    waiting.pop_front();
    return copy;
  };
  if (due_) {
    const Time now = Now();
    for (auto& [target, put_off] : put_off_) {
      if (put_off.until <= now && !put_off.waiting.empty()) return take(put_off.waiting);
    }
    due_ = false;
    ScheduleResume();
  }
  while (!queue_.empty()) {
    PushCopy copy = take(queue_);
    const auto put_off = put_off_.find(copy.target);
    if (put_off == put_off_.end()) return copy;
    put_off->second.waiting.push_back(std::move(copy));
  }
  return std::nullopt;
}

void PushPeer::PutOffUntilLater(PushCopy copy) {
  PutOff& put_off = put_off_[copy.target];
  put_off.until = Now() + BackoffDelay(++put_off.failures, kMaxDelay, random_);
  put_off.waiting.push_front(std::move(copy));
  ScheduleResume();
}

void PushPeer::ScheduleResume() {
  std::optional<Time> first;
  for (const auto& [target, put_off] : put_off_) {
    if (!put_off.waiting.empty() && (!first || put_off.until < *first)) first = put_off.until;
  }
  if (first) resume_.Start(std::max<Duration>(Duration::zero(), *first - Now()));
}

void PushPeer::Go() {
  if (sending_ || dialer_ || retry_.active()) return;
  if (stream_) {
    if (std::optional<PushCopy> copy = Next()) Send(std::move(*copy));
    return;
  }
  if (queue_.empty() && !due_) return;
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

void PushPeer::Send(PushCopy copy) {
  stream_->Write("POST " + copy.target + " HTTP/1.1\r\nHost: " + url_.authority() +
                 "\r\nUser-Agent: aphlict-relay/" APHLICT_RELAY_VERSION
                 "\r\nContent-Type: application/json\r\nContent-Length: " +
                 std::to_string(copy.size()) + "\r\n\r\n");
  stream_->Write(copy.before);
  stream_->Write(copy.between);
  stream_->Write(copy.after);
  parser_ = std::make_unique<http::ResponseParser>(http::ParserLimits{.body_bytes = kMaxAnswer});
  sending_ = std::move(copy);
  deadline_.Start(kAnswerTime);
}

void PushPeer::OnBytes(std::string_view bytes) {
  if (!sending_) return LetGo();  // nobody has asked anything
  const auto taken = parser_->Feed(bytes);
  if (!taken) return Fail("the answer is not HTTP: " + taken.error().text);
  if (parser_->complete()) OnAnswer(parser_->keep_alive() && *taken == bytes.size());
}

void PushPeer::OnReadEnd() {
  if (sending_ && parser_->End()) return OnAnswer(false);
  OnEnd("end of stream");
}

void PushPeer::OnEnd(const std::string& reason) {
  if (!sending_) return LetGo();
  // A connection that was idle may have been closed by the peer just when it was used again.
  if (used_before_ && !parser_->started()) {
    LetGo();
    return Go();
  }
  Fail("no answer: " + reason);
}

void PushPeer::OnAnswer(bool keep) {
  const int status = parser_->head().status;
  PushCopy copy = std::move(*sending_);
  sending_.reset();
  failures_ = 0;
  used_before_ = true;
  deadline_.Start(kIdleTime);
  if (!keep || outdated_) LetGo();
  if (IsWorthAnotherAttempt(status)) {
    CountFailure("answered " + std::to_string(status));
    PutOffUntilLater(std::move(copy));
    return Go();
  }
  Forget(copy);
  if (const auto put_off = put_off_.find(copy.target); put_off != put_off_.end()) {
    put_off->second.failures = 0;
    put_off->second.until = Time();
    due_ = true;
    if (put_off->second.waiting.empty()) put_off_.erase(put_off);
  }
  if (status >= 200 && status < 300) {
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
  Go();
}

void PushPeer::OnDeadline() {
  if (dialer_) {
    StopDialing();
    return Fail("no connection within 15 s");
  }
  if (sending_ && stream_->unsent() > 0 && Now() - stream_->last_progress() < kAnswerTime) {
    return deadline_.Start(kAnswerTime);  // it is still on its way
  }
  if (sending_) return Fail("no answer within 15 s");
  LetGo();
}

void PushPeer::Fail(const std::string& reason) {
  LetGo();
  CountFailure(reason);
  retry_.Start(BackoffDelay(++failures_, kMaxDelay, random_));
}

void PushPeer::CountFailure(const std::string& reason) {
  fingerprint_.clear();
  ++counters_.failures;
  std::int64_t suppressed = 0;
  if (fail_limiter_.Allow(Seconds(Now()), &suppressed)) {
    log_.Warning("push_failed",
                 {{"peer", url_.authority()}, {"reason", reason}, {"waiting", queued_}, {"suppressed", suppressed}});
  }
}

void PushPeer::Dropped(std::size_t count, std::string_view reason) {
  counters_.dropped += count;
  std::int64_t suppressed = 0;
  if (drop_limiter_.Allow(Seconds(Now()), &suppressed)) {
    log_.Error("push_dropped",
               {{"peer", url_.authority()}, {"messages", count}, {"reason", reason}, {"suppressed", suppressed}});
  }
}

void PushPeer::LetGo() {
  stream_.reset();
  outdated_ = false;
  deadline_.Stop();
  if (!sending_) return;
  std::deque<PushCopy>& waiting = WaitingFor(sending_->target);
  waiting.push_front(std::move(*sending_));
  sending_.reset();
}

}  // namespace aphlict::master
