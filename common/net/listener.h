// A listening TCP socket.
#pragma once

#include <uv.h>

#include <cstdint>
#include <memory>

#include "common/base/result.h"
#include "common/net/address.h"
#include "common/net/loop.h"
#include "common/net/timer.h"

namespace aphlict::net {

class ListenerHandler {
 public:
  virtual ~ListenerHandler() = default;
  // A connection was accepted. The handler owns the descriptor (non-blocking, close-on-exec).
  virtual void OnConnection(int descriptor) = 0;
  // Accepting failed for want of a resource (descriptors, memory); it goes on after a pause.
  virtual void OnAcceptError(const std::string& reason) = 0;
};

class Listener {
 public:
  // Takes the address, so that nobody else can; connections are refused until Start(). Accepted sockets inherit
  // TCP_NODELAY, keepalive and TCP_USER_TIMEOUT. `reuse_port` lets processes of the same user share the port
  // (SO_REUSEPORT). [::] takes IPv4 as well.
  // Errors: `code` is the exit code of sysexits(3): 69 in use, 77 not permitted, 71 else.
  static Result<std::unique_ptr<Listener>> Bind(Loop& loop, const Address& address, bool reuse_port,
                                                ListenerHandler* handler);
  ~Listener();

  // Begins to accept. Errors as Bind().
  Result<void> Start();

  bool started() const { return started_; }

  // With the port that the kernel chose, where 0 was asked for.
  Address local_address() const;

  // Leaves connections in the kernel's queue until Resume().
  void Pause();
  void Resume();
  bool paused() const { return paused_; }
  // Whether it waits after an error of accept().
  bool retrying() const { return retry_.active(); }
  // Accepts all that is in the kernel's queue: closing a listener resets what waits there.
  void AcceptAll();

 private:
  Listener(Loop& loop, int descriptor, ListenerHandler* handler);
  void AcceptSome();
  void Accept(int most);

  static constexpr int kBacklog = 16'384;     // the kernel caps it at net.core.somaxconn
  static constexpr int kAcceptsPerTurn = 64;  // so that a herd does not keep the loop from everybody else

  Loop& loop_;
  std::uint64_t turn_ = UINT64_MAX;  // in which it has accepted some
  int descriptor_;
  ListenerHandler* handler_;
  HandlePtr<uv_poll_t> poll_;
  Timer retry_;
  bool paused_ = true;
  bool started_ = false;
};

}  // namespace aphlict::net
