// A bare TCP relay: for each connection it opens one onwards, and copies bytes both ways, one read() and one write()
// at a time. What the hop from a master to a repeater is compared with.
//
//   aphlict-tcp-relay ADDRESS:PORT
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

constexpr int kNobody = -1;

struct Relay {
  int epoll = -1;
  int listener = -1;
  sockaddr_in onwards{};
  std::vector<int> other;  // by descriptor
  std::array<char, 1 << 16> buffer{};
};

[[noreturn]] void Die(const char* what) {
  std::perror(what);
  std::exit(71);
}

void Watch(Relay& relay, int descriptor) {
  const int on = 1;
  setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = descriptor;
  epoll_ctl(relay.epoll, EPOLL_CTL_ADD, descriptor, &event);
}

void Accept(Relay& relay) {
  const int near = accept4(relay.listener, nullptr, nullptr, SOCK_CLOEXEC);
  if (near < 0) return;
  const int far = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  // On loopback this does not wait: the other end has a free place in its queue or refuses.
  if (far < 0 || connect(far, reinterpret_cast<const sockaddr*>(&relay.onwards), sizeof(relay.onwards)) != 0) {
    Die("connect onwards");
  }
  relay.other.resize(std::max<std::size_t>(relay.other.size(), std::max(near, far) + 1), kNobody);
  relay.other[near] = far;
  relay.other[far] = near;
  Watch(relay, near);
  Watch(relay, far);
}

void Copy(Relay& relay, int from) {
  const int to = relay.other[from];
  if (to == kNobody) return;
  const ssize_t got = recv(from, relay.buffer.data(), relay.buffer.size(), 0);
  if (got > 0 && send(to, relay.buffer.data(), static_cast<std::size_t>(got), MSG_NOSIGNAL) == got) return;
  if (got < 0 && errno == EINTR) return;
  relay.other[from] = relay.other[to] = kNobody;
  close(from);
  close(to);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string address = argc == 2 ? argv[1] : "";
  const std::size_t colon = address.rfind(':');
  static Relay relay;
  relay.onwards.sin_family = AF_INET;
  if (colon == std::string::npos ||
      inet_pton(AF_INET, address.substr(0, colon).c_str(), &relay.onwards.sin_addr) != 1) {
    std::fputs("usage: aphlict-tcp-relay ADDRESS:PORT\n", stderr);
    return 64;
  }
  relay.onwards.sin_port = htons(static_cast<std::uint16_t>(std::atoi(address.c_str() + colon + 1)));
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);

  relay.epoll = epoll_create1(EPOLL_CLOEXEC);
  relay.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in own{};
  own.sin_family = AF_INET;
  own.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(own);
  if (bind(relay.listener, reinterpret_cast<sockaddr*>(&own), length) != 0 || listen(relay.listener, 4096) != 0) {
    Die("listen");
  }
  getsockname(relay.listener, reinterpret_cast<sockaddr*>(&own), &length);
  Watch(relay, relay.listener);
  std::fprintf(stderr, "event=listening type=client address=127.0.0.1:%d\n", ntohs(own.sin_port));
  std::array<epoll_event, 256> events{};
  for (;;) {
    const int count = epoll_wait(relay.epoll, events.data(), static_cast<int>(events.size()), -1);
    if (count < 0 && errno != EINTR) Die("epoll_wait");
    for (int i = 0; i < count; ++i) {
      if (events[i].data.fd == relay.listener) {
        Accept(relay);
      } else {
        Copy(relay, events[i].data.fd);
      }
    }
  }
}
