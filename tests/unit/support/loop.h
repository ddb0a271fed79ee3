// A loop for tests, and the other end of a connection, which is a plain socket that shares no code with what is tested.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <utility>

#include "common/base/time.h"
#include "common/net/loop.h"
#include "common/net/stream.h"

namespace aphlict::testing {

// Turns a loop until something has happened. Destroy it last: the loop's destructor aborts, with a list, when a handle
// is still open.
class TestLoop {
 public:
  operator net::Loop&() { return loop_; }  // NOLINT: it is one
  net::Loop* operator->() { return &loop_; }

  // Turns until `condition` holds. Returns false when it still does not after `limit`.
  bool RunUntil(const std::function<bool()>& condition, Duration limit = seconds(20));
  // Turns once, without waiting for anything.
  void Turn();
  // Turns for a while, in which nothing is expected to happen.
  void RunFor(Duration time);

 private:
  net::Loop loop_;
};

// One end of a TCP connection over loopback. Never blocks.
class Peer {
 public:
  Peer() = default;
  // Takes over the descriptor of a connected socket.
  explicit Peer(int descriptor);
  Peer(Peer&& other) noexcept : descriptor_(std::exchange(other.descriptor_, -1)) {}
  Peer& operator=(Peer&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }
  ~Peer() { Close(); }

  // The connection is there, or waits in the listener's queue. `receive_buffer` limits what the kernel keeps for it.
  static Peer Connect(const net::Address& address, int receive_buffer = 0);
  // Whether connecting is refused.
  static bool IsRefused(const net::Address& address);

  // Hands bytes to the kernel, as many as it takes. Returns how many.
  std::size_t Send(std::string_view bytes);
  // What has come so far and was not taken yet, at most `most` bytes.
  std::string Receive(std::size_t most = std::string::npos);
  // Whether the other end has closed its sending side, in good order: nothing is left to be received.
  bool AtEnd();
  // The errno with which the connection has failed, or 0. Looks only.
  int Error();

  void CloseWrite();
  void Close();
  // Closes so that the other end sees a reset.
  void Reset();

  net::Address local_address() const;
  // Gives the descriptor away.
  int Release() { return std::exchange(descriptor_, -1); }

 private:
  int descriptor_ = -1;
};

// Both ends of one TCP connection over loopback; the first as a stream's descriptor is: non-blocking. The kernel keeps
// about `buffer` bytes on each side, or as many as it likes.
struct SocketPair {
  explicit SocketPair(int buffer = 0);
  int descriptor = -1;
  Peer peer;
};

}  // namespace aphlict::testing
