// Timers on the monotonic clock.
//
// They share one descriptor (timerfd_create(2)) in the place of libuv's own timers, with which each wait of the loop
// has a timeout for the kernel to set and to take back: docs/decisions/0010-timers-on-one-descriptor.md.
#pragma once

#include <uv.h>

#include <cstddef>
#include <functional>
#include <map>

#include "common/base/time.h"
#include "common/net/handle.h"

namespace aphlict::net {

class Loop;
class Timer;

// All timers of a loop, which owns this.
class Timers {
 public:
  explicit Timers(Loop& loop);
  // REQUIRES: there is no timer any more. Aborts if there is one: somebody leaked it.
  ~Timers();
  Timers(const Timers&) = delete;
  Timers& operator=(const Timers&) = delete;

  // Fires those that are due, if the alarm has rung. That is between two turns, and not among the input that came with
  // it: of what that has begun, the end comes first.
  void FireDue();
  // To be called before the loop sleeps, behind all that may start a timer.
  void SetAlarm();

 private:
  friend class Timer;
  using Queue = std::multimap<Time, Timer*>;

  void Ring();
  void Keep(int more);

  Loop& loop_;
  const int descriptor_;
  HandlePtr<uv_poll_t> poll_;
  bool rung_ = false;
  std::size_t count_ = 0;
  Queue queue_;               // the active ones, by when they are due
  std::size_t keeping_ = 0;   // how many of them keep the loop from ending
  Time alarm_ = Time::max();  // what the descriptor is set to. It may be too early, which costs a turn
};

// Calls `work` after a time, once or again and again. Owned by whoever needs it; gone means stopped.
class Timer {
 public:
  Timer(Loop& loop, std::function<void()> work);
  ~Timer();
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  // `repeat` of zero: once. Starting a started timer starts it anew.
  void Start(Duration delay, Duration repeat = Duration::zero());
  void Stop();
  bool active() const { return place_ != timers_.queue_.end(); }
  // A timer that does not by itself keep the loop from ending.
  void Unref();

 private:
  friend class Timers;

  void Place(Time due);
  void Fire(Time now);

  Timers& timers_;
  std::function<void()> work_;
  Duration repeat_{};
  bool keeps_loop_ = true;
  Timers::Queue::iterator place_;
};

}  // namespace aphlict::net
