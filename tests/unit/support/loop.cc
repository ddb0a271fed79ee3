#include "tests/unit/support/loop.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "common/net/timer.h"

namespace aphlict::testing {

namespace {

// What cannot fail but for a wrong test.
void Must(bool fits) {
  if (fits) return;
  std::perror("a test's socket");
  std::abort();
}

void LimitBuffers(int descriptor, int bytes) {
  if (bytes == 0) return;
  Must(setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes)) == 0);
  Must(setsockopt(descriptor, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes)) == 0);
}

}  // namespace

bool TestLoop::RunUntil(const std::function<bool()>& condition, Duration limit) {
  // What a peer has received is no event of the loop, so it is looked at now and then.
  net::Timer look(loop_, [] {});
  look.Start(milliseconds(1), milliseconds(1));
  const Time until = Now() + limit;
  while (!condition()) {
    if (Now() >= until) return false;
    uv_run(loop_.uv(), UV_RUN_ONCE);
  }
  return true;
}

void TestLoop::Turn() {
  net::Timer alive(loop_, [] {});  // libuv does not turn a loop that has nothing to wait for
  alive.Start(std::chrono::hours(1));
  uv_run(loop_.uv(), UV_RUN_NOWAIT);
}

void TestLoop::RunFor(Duration time) {
  RunUntil([] { return false; }, time);
}

Peer::Peer(int descriptor) : descriptor_(descriptor) {
  Must(fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK) == 0);
}

Peer Peer::Connect(const net::Address& address, int receive_buffer) {
  const int descriptor = socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
  Must(descriptor >= 0);
  LimitBuffers(descriptor, receive_buffer);
  Must(connect(descriptor, address.get(), address.length()) == 0);
  return Peer(descriptor);
}

bool Peer::IsRefused(const net::Address& address) {
  const int descriptor = socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool refused = connect(descriptor, address.get(), address.length()) != 0 && errno == ECONNREFUSED;
  close(descriptor);
  return refused;
}

std::size_t Peer::Send(std::string_view bytes) {
  std::size_t sent = 0;
  while (sent < bytes.size()) {
    const ssize_t taken = send(descriptor_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (taken < 0) break;
    sent += static_cast<std::size_t>(taken);
  }
  return sent;
}

std::string Peer::Receive(std::size_t most) {
  std::string received;
  char buffer[65'536];
  while (received.size() < most) {
    const ssize_t got = recv(descriptor_, buffer, std::min(sizeof(buffer), most - received.size()), 0);
    if (got <= 0) break;
    received.append(buffer, static_cast<std::size_t>(got));
  }
  return received;
}

bool Peer::AtEnd() {
  char byte;
  return recv(descriptor_, &byte, 1, MSG_PEEK) == 0;
}

int Peer::Error() {
  char byte;
  if (recv(descriptor_, &byte, 1, MSG_PEEK) >= 0 || errno == EAGAIN) return 0;
  return errno;
}

void Peer::CloseWrite() { Must(shutdown(descriptor_, SHUT_WR) == 0); }

void Peer::Close() {
  if (descriptor_ >= 0) close(std::exchange(descriptor_, -1));
}

void Peer::Reset() {
  const linger now{1, 0};
  Must(setsockopt(descriptor_, SOL_SOCKET, SO_LINGER, &now, sizeof(now)) == 0);
  Close();
}

net::Address Peer::local_address() const {
  sockaddr_storage storage{};
  socklen_t length = sizeof(storage);
  Must(getsockname(descriptor_, reinterpret_cast<sockaddr*>(&storage), &length) == 0);
  return {reinterpret_cast<const sockaddr*>(&storage), length};
}

SocketPair::SocketPair(int buffer) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  LimitBuffers(listener, buffer);
  Must(bind(listener, reinterpret_cast<sockaddr*>(&address), length) == 0 && listen(listener, 1) == 0 &&
       getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length) == 0);
  peer = Peer::Connect({reinterpret_cast<sockaddr*>(&address), length}, buffer);
  descriptor = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  Must(descriptor >= 0);
  close(listener);
}

}  // namespace aphlict::testing
