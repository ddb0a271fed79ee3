#include "common/net/listener.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/support/loop.h"

namespace aphlict::net {
namespace {

using testing::Peer;
using testing::TestLoop;

// Takes connections, and keeps them.
class Acceptor : public ListenerHandler {
 public:
  ~Acceptor() override {
    for (const int descriptor : accepted) close(descriptor);
  }
  void OnConnection(int descriptor) override {
    accepted.push_back(descriptor);
    if (on_connection) on_connection();
  }
  void OnAcceptError(const std::string& reason) override { errors.push_back(reason); }

  std::vector<int> accepted;
  std::vector<std::string> errors;
  std::function<void()> on_connection;
};

Result<std::unique_ptr<Listener>> TryBind(Loop& loop, ListenerHandler& handler, const std::string& host,
                                          std::uint16_t port = 0, bool reuse_port = false) {
  return Listener::Bind(loop, *Address::Parse(host, port), reuse_port, &handler);
}

std::unique_ptr<Listener> BindOn(Loop& loop, ListenerHandler& handler, const std::string& host = "127.0.0.1") {
  auto listener = TryBind(loop, handler, host);
  REQUIRE(listener);
  return std::move(*listener);
}

// A listener that accepts.
struct Listening {
  Listening() : listener(BindOn(loop, acceptor)) { REQUIRE(listener->Start()); }
  Peer Connect() const { return Peer::Connect(listener->local_address()); }
  std::vector<Peer> Connect(int count) const {
    std::vector<Peer> peers;
    for (int i = 0; i < count; ++i) peers.push_back(Connect());
    return peers;
  }
  bool RunUntilAccepted(std::size_t count) {
    return loop.RunUntil([&] { return acceptor.accepted.size() == count; });
  }

