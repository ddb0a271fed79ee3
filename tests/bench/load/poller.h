// The sockets of the load generator: epoll, edge-triggered, no memory of its own for each of them.
#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace aphlict::bench {

using Nanoseconds = std::int64_t;  // of the monotonic clock

inline constexpr Nanoseconds kSecond = 1'000'000'000;

Nanoseconds Now();

inline double Seconds(Nanoseconds time) { return 1e-9 * static_cast<double>(time); }

// Begins to connect, without waiting. `source` picks one of many addresses of the loopback network, so that one port
// can be reached from more sockets than one address has ports. Throws Failure.
int StartConnecting(const std::string& address, std::uint32_t source);

// Closes with a reset: leaves nothing behind in the kernel.
void CloseByReset(int descriptor);

class Poller {
 public:
  // Called with what Watch() was given; `writable` while a connection is being made.
  using Handler = std::function<void(std::uint64_t token, bool writable)>;

  Poller();
  ~Poller();
  Poller(const Poller&) = delete;
  Poller& operator=(const Poller&) = delete;

  // A spinning poller never sleeps, so no server pays for waking it. On loopback the sender does: with a receiver that
  // sleeps whenever it is a bit faster than its sender, figures have two values, and which of them is chance.
  void set_spin(bool spin) { spin_ = spin; }

  // Told once for each change: reads and writes must go on until they would block.
  void Watch(int descriptor, std::uint64_t token);
  void Forget(int descriptor);

  // Readable while something is ready.
  int descriptor() const { return epoll_; }

  // Handles what is ready; waits for it until `deadline` at most.
  void Turn(Nanoseconds deadline, const Handler& handler);

 private:
  int epoll_;
  bool spin_ = false;
  std::vector<epoll_event> events_;
};

}  // namespace aphlict::bench
