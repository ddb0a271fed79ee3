#include "tests/bench/load/poller.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "tests/bench/load/options.h"

namespace aphlict::bench {

namespace {

constexpr std::uint32_t kSources = 200;  // source addresses: 127.0.1.1 to 127.0.1.200

Failure SystemFailure(const std::string& what) { return Failure(what + ": " + std::strerror(errno)); }

sockaddr_in ParseAddress(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  sockaddr_in parsed{};
  parsed.sin_family = AF_INET;
  if (colon == std::string::npos || inet_pton(AF_INET, address.substr(0, colon).c_str(), &parsed.sin_addr) != 1) {
    throw Failure("not an address and port: " + address);
  }
  parsed.sin_port = htons(static_cast<std::uint16_t>(std::stoi(address.substr(colon + 1))));
  return parsed;
}

}  // namespace

Nanoseconds Now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<Nanoseconds>(time.tv_sec) * kSecond + time.tv_nsec;
}

int StartConnecting(const std::string& address, std::uint32_t source) {
  const sockaddr_in to = ParseAddress(address);
  const int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (descriptor < 0) throw SystemFailure("socket");
  const int on = 1;
  setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  // The port is picked by connect(), which knows the other end; bind() would want one that is free for all ends.
  setsockopt(descriptor, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
  sockaddr_in from{};
  from.sin_family = AF_INET;
  from.sin_addr.s_addr = htonl(0x7f000101 + source % kSources);
  if (bind(descriptor, reinterpret_cast<const sockaddr*>(&from), sizeof(from)) != 0 ||
      (connect(descriptor, reinterpret_cast<const sockaddr*>(&to), sizeof(to)) != 0 && errno != EINPROGRESS)) {
    const Failure failure = SystemFailure("connect to " + address);
    close(descriptor);
    throw failure;
  }
  return descriptor;
}

void CloseByReset(int descriptor) {
  const linger reset{1, 0};
  setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
  close(descriptor);
}

Poller::Poller() : epoll_(epoll_create1(EPOLL_CLOEXEC)), events_(1024) {
  if (epoll_ < 0) throw SystemFailure("epoll_create1");
}

Poller::~Poller() { close(epoll_); }

void Poller::Watch(int descriptor, std::uint64_t token) {
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
  event.data.u64 = token;
  if (epoll_ctl(epoll_, EPOLL_CTL_ADD, descriptor, &event) == 0) return;
  if (errno != EEXIST || epoll_ctl(epoll_, EPOLL_CTL_MOD, descriptor, &event) != 0) throw SystemFailure("epoll_ctl");
}

void Poller::Forget(int descriptor) { epoll_ctl(epoll_, EPOLL_CTL_DEL, descriptor, nullptr); }

void Poller::Turn(Nanoseconds deadline, const Handler& handler) {
  timespec wait{};
  if (!spin_) {
    const Nanoseconds left = std::max<Nanoseconds>(0, deadline - Now());
    wait = {left / kSecond, left % kSecond};
  }
  const int count = epoll_pwait2(epoll_, events_.data(), static_cast<int>(events_.size()), &wait, nullptr);
  if (count < 0 && errno != EINTR) throw SystemFailure("epoll_pwait2");
  for (int i = 0; i < count; ++i) handler(events_[i].data.u64, (events_[i].events & EPOLLOUT) != 0);
}

}  // namespace aphlict::bench
