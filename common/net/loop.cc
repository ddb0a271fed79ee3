#include "common/net/loop.h"

#include <cstdio>
#include <cstdlib>
#include <utility>

#include "common/net/stream.h"
#include "common/net/timer.h"

namespace aphlict::net {

namespace {

template <class Handle, class Init>
HandlePtr<Handle> MakeHandle(void* data, Init init) {
  auto* handle = new Handle;
  handle->data = data;
  if (init(handle) != 0) std::abort();  // these inits fail for no reason but a wrong call
  return HandlePtr<Handle>(handle);
}

// Of a turn, for all streams that yield together. What one read brings is dealt with whole, whatever it takes.
constexpr Duration kReadTime = milliseconds(2);

// As turn_ counts: before the poll, and after it.
constexpr std::uint64_t kPartsOfTurn = 2;

constexpr Duration kLingerSweep = milliseconds(250);

// Of a lingering stream's input: more than anybody sends who means to read the answer.
constexpr std::size_t kMostDropped = 16 * 1024 * 1024;

}  // namespace

// A stream whose owner is done with it, on its way out.
class Loop::LingeringStream : public StreamHandler {
 public:
  LingeringStream(Loop& loop, StreamPtr stream, Time deadline)
      : loop_(loop), stream_(std::move(stream)), deadline_(deadline) {
    stream_->SetHandler(this);
    stream_->ShutdownWhenSent();
    stream_->ResumeReading();
  }

  void OnBytes(std::string_view bytes) override {
    dropped_ += bytes.size();
    if (dropped_ > kMostDropped) stream_->PauseReading();
  }
  void OnEnd(const std::string&) override { loop_.EndLingering(this); }
  // Whether it is to go at the turn's end. Until then, its stream may still come to its end by itself.
  bool leaving = false;
  Time deadline() const { return deadline_; }

  std::size_t place = 0;  // in Loop::lingering_