  TestLoop loop;
  Acceptor acceptor;
  std::unique_ptr<Listener> listener;
};

int IntOption(int descriptor, int level, int option) {
  int value = -1;
  socklen_t length = sizeof(value);
  REQUIRE(getsockopt(descriptor, level, option, &value, &length) == 0);
  return value;
}

TEST_CASE("a listener says which port the kernel has picked, and accepts there once it is started") {
  TestLoop loop;
  Acceptor acceptor;
  const auto listener = BindOn(loop, acceptor);
  const Address address = listener->local_address();
  CHECK(address.port() != 0);
  CHECK(address.ToString().starts_with("127.0.0.1:"));
  CHECK(Peer::IsRefused(address));
  REQUIRE(listener->Start());
  const Peer peer = Peer::Connect(address);
  REQUIRE(loop.RunUntil([&] { return acceptor.accepted.size() == 1; }));
  CHECK(acceptor.errors.empty());
}

TEST_CASE("what is accepted does not block, is not inherited by children, and notices dead peers") {
  Listening listening;
  const Peer peer = listening.Connect();
  REQUIRE(listening.RunUntilAccepted(1));
  const int accepted = listening.acceptor.accepted[0];
  CHECK((fcntl(accepted, F_GETFL) & O_NONBLOCK) != 0);
  CHECK((fcntl(accepted, F_GETFD) & FD_CLOEXEC) != 0);
  CHECK(IntOption(accepted, IPPROTO_TCP, TCP_NODELAY) == 1);
  CHECK(IntOption(accepted, SOL_SOCKET, SO_KEEPALIVE) == 1);
  CHECK(IntOption(accepted, IPPROTO_TCP, TCP_USER_TIMEOUT) == 90'000);
}

TEST_CASE("a port that is taken is an error with its exit code, and the address") {
  TestLoop loop;
  Acceptor acceptor;
  const auto listener = BindOn(loop, acceptor);
  const Address address = listener->local_address();
  REQUIRE(listener->Start());
  const auto second = TryBind(loop, acceptor, "127.0.0.1", address.port());
  REQUIRE_FALSE(second);
  CHECK(second.error().code == EX_UNAVAILABLE);
  CHECK(second.error().text == "bind " + address.ToString() + ": EADDRINUSE: address already in use");

  SUBCASE("until it is free") {
    TestLoop other_loop;
    auto first = BindOn(other_loop, acceptor);
    const std::uint16_t port = first->local_address().port();
    REQUIRE(first->Start());
    const Peer peer = Peer::Connect(first->local_address());
    REQUIRE(other_loop.RunUntil([&] { return acceptor.accepted.size() == 1; }));
    close(acceptor.accepted[0]);  // this end first: it waits in TIME_WAIT
    acceptor.accepted.clear();
    first.reset();
    CHECK(TryBind(other_loop, acceptor, "127.0.0.1", port));
  }
}

TEST_CASE("an address that was taken is not free before it is listened on") {
  TestLoop loop;
  Acceptor acceptor;
  const auto listener = BindOn(loop, acceptor);
  CHECK_FALSE(TryBind(loop, acceptor, "127.0.0.1", listener->local_address().port()));
}

TEST_CASE("an address that is not this host's, or not permitted, is an error with its exit code") {
  TestLoop loop;
  Acceptor acceptor;
  const auto foreign = TryBind(loop, acceptor, "192.0.2.1");
  REQUIRE_FALSE(foreign);
  CHECK(foreign.error().code == EX_OSERR);
  CHECK(foreign.error().text.starts_with("bind 192.0.2.1:0: EADDRNOTAVAIL"));

  const uid_t user = geteuid();
  if (user == 0) REQUIRE(seteuid(65'534) == 0);
  const auto privileged = TryBind(loop, acceptor, "127.0.0.1", 1);
  REQUIRE(seteuid(user) == 0);
  if (!privileged) {  // a system may let everybody have every port
    CHECK(privileged.error().code == EX_NOPERM);
    CHECK(privileged.error().text == "bind 127.0.0.1:1: EACCES: permission denied");
  }
}

TEST_CASE("two listeners share a port when both want to") {
  TestLoop loop;
  Acceptor first_acceptor;
  Acceptor second_acceptor;
  auto first = TryBind(loop, first_acceptor, "127.0.0.1", 0, true);
  REQUIRE(first);
  const Address address = (*first)->local_address();
  auto second = TryBind(loop, second_acceptor, "127.0.0.1", address.port(), true);
  REQUIRE(second);
  REQUIRE((*first)->Start());
  CHECK_FALSE(TryBind(loop, second_acceptor, "127.0.0.1", address.port(), false));
  REQUIRE((*second)->Start());
  std::vector<Peer> peers;
  for (int i = 0; i < 100; ++i) peers.push_back(Peer::Connect(address));
  REQUIRE(loop.RunUntil([&] { return first_acceptor.accepted.size() + second_acceptor.accepted.size() == 100; }));
  CHECK(first_acceptor.accepted.size() > 10);
  CHECK(second_acceptor.accepted.size() > 10);

  SUBCASE("and one takes all that waits for it before it goes, so that nobody is reset") {
    for (int i = 0; i < 20; ++i) peers.push_back(Peer::Connect(address));
    (*first)->AcceptAll();
    first->reset();
    REQUIRE(loop.RunUntil([&] { return first_acceptor.accepted.size() + second_acceptor.accepted.size() == 120; }));
    for (Peer& peer : peers) CHECK(peer.Error() == 0);
    CHECK_FALSE(Peer::IsRefused(address));
  }
}

TEST_CASE("an IPv6 wildcard takes IPv4 as well") {
  TestLoop loop;
  Acceptor acceptor;
  const auto bound = TryBind(loop, acceptor, "::");
  REQUIRE(bound);
  Listener& listener = **bound;
  REQUIRE(listener.Start());
  const std::uint16_t port = listener.local_address().port();
  const Peer v4 = Peer::Connect(*Address::Parse("127.0.0.1", port));
  const Peer v6 = Peer::Connect(*Address::Parse("::1", port));
  REQUIRE(loop.RunUntil([&] { return acceptor.accepted.size() == 2; }));
}

TEST_CASE("a listener that pauses leaves connections in the kernel's queue") {
  Listening listening;
  listening.listener->Pause();
  CHECK(listening.listener->paused());
  const std::vector<Peer> peers = listening.Connect(3);
  listening.loop.RunFor(milliseconds(20));
  CHECK(listening.acceptor.accepted.empty());
  listening.listener->Resume();
  CHECK_FALSE(listening.listener->paused());
  REQUIRE(listening.RunUntilAccepted(3));

  SUBCASE("also in the middle of accepting") {
    listening.acceptor.on_connection = [&] { listening.listener->Pause(); };
    const std::vector<Peer> more = listening.Connect(3);
    REQUIRE(listening.RunUntilAccepted(4));
    listening.loop.RunFor(milliseconds(20));
    CHECK(listening.acceptor.accepted.size() == 4);
    listening.acceptor.on_connection = nullptr;
    listening.listener->Resume();
    REQUIRE(listening.RunUntilAccepted(6));
  }
}

TEST_CASE("a turn accepts so many that a herd does not keep the others waiting") {
  Listening listening;
  const std::vector<Peer> peers = listening.Connect(200);
  std::size_t before = 0;
  std::size_t most_in_a_turn = 0;
  listening.loop->SetTurnEnd([&] {
    most_in_a_turn = std::max(most_in_a_turn, listening.acceptor.accepted.size() - before);
    before = listening.acceptor.accepted.size();
  });
  REQUIRE(listening.RunUntilAccepted(200));
  CHECK(most_in_a_turn == 64);

  SUBCASE("unless all of it is wanted at once") {
    const std::vector<Peer> more = listening.Connect(200);
    listening.listener->AcceptAll();
    CHECK(listening.acceptor.accepted.size() == 400);
  }
}

// Lets the process have only so many descriptors as it has now, for a while.
class NoMoreDescriptors {
 public:
  NoMoreDescriptors() {
    REQUIRE(getrlimit(RLIMIT_NOFILE, &before_) == 0);
    const int next = dup(STDERR_FILENO);
    REQUIRE(next >= 0);
    close(next);
    rlimit limit = before_;
    limit.rlim_cur = static_cast<rlim_t>(next);
    REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
  }
  ~NoMoreDescriptors() { setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

TEST_CASE("out of descriptors, a listener says so, waits, and goes on") {
  Listening listening;
  const std::vector<Peer> peers = listening.Connect(3);
  {
    const NoMoreDescriptors none;
    REQUIRE(listening.loop.RunUntil([&] { return !listening.acceptor.errors.empty(); }));
    CHECK(listening.acceptor.errors[0] == "EMFILE: too many open files");
    CHECK(listening.listener->paused());
    CHECK(listening.listener->retrying());
    listening.loop.RunFor(milliseconds(50));
    CHECK(listening.acceptor.errors.size() == 1);
    CHECK(listening.acceptor.accepted.empty());
  }
  REQUIRE(listening.RunUntilAccepted(3));
  CHECK_FALSE(listening.listener->retrying());
}

TEST_CASE("a listener that is gone refuses, and resets nobody who was accepted") {
  Listening listening;
  Peer peer = listening.Connect();
  REQUIRE(listening.RunUntilAccepted(1));
  const Address address = listening.listener->local_address();
  listening.listener.reset();
  CHECK(Peer::IsRefused(address));
  CHECK(peer.Error() == 0);
}

}  // namespace
}  // namespace aphlict::net
