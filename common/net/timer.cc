#include "common/net/timer.h"

#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "common/net/loop.h"

namespace aphlict::net {

Timers::Timers(Loop& loop)
    : loop_(loop), descriptor_(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)), poll_(new uv_poll_t) {
  // Out of descriptors before anything has begun.
  if (descriptor_ < 0 || uv_poll_init(loop.uv(), poll_.get(), descriptor_) != 0) std::abort();
  poll_->data = this;
  uv_poll_start(poll_.get(), UV_READABLE,
                [](uv_poll_t* poll, int, int) noexcept { static_cast<Timers*>(poll->data)->Ring(); });
  uv_unref(reinterpret_cast<uv_handle_t*>(poll_.get()));
}

Timers::~Timers() {
  if (count_ != 0) {
    std::fputs("a timer outlives its loop\n", stderr);
    std::abort();
  }
  poll_.reset();
  close(descriptor_);
}

void Timers::SetAlarm() {
  if (queue_.empty() || queue_.begin()->first >= alarm_) return;
  alarm_ = queue_.begin()->first;
  const auto due = std::max<std::int64_t>(1, alarm_.time_since_epoch().count());  // 0 would turn it off
  constexpr std::int64_t kSecond = 1'000'000'000;
  itimerspec spec{};
  spec.it_value.tv_sec = due / kSecond;
  spec.it_value.tv_nsec = due % kSecond;
  if (timerfd_settime(descriptor_, TFD_TIMER_ABSTIME, &spec, nullptr) != 0)
    std::abort();  // fails for a wrong call only
}

void Timers::Ring() {
  std::uint64_t times = 0;
  if (read(descriptor_, &times, sizeof(times)) < 0) return;
  alarm_ = Time::max();
  rung_ = true;
}

void Timers::FireDue() {
  if (!std::exchange(rung_, false)) return;
  loop_.Enter();
  // What is started meanwhile is not due before this.
  const Time now = Now();
  while (!queue_.empty() && queue_.begin()->first <= now) queue_.begin()->second->Fire(now);
}

void Timers::Keep(int more) {
  const bool kept = keeping_ > 0;
  keeping_ += static_cast<std::size_t>(more);
  if (kept == (keeping_ > 0)) return;
  auto* const handle = reinterpret_cast<uv_handle_t*>(poll_.get());
  keeping_ > 0 ? uv_ref(handle) : uv_unref(handle);
}

Timer::Timer(Loop& loop, std::function<void()> work)
    : timers_(loop.timers()), work_(std::move(work)), place_(timers_.queue_.end()) {
  ++timers_.count_;
}

Timer::~Timer() {
  Stop();
  --timers_.count_;
}

void Timer::Start(Duration delay, Duration repeat) {
  Stop();
  repeat_ = repeat;
  Place(Now() + std::max(delay, Duration::zero()));
}

void Timer::Stop() {
  if (!active()) return;
  timers_.queue_.erase(std::exchange(place_, timers_.queue_.end()));
  if (keeps_loop_) timers_.Keep(-1);
}

void Timer::Unref() {
  if (std::exchange(keeps_loop_, false) && active()) timers_.Keep(-1);
}

void Timer::Place(Time due) {
  place_ = timers_.queue_.emplace(due, this);
  if (keeps_loop_) timers_.Keep(1);
}

void Timer::Fire(Time now) {
  Stop();
  if (repeat_ > Duration::zero()) Place(now + repeat_);
  const auto work = work_;  // a copy: the work may destroy the timer
  work();
}

}  // namespace aphlict::net