 private:
  Loop& loop_;
  StreamPtr stream_;
  Time deadline_;
  std::size_t dropped_ = 0;
};

Loop::Loop() : outbox_(counters_), read_buffer_(std::make_unique<char[]>(kReadBufferSize)) {
  if (uv_loop_init(&loop_) != 0) std::abort();  // out of descriptors before anything has begun
  loop_.data = this;
  prepare_ = MakeHandle<uv_prepare_t>(this, [&](auto* h) { return uv_prepare_init(&loop_, h); });
  check_ = MakeHandle<uv_check_t>(this, [&](auto* h) { return uv_check_init(&loop_, h); });
  idle_ = MakeHandle<uv_idle_t>(this, [&](auto* h) { return uv_idle_init(&loop_, h); });
  timers_ = std::make_unique<Timers>(*this);
  linger_timer_ = std::make_unique<Timer>(*this, [this] { SweepLingering(); });
  uv_prepare_start(prepare_.get(), [](uv_prepare_t* h) noexcept {
    auto& loop = *static_cast<Loop*>(h->data);
    loop.timers_->FireDue();
    loop.EndTurn();
    loop.timers_->SetAlarm();
  });
  uv_check_start(check_.get(), [](uv_check_t* h) noexcept { static_cast<Loop*>(h->data)->EndTurn(); });
  uv_unref(reinterpret_cast<uv_handle_t*>(prepare_.get()));
  uv_unref(reinterpret_cast<uv_handle_t*>(check_.get()));
}

Loop::~Loop() {
  turn_end_ = nullptr;
  deleted_later_.clear();
  lingering_.clear();
  prepare_.reset();
  check_.reset();
  idle_.reset();
  linger_timer_.reset();
  timers_.reset();
  // A turn runs the callbacks of what is closed. Some close others, and a signal that was caught has to be read first;
  // a handle that is still watched must not keep a process that wants to end.
  constexpr int kLastTurns = 100;
  for (int i = 0; i < kLastTurns && uv_loop_alive(&loop_) != 0; ++i) uv_run(&loop_, UV_RUN_NOWAIT);
  if (uv_loop_close(&loop_) != 0) {
    std::fputs("uv_loop_close: handles are still open:\n", stderr);
    uv_print_all_handles(&loop_, stderr);
    std::abort();
  }
}

void Loop::Run() { uv_run(&loop_, UV_RUN_DEFAULT); }

void Loop::Stop() { uv_stop(&loop_); }

bool Loop::RunUntilIdle(Duration limit) {
  bool expired = false;
  Timer timer(*this, [&] {
    expired = true;
    Stop();
  });
  timer.Unref();
  timer.Start(limit);
  Run();
  return !expired;
}

void Loop::EndTurn() {
  again_ = false;
  if (turn_end_) turn_end_();
  if (again_) {
    uv_idle_start(idle_.get(), [](uv_idle_t*) noexcept {});
  } else {
    uv_idle_stop(idle_.get());
  }
  outbox_.SendAll();
  deleted_later_.clear();
  ++turn_;
  if (began_ == Time{}) return;
  last_written_ = Now();
  counters_.turns.Add(last_written_ - began_);
  began_ = again_ ? last_written_ : Time{};
}

bool Loop::MayRead(std::uint8_t* round) {
  const Time now = Now();
  if (read_turn_ != turn_) {
    unread_before_ = unread_ && read_turn_ + kPartsOfTurn >= turn_;
    read_turn_ = turn_;
    reading_since_ = now;
    if (!some_wait_) {
      ++round_;
      heard_until_ = unread_before_ ? round_began_ : now;
      round_began_ = now;
    }
    some_wait_ = unread_ = false;
  }
  const bool had_its_read = *round == round_;
  if (had_its_read || now - reading_since_ > kReadTime) {
    unread_ = true;  // it is not lost: the poll says it again in the next turn
    some_wait_ = some_wait_ || !had_its_read;
    return false;
  }
  *round = round_;
  return true;
}

Time Loop::heard_until() const {
  const bool behind = read_turn_ == turn_ ? unread_ || unread_before_ : unread_ && read_turn_ + kPartsOfTurn >= turn_;
  return behind ? heard_until_ : Now();
}

void Loop::DeleteLater(std::shared_ptr<void> object) { deleted_later_.push_back(std::move(object)); }

void Loop::Linger(StreamPtr stream, Duration limit) {
  if (stream->spent() || stream->handshaking()) return;
  lingering_.push_back(std::make_unique<LingeringStream>(*this, std::move(stream), Now() + limit));
  lingering_.back()->place = lingering_.size() - 1;
  if (!linger_timer_->active()) linger_timer_->Start(kLingerSweep, kLingerSweep);
}

void Loop::SweepLingering() {
  const Time now = Now();
  for (std::size_t i = lingering_.size(); i-- > 0;) {
    if (lingering_[i]->deadline() <= now) EndLingering(lingering_[i].get());
  }
}

void Loop::EndLingering(LingeringStream* done) {
  if (std::exchange(done->leaving, true)) return;
  const std::size_t place = done->place;
  DeleteLater(std::shared_ptr<LingeringStream>(std::move(lingering_[place])));  // its own callback may be on the stack
  if (place + 1 < lingering_.size()) {
    lingering_[place] = std::move(lingering_.back());
    lingering_[place]->place = place;
  }
  lingering_.pop_back();
  if (lingering_.empty()) linger_timer_->Stop();
}

SignalWatcher::SignalWatcher(Loop& loop, int signal, std::function<void()> work)
    : work_(std::move(work)),
      watcher_(MakeHandle<uv_signal_t>(this, [&](auto* h) { return uv_signal_init(loop.uv(), h); })) {
  uv_signal_start(
      watcher_.get(),
      [](uv_signal_t* watcher, int) noexcept {
        Loop::From(watcher->loop).Enter();
        const auto copy = static_cast<SignalWatcher*>(watcher->data)->work_;
        copy();
      },
      signal);
  uv_unref(reinterpret_cast<uv_handle_t*>(watcher_.get()));
}

std::string ErrorText(int error_number) {
  const int code = uv_translate_sys_error(error_number);
  return std::string(uv_err_name(code)) + ": " + uv_strerror(code);
}

}  // namespace aphlict::net
