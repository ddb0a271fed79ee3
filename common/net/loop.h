// The event loop of a process, and the order of things within one of its turns:
//
//   1. all input that is ready is read, and its handlers run; what they write is queued on the streams;
//   2. the node's own end-of-turn work runs (committing publishes, filling feeds);
//   3. every stream that has something queued sends it, all of it in one gathered write (Outbox).
//
// Nothing waits longer than its turn: no timer delays a message.
#pragma once

#include <uv.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/base/histogram.h"
#include "common/base/time.h"
#include "common/net/handle.h"
#include "common/net/outbox.h"
#include "common/net/write_queue.h"

namespace aphlict::net {

class Stream;
class Timer;
class Timers;
struct CloseStream;

// What has gone through a loop since its start.
struct LoopCounters {
  static constexpr std::uint64_t kTurnBounds[] = {100,    500,    1'000,   2'000,   5'000,    10'000,
                                                  20'000, 50'000, 100'000, 500'000, 1'000'000};

  // How long each turn took, in microseconds: so long whatever came meanwhile had to wait. Turns in which nothing
  // happened are left out.
  Histogram turns{kTurnBounds};
  // Bytes of all streams together, without what TLS adds.
  std::uint64_t received = 0;
  std::uint64_t sent = 0;    // taken by the kernel
  std::uint64_t unsent = 0;  // queued now
};

class Loop {
 public:
  Loop();
  // REQUIRES: everything that was made with this loop is destroyed. Runs the last close callbacks, and aborts
  // with a list of the handles that are still open, if any: somebody leaked them.
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  uv_loop_t* uv() { return &loop_; }
  Timers& timers() { return *timers_; }
  static Loop& From(uv_loop_t* loop) { return *static_cast<Loop*>(loop->data); }

  // Sets what step 2 runs. Called at least once a turn.
  void SetTurnEnd(std::function<void()> work) { turn_end_ = std::move(work); }

  // From the work at a turn's end: there is more to do, so the next turn does not wait for input.
  void TurnAgain() { again_ = true; }

  // Whether a stream that yields (Stream::Yield) may read now. All of them together get a part of each turn, so that
  // whoever else has something to say is heard soon, and each gets one read before any gets its second. `round` is the
  // stream's, and remembers in which it had its last.
  bool MayRead(std::uint8_t* round);

  // All that had come to the streams that yield by then has been read. Now, unless some have to wait for their reads:
  // what is read of those may have been sent that long ago.
  Time heard_until() const;

  // Differs from turn to turn. In one turn libuv may ask the kernel for what is ready 48 times, and with it whoever has
  // been given some already (`uv__io_poll`: as long as each answer is full).
  std::uint64_t turn() const { return turn_; }
  // When this turn began; outside of one, now. A turn may take long where a disk stands still, so this is for what is
  // still to be bounded from now on; and it is cheaper than the clock, which would be a twentieth of what a delivery
  // costs in user space.
  Time turn_began() const { return began_ == Time{} ? Now() : began_; }
  // When the turn before this one had written what it wrote.
  Time last_written() const { return last_written_; }

  const LoopCounters& counters() const { return counters_; }
  // How many there are; each has a descriptor.
  std::size_t streams() const { return streams_; }

  // Whoever is called by libuv says so, before anything else: the first of a turn begins it.
  void Enter() {
    if (began_ == Time{}) began_ = Now();
  }

  // Turns until Stop() is called or nothing is left to wait for.
  void Run();
  void Stop();
  // Turns until nothing but close callbacks and lingering streams is left, or `limit` is over.
  // Returns whether all was done in time.
  bool RunUntilIdle(Duration limit);

  // Takes over a stream that its owner is done with: what is queued is still sent, then its sending side is
  // shut down and input is read and thrown away until the peer closes too, or `limit` is over. Without this,
  // a close with unread input resets the connection, and the peer may never see the last answer
  // (RFC 9112 section 9.6). After 16 MiB, what the peer goes on to send is no longer read.
  void Linger(std::unique_ptr<Stream, CloseStream> stream, Duration limit = seconds(2));
  std::size_t lingering() const { return lingering_.size(); }

  // Keeps an object until the end of the turn, for an owner that lets go of one whose own callback may be on
  // the stack.
  void DeleteLater(std::shared_ptr<void> object);

  // Where streams read into: one buffer a loop, so that an idle connection has none. Valid for one callback.
  static constexpr std::size_t kReadBufferSize = 64 * 1024;
  char* read_buffer() { return read_buffer_.get(); }
  // As large, for what lies between the socket and the stream's user: records of TLS. Made when it is first needed.
  char* scratch() {
    if (!scratch_) scratch_ = std::make_unique<char[]>(kReadBufferSize);
    return scratch_.get();
  }

 private:
  friend class Stream;
  class LingeringStream;

  void EndTurn();
  void SweepLingering();
  void EndLingering(LingeringStream* done);

  uv_loop_t loop_;
  HandlePtr<uv_prepare_t> prepare_;  // fires timers and ends what they began, before the loop sleeps
  HandlePtr<uv_check_t> check_;      // ends what input began
  HandlePtr<uv_idle_t> idle_;        // active while another turn is wanted
  bool again_ = false;
  std::uint64_t turn_ = 0;
  Time began_{};  // of this turn, once something has happened in it
  Time last_written_{};
  LoopCounters counters_;
  std::size_t streams_ = 0;
  // Of the streams that yield: the turn in which they have read, since when, whether some had no read in this round
  // yet, whether some were not read, in it and in the one before, the round, and when it and the one before it began.
  std::uint64_t read_turn_ = 0;
  Time reading_since_{};
  bool some_wait_ = false;
  bool unread_ = false;
  bool unread_before_ = false;
  std::uint8_t round_ = 1;
  Time round_began_{};
  Time heard_until_{};
  std::function<void()> turn_end_;
  Outbox outbox_;
  WriteQueue::SpareChunks spare_chunks_;
  std::vector<std::shared_ptr<void>> deleted_later_;
  std::unique_ptr<char[]> read_buffer_;
  std::unique_ptr<char[]> scratch_;
  std::vector<std::unique_ptr<LingeringStream>> lingering_;
  std::unique_ptr<Timers> timers_;
  std::unique_ptr<Timer> linger_timer_;
};

// Calls `work` for each delivery of a signal.
class SignalWatcher {
 public:
  SignalWatcher(Loop& loop, int signal, std::function<void()> work);
  SignalWatcher(const SignalWatcher&) = delete;
  SignalWatcher& operator=(const SignalWatcher&) = delete;

 private:
  std::function<void()> work_;
  HandlePtr<uv_signal_t> watcher_;
};

// "ECONNREFUSED: connection refused", for logs and errors. Takes an errno.
std::string ErrorText(int error_number);

}  // namespace aphlict::net
