#include "common/net/listener.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "common/net/socket_options.h"

namespace aphlict::net {

namespace {

int ExitCode(int error) {
  if (error == EADDRINUSE) return EX_UNAVAILABLE;
  if (error == EACCES || error == EPERM) return EX_NOPERM;
  return EX_OSERR;
}

}  // namespace

Result<std::unique_ptr<Listener>> Listener::Bind(Loop& loop, const Address& address, bool reuse_port,
                                                 ListenerHandler* handler) {
  const int descriptor = socket(address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return Error{"socket: " + ErrorText(errno), EX_OSERR};
  const auto failed = [&](const char* what) {
    Error error{std::string(what) + " " + address.ToString() + ": " + ErrorText(errno), ExitCode(errno)};
    close(descriptor);
    return error;
  };
  SetOption(descriptor, SOL_SOCKET, SO_REUSEADDR, 1);
  if (address.family() == AF_INET6) SetOption(descriptor, IPPROTO_IPV6, IPV6_V6ONLY, 0);
  const int on = 1;
  if (reuse_port && setsockopt(descriptor, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0) {
    return failed("share");
  }
  SetConnectionOptions(descriptor);  // once, rather than for each that is accepted
  if (bind(descriptor, address.get(), address.length()) != 0) return failed("bind");
  // With this option, which is for what an earlier process has left, the kernel would let a second socket bind to the
  // same address until one of them listens. It is set again then, and inherited.
  SetOption(descriptor, SOL_SOCKET, SO_REUSEADDR, 0);
  return std::unique_ptr<Listener>(new Listener(loop, descriptor, handler));
}

Listener::Listener(Loop& loop, int descriptor, ListenerHandler* handler)
    : loop_(loop), descriptor_(descriptor), handler_(handler), poll_(new uv_poll_t), retry_(loop, [this] {
        Resume();
      }) {
  poll_->data = this;
  if (uv_poll_init(loop.uv(), poll_.get(), descriptor) != 0) std::abort();
}

Result<void> Listener::Start() {
  SetOption(descriptor_, SOL_SOCKET, SO_REUSEADDR, 1);
  if (listen(descriptor_, kBacklog) != 0) {
    return Error{"listen on " + local_address().ToString() + ": " + ErrorText(errno), ExitCode(errno)};
  }
  started_ = true;
  Resume();
  return {};
}

Listener::~Listener() {
  poll_.reset();
  close(descriptor_);
}

Address Listener::local_address() const { return LocalOf(descriptor_); }

void Listener::Pause() {
  retry_.Stop();
  if (paused_) return;
  paused_ = true;
  uv_poll_stop(poll_.get());
}

void Listener::Resume() {
  retry_.Stop();
  if (!paused_ || !started_) return;
  paused_ = false;
  uv_poll_start(poll_.get(), UV_READABLE,
                [](uv_poll_t* poll, int, int) noexcept { static_cast<Listener*>(poll->data)->AcceptSome(); });
}

void Listener::AcceptSome() {
  loop_.Enter();
  if (turn_ == loop_.turn()) return;
  turn_ = loop_.turn();
  Accept(kAcceptsPerTurn);
}

void Listener::AcceptAll() { Accept(kBacklog); }

void Listener::Accept(int most) {
  for (int i = 0; i < most && !paused_; ++i) {
    const int accepted = accept4(descriptor_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (accepted >= 0) {
      handler_->OnConnection(accepted);
      continue;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) return;
    if (errno == EINTR || errno == ECONNABORTED || errno == EPROTO || errno == ENETDOWN || errno == EHOSTUNREACH ||
        errno == ENETUNREACH) {
      continue;  // that connection's trouble (accept(2))
    }
    // EMFILE, ENFILE, ENOBUFS, ENOMEM: polling on would spin, since the connection stays in the queue.
    handler_->OnAcceptError(ErrorText(errno));
    Pause();
    retry_.Start(milliseconds(250));
    return;
  }
}

}  // namespace aphlict::net
