#include "common/net/stream.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "common/net/timer.h"
#include "tests/unit/support/loop.h"
#include "tests/unit/support/text.h"

namespace aphlict::net {
namespace {

using testing::Long;
using testing::Peer;
using testing::SocketPair;
using testing::TestLoop;

// Owns a stream, and remembers what happened on it.
class Owner : public StreamHandler {
 public:
  explicit Owner(StreamPtr s) : stream(std::move(s)) { stream->SetHandler(this); }

  void OnConnected() override {
    ++connected;
    if (on_connected) on_connected();
  }
  void OnBytes(std::string_view bytes) override {
    CHECK_FALSE(bytes.empty());
    ++reads;
    received += bytes;
    if (on_bytes) on_bytes();
  }
  void OnEnd(const std::string& reason) override {
    CHECK(ended.empty());
    ended = reason;
    if (on_end) on_end();
    stream.reset();
  }
  void OnReadEnd() override {
    if (!half_close) return StreamHandler::OnReadEnd();
    read_ended = true;
  }
  void OnDrained() override {
    ++drained;
    if (on_drained) on_drained();
  }

  StreamPtr stream;
  bool half_close = false;  // goes on writing when the peer has closed its side
  int connected = 0;
  int reads = 0;
  int drained = 0;
  bool read_ended = false;
  std::string received;
  std::string ended;  // the reason
  std::function<void()> on_connected;
  std::function<void()> on_bytes;
  std::function<void()> on_end;
  std::function<void()> on_drained;
};

// A stream and its other end.
struct Connected {
  explicit Connected(int buffer = 0) : pair(buffer), owner(Stream::Adopt(loop, pair.descriptor)) {}
  Stream& stream() { return *owner.stream; }
  Peer& peer() { return pair.peer; }
  // Turns until the peer has received so many bytes, or its end of the stream; reads so much at a time.
  std::string ReceiveAtPeer(std::size_t size, std::size_t at_a_time = 1 << 20) {
    std::string received;
    CHECK(loop.RunUntil([&] {
      received += pair.peer.Receive(std::min(at_a_time, size - received.size()));
      return received.size() >= size;
    }));
    return received;
  }

  TestLoop loop;
  SocketPair pair;
  Owner owner;
};

TEST_CASE("a loop counts the bytes of its streams, and what they have not sent yet") {
  Connected connected(4096);
  const LoopCounters& counters = connected.loop->counters();
  CHECK(connected.loop->streams() == 1);
  connected.peer().Send("abc");
  REQUIRE(connected.loop.RunUntil([&] { return connected.owner.received == "abc"; }));
  CHECK(counters.received == 3);

  const std::size_t size = 1'000'000;
  connected.stream().Write(Long(size));
  connected.stream().Write("x");
  CHECK(counters.unsent == size + 1);
  CHECK(counters.sent == 0);
  connected.loop.Turn();
  CHECK(counters.unsent == connected.stream().unsent());
  CHECK(counters.unsent > 0);
  CHECK(counters.sent + counters.unsent == size + 1);

  SUBCASE("until they have") {
    connected.ReceiveAtPeer(size + 1);
    REQUIRE(connected.loop.RunUntil([&] { return counters.unsent == 0; }));
    CHECK(counters.sent == size + 1);
  }
  SUBCASE("or are closed") {
    connected.owner.stream.reset();
    CHECK(counters.unsent == 0);
    CHECK(connected.loop->streams() == 0);
  }
}

TEST_CASE("bytes come as they are read, and leave as they are written") {
  Connected connected;
  connected.peer().Send("hello");
  REQUIRE(connected.loop.RunUntil([&] { return connected.owner.received == "hello"; }));
  connected.stream().Write("wor");
  connected.stream().Write("");
  connected.stream().Write(SharedBytes::Copy("ld"));
  CHECK(connected.stream().unsent() == 5);
  CHECK(connected.ReceiveAtPeer(5) == "world");
  CHECK(connected.stream().unsent() == 0);
  CHECK(connected.stream().peer().ToString() == connected.peer().local_address().ToString());
  CHECK(&connected.stream().loop() == &static_cast<Loop&>(connected.loop));
}

TEST_CASE("a stream reads nothing before somebody wants it") {
  TestLoop loop;
  SocketPair pair;
  StreamPtr stream = Stream::Adopt(loop, pair.descriptor);
  pair.peer.Send("early");
  for (int i = 0; i < 5; ++i) loop.Turn();
  Owner owner(std::move(stream));
  REQUIRE(loop.RunUntil([&] { return owner.received == "early"; }));
}

TEST_CASE("a stream that is handed on tells its new handler") {
  Connected connected;
  connected.peer().Send("one");
  REQUIRE(connected.loop.RunUntil([&] { return connected.owner.received == "one"; }));
  Owner second(std::move(connected.owner.stream));
  connected.peer().Send("two");
  REQUIRE(connected.loop.RunUntil([&] { return second.received == "two"; }));
  CHECK(connected.owner.received == "one");
}

TEST_CASE("a stream reads once a turn, so that a fast sender does not keep the others waiting") {
  Connected connected(1 << 20);
  const std::string sent = Long(400'000);
  REQUIRE(connected.peer().Send(sent) == sent.size());
  int reads_at_last_end = 0;
  int most_in_a_turn = 0;
  connected.loop->SetTurnEnd([&] {
    most_in_a_turn = std::max(most_in_a_turn, connected.owner.reads - reads_at_last_end);
    reads_at_last_end = connected.owner.reads;
  });
  REQUIRE(connected.loop.RunUntil([&] { return connected.owner.received.size() == sent.size(); }));
  CHECK(connected.owner.received == sent);
  CHECK(connected.owner.reads >= 7);
  CHECK(most_in_a_turn == 1);
}

TEST_CASE("what the kernel does not take waits, and goes on when the peer reads") {
  Connected connected(16 * 1024);
  std::string sent;
  // Buffers of all sizes, in more chunks than one.
  for (std::size_t size = 1; sent.size() < 3'000'000; size = size % 5000 + 77) {
    const std::string piece = Long(size);
    sent += piece;
    connected.stream().Write(piece);
  }
  CHECK(connected.stream().unsent() == sent.size());
  connected.loop.Turn();
  connected.loop.Turn();
  const std::size_t left = connected.stream().unsent();
  CHECK(left > 1'000'000);
  CHECK(left < sent.size());

  SUBCASE("quickly") { CHECK(connected.ReceiveAtPeer(sent.size()) == sent); }
  SUBCASE("slowly, with more that is written meanwhile") {
    std::string received = connected.ReceiveAtPeer(100'000, 1000);
    CHECK(connected.stream().unsent() < left);
    connected.stream().Write("more");
    received += connected.ReceiveAtPeer(sent.size() + 4 - received.size(), 30'000);
    CHECK(received == sent + "more");
  }
  CHECK(connected.stream().unsent() == 0);
  CHECK(connected.owner.ended.empty());
}

TEST_CASE("of many streams each sends what was written to it, however it was written and however little is taken") {
  std::mt19937 random(1);
  const auto draw = [&](std::size_t most) { return std::uniform_int_distribution<std::size_t>(0, most)(random); };
  for (int round = 0; round < 20; ++round) {
    TestLoop loop;
    struct One {
      explicit One(TestLoop& loop) : pair(4096), owner(Stream::Adopt(loop, pair.descriptor)) {}
      SocketPair pair;
      Owner owner;
      std::string written;
      std::string received;
    };
    std::vector<std::unique_ptr<One>> all;
    for (int i = 0; i < 8; ++i) all.push_back(std::make_unique<One>(loop));
    for (int step = 0; step < 100; ++step) {
      for (std::size_t writes = draw(12); writes > 0; --writes) {
        One& one = *all[draw(all.size() - 1)];
        const std::string bytes(draw(3) > 0 ? draw(300) : draw(8000), static_cast<char>('a' + draw(25)));
        one.owner.stream->Write(bytes);
        one.written += bytes;
      }
      if (draw(30) == 0) {
        all[draw(all.size() - 1)] = std::make_unique<One>(loop);  // one leaves with what it has
      }
      std::size_t unsent = 0;
      for (const auto& one : all) {
        const std::size_t own = one->owner.stream->unsent();
        REQUIRE(one->received.size() + own <= one->written.size());
        unsent += own;
      }
      REQUIRE(loop->counters().unsent == unsent);
      const std::size_t read = draw(6000);
      loop.Turn();
      for (const auto& one : all) one->received += one->pair.peer.Receive(read);
    }
    // Whoever is to send no more says so while something is left, or in the turn in which it was written.
    for (const auto& one : all) {
      if (draw(1) == 0) continue;
      one->owner.stream->Write("end");
      one->written += "end";
      one->owner.stream->ShutdownWhenSent();
      if (draw(1) == 0) continue;
      one->owner.stream->Write("!");
      one->written += "!";
    }
    CHECK(loop.RunUntil([&] {
      bool complete = true;
      for (const auto& one : all) {
        one->received += one->pair.peer.Receive(1 << 16);
        complete = complete && one->received.size() >= one->written.size();
      }
      return complete;
    }));
    for (const auto& one : all) CHECK(one->received == one->written);
    CHECK(loop->counters().unsent == 0);
  }
}

TEST_CASE("of those that are sent to at once, one that has failed may end another, and write to a third") {
  TestLoop loop;
  std::vector<SocketPair> pairs(10);
  std::vector<std::unique_ptr<Owner>> owners;
  for (const SocketPair& pair : pairs) owners.push_back(std::make_unique<Owner>(Stream::Adopt(loop, pair.descriptor)));
  pairs[2].peer.Reset();
  pairs[6].peer.Reset();
  owners[2]->on_end = [&] {
    owners[1]->stream.reset();
    owners[5]->stream.reset();
    for (const int other : {0, 6, 7}) owners[other]->stream->Write("!");
  };
  for (const auto& owner : owners) owner->stream->Write("hello");
  loop.Turn();
  for (const int gone : {2, 6}) CHECK(owners[gone]->ended == "write: ECONNRESET: connection reset by peer");
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    CAPTURE(i);
    if (i == 2 || i == 6) continue;
    const std::string received = pairs[i].peer.Receive();
    CHECK(received == (i == 5 ? "" : i == 0 || i == 7 ? "hello!" : "hello"));
    CHECK(owners[i]->ended.empty());
  }
  CHECK(loop->counters().unsent == 0);
}

TEST_CASE("progress is told while something is unsent") {
  Connected connected(16 * 1024);
  const Time before = Now();
  connected.stream().Write(Long(2'000'000));
  CHECK(connected.stream().last_progress() >= before);
  connected.loop.RunFor(milliseconds(50));
  const Time stalled_since = connected.stream().last_progress();
  connected.loop.RunFor(milliseconds(20));
  CHECK(connected.stream().last_progress() == stalled_since);
  CHECK(stalled_since < Now() - milliseconds(15));
  connected.ReceiveAtPeer(1'000'000);
  CHECK(connected.stream().unsent() > 0);
  CHECK(connected.stream().last_progress() > stalled_since);
}

// A disk may hold a turn up for seconds. Whoever is written to after that has not been stalled meanwhile.
TEST_CASE("a stream's progress begins when it was written to, however long the turn took before") {
  Connected connected(4096);
  Time held_up{};
  connected.loop->SetTurnEnd([&] {
    if (connected.owner.reads == 0 || held_up != Time{}) return;
    std::this_thread::sleep_for(milliseconds(100));
    held_up = Now();
    connected.owner.stream->Write(Long(1'000'000));
  });
  connected.pair.peer.Send("x");
  REQUIRE(connected.loop.RunUntil([&] { return held_up != Time{}; }));
  REQUIRE(connected.owner.stream->unsent() > 0);
  CHECK(connected.owner.stream->last_progress() >= held_up);
}

TEST_CASE("who waits for room is told once, when all is with the kernel") {
  Connected connected(16 * 1024);
  const std::string sent = Long(1'000'000);
  connected.stream().Write(sent);
  connected.stream().NotifyWhenDrained();
  std::size_t unsent_when_drained = 1;
  connected.owner.on_drained = [&] { unsent_when_drained = connected.stream().unsent(); };
  connected.loop.RunFor(milliseconds(20));
  CHECK(connected.owner.drained == 0);
  CHECK(connected.ReceiveAtPeer(sent.size()) == sent);
  REQUIRE(connected.loop.RunUntil([&] { return connected.owner.drained > 0; }));
  CHECK(unsent_when_drained == 0);
  connected.loop.RunFor(milliseconds(20));
  CHECK(connected.owner.drained == 1);

  SUBCASE("at the next turn where nothing waits") {
    connected.stream().NotifyWhenDrained();
    REQUIRE(connected.loop.RunUntil([&] { return connected.owner.drained == 2; }));
  }
  SUBCASE("and may write, and wait again") {
    int rounds = 0;
    connected.owner.on_drained = [&] {
      if (++rounds == 20) return;
      connected.stream().Write(Long(100'000));
      connected.stream().NotifyWhenDrained();
    };
    connected.stream().NotifyWhenDrained();
    CHECK(connected.ReceiveAtPeer(1'900'000).size() == 1'900'000);
    REQUIRE(connected.loop.RunUntil([&] { return rounds == 20; }));
  }
}

TEST_CASE("a stream that pauses reads nothing, and goes on where it was") {
  Connected connected;
  connected.stream().PauseReading();
  connected.peer().Send("one");
  connected.loop.RunFor(milliseconds(20));
  CHECK(connected.owner.received == "");
  connected.stream().ResumeReading();
  REQUIRE(connected.loop.RunUntil([&] { return connected.owner.received == "one"; }));

  SUBCASE("when it is paused by what it read") {
    connected.owner.on_bytes = [&] { connected.stream().PauseReading(); };
    connected.peer().Send("two");
    REQUIRE(connected.loop.RunUntil([&] { return connected.owner.received == "onetwo"; }));
    connected.peer().Send("three");
    connected.loop.RunFor(milliseconds(20));
    CHECK(connected.owner.received == "onetwo");
    connected.stream().ResumeReading();
    REQUIRE(connected.loop.RunUntil([&] { return connected.owner.received == "onetwothree"; }));
  }
  SUBCASE("and learns of the end then") {
    connected.stream().PauseReading();
    connected.peer().Send("last");
    connected.peer().Close();
    connected.loop.RunFor(milliseconds(20));
    CHECK(connected.owner.ended == "");
    connected.stream().ResumeReading();
    REQUIRE(connected.loop.RunUntil([&] { return connected.owner.ended == "end of stream"; }));
    CHECK(connected.owner.received == "onelast");
  }
  SUBCASE("while it still writes") {
    connected.stream().PauseReading();
    const std::string sent = Long(1'000'000);
    connected.stream().Write(sent);
    CHECK(connected.ReceiveAtPeer(sent.size()) == sent);
  }
}

TEST_CASE("the peer's end is told after its last bytes") {
  Connected connected;
  connected.peer().Send("last");
  connected.peer().Close();
  REQUIRE(connected.loop.RunUntil([&] { return !connected.owner.ended.empty(); }));
  CHECK(connected.owner.received == "last");
  CHECK(connected.owner.ended == "end of stream");
}

TEST_CASE("a peer that has closed its side still gets what is written, and then it is over") {
  Connected connected(16 * 1024);
  connected.owner.half_close = true;
  connected.peer().Send("question");
  connected.peer().CloseWrite();
  REQUIRE(connected.loop.RunUntil([&] { return connected.owner.read_ended; }));
  CHECK(connected.owner.received == "question");
  const std::string answer = Long(500'000);
  connected.stream().Write(answer);
  connected.stream().ShutdownWhenSent();
  CHECK(connected.ReceiveAtPeer(answer.size()) == answer);
  REQUIRE(connected.loop.RunUntil([&] { return connected.peer().AtEnd(); }));
  CHECK(connected.owner.ended == "end of stream");
}

TEST_CASE("a stream that is shut down ends at the peer after all that was queued, and still reads") {
  Connected connected(16 * 1024);
  const std::string sent = Long(500'000);
  connected.stream().Write(sent);
  connected.stream().ShutdownWhenSent();
  CHECK(connected.ReceiveAtPeer(sent.size()) == sent);
  REQUIRE(connected.loop.RunUntil([&] { return connected.peer().AtEnd(); }));
  connected.peer().Send("answer");
  REQUIRE(connected.loop.RunUntil([&] { return connected.owner.received == "answer"; }));

  SUBCASE("at once where nothing is queued") {
    Connected idle;
    idle.stream().ShutdownWhenSent();
    CHECK(idle.peer().AtEnd());
  }
}

TEST_CASE("a connection that was reset ends with the reason") {
  Connected connected;
  SUBCASE("seen by reading") {
    connected.peer().Reset();
    REQUIRE(connected.loop.RunUntil([&] { return !connected.owner.ended.empty(); }));
    CHECK(connected.owner.ended == "ECONNRESET: connection reset by peer");
  }
  SUBCASE("seen by writing") {
    connected.stream().PauseReading();
    connected.peer().Reset();
    connected.stream().Write("x");
    REQUIRE(connected.loop.RunUntil([&] { return !connected.owner.ended.empty(); }));
    CHECK(connected.owner.ended.starts_with("write: E"));
  }
}

TEST_CASE("the peer of a stream that was reset is unknown") {
  Connected connected;
  connected.stream().PauseReading();
  connected.peer().Reset();
  CHECK(connected.stream().peer().ToString() == "unknown");
}

TEST_CASE("a stream that is let go of closes at once, and what was queued is not sent") {
  Connected connected;
  connected.stream().Write("never");
  connected.owner.stream.reset();
  REQUIRE(connected.loop.RunUntil([&] { return connected.peer().AtEnd(); }));
}

TEST_CASE("a stream may be let go of in each of its own callbacks") {
  SUBCASE("of bytes") {
    Connected connected;
    connected.owner.on_bytes = [&] {
      connected.stream().Write("x");
      connected.owner.stream.reset();
    };
    connected.peer().Send("x");
    REQUIRE(connected.loop.RunUntil([&] { return connected.owner.reads == 1; }));
  }
  SUBCASE("of the end") {
    Connected connected;
    connected.owner.on_end = [&] { connected.owner.stream.reset(); };
    connected.peer().Close();
    REQUIRE(connected.loop.RunUntil([&] { return !connected.owner.ended.empty(); }));
  }
  SUBCASE("of room, while bytes have come as well") {
    Connected connected;
    connected.owner.on_drained = [&] { connected.owner.stream.reset(); };
    connected.stream().NotifyWhenDrained();
    connected.peer().Send("x");
    REQUIRE(connected.loop.RunUntil([&] { return connected.owner.drained == 1; }));
    CHECK(connected.owner.reads == 0);
  }
  SUBCASE("of a failed write") {
    Connected connected;
    connected.stream().PauseReading();
    connected.stream().NotifyWhenDrained();
    connected.owner.on_end = [&] { connected.owner.stream.reset(); };
    connected.peer().Reset();
    connected.stream().Write("x");
    REQUIRE(connected.loop.RunUntil([&] { return !connected.owner.ended.empty(); }));
  }
}

TEST_CASE("a stream may be let go of in another's callback of the same turn") {
  TestLoop loop;
  SocketPair first;
  SocketPair second;
  Owner a(Stream::Adopt(loop, first.descriptor));
  Owner b(Stream::Adopt(loop, second.descriptor));
  a.on_bytes = [&] { b.stream.reset(); };
  b.on_bytes = [&] { a.stream.reset(); };
  first.peer.Send("x");
  second.peer.Send("x");
  REQUIRE(loop.RunUntil([&] { return a.reads + b.reads > 0; }));
  for (int i = 0; i < 5; ++i) loop.Turn();
  CHECK(a.reads + b.reads == 1);
}

TEST_CASE("an owner and its stream may go together in a callback") {
  TestLoop loop;
  SocketPair pair;
  auto owner = std::make_unique<Owner>(Stream::Adopt(loop, pair.descriptor));
  owner->on_bytes = [&] { loop->DeleteLater(std::shared_ptr<Owner>(std::move(owner))); };
  pair.peer.Send("x");
  REQUIRE(loop.RunUntil([&] { return owner == nullptr && pair.peer.AtEnd(); }));
}

// A socket that is bound, so that nobody else has its port.
class Bound {
 public:
  explicit Bound(const std::string& host) : descriptor_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    const Address address = *Address::Parse(host, 0);
    REQUIRE(bind(descriptor_, address.get(), address.length()) == 0);
  }
  ~Bound() { close(descriptor_); }
  void Listen() { REQUIRE(listen(descriptor_, 8) == 0); }
  Peer Accept() {
    const int accepted = accept(descriptor_, nullptr, nullptr);
    REQUIRE(accepted >= 0);
    return Peer(accepted);
  }
  Address address() const {
    sockaddr_storage storage{};
    socklen_t length = sizeof(storage);
    REQUIRE(getsockname(descriptor_, reinterpret_cast<sockaddr*>(&storage), &length) == 0);
    return {reinterpret_cast<const sockaddr*>(&storage), length};
  }

 private:
  int descriptor_;
};

TEST_CASE("an outgoing connection says when it is there") {
  TestLoop loop;
  Bound server("127.0.0.1");
  server.Listen();
  auto stream = Stream::Connect(loop, server.address());
  REQUIRE(stream);
  Owner owner(std::move(*stream));
  owner.stream->Write("early ");
  owner.on_connected = [&] { owner.stream->Write("late"); };
  REQUIRE(loop.RunUntil([&] { return owner.connected == 1; }));
  Peer peer = server.Accept();
  CHECK(owner.stream->peer().ToString() == server.address().ToString());
  std::string received;
  REQUIRE(loop.RunUntil([&] { return (received += peer.Receive()).size() == 10; }));
  CHECK(received == "early late");
  peer.Send("answer");
  REQUIRE(loop.RunUntil([&] { return owner.received == "answer"; }));
  CHECK(owner.connected == 1);
}

TEST_CASE("an outgoing connection notices a peer that is gone, as an accepted one does") {
  TestLoop loop;
  Bound server("127.0.0.1");
  server.Listen();
  const int descriptor = dup(STDIN_FILENO);  // the next one to be opened gets its number
  close(descriptor);
  const auto stream = Stream::Connect(loop, server.address());
  REQUIRE(stream);
  const auto option = [descriptor](int level, int name) {
    int value = -1;
    socklen_t length = sizeof(value);
    REQUIRE(getsockopt(descriptor, level, name, &value, &length) == 0);
    return value;
  };
  CHECK(option(IPPROTO_TCP, TCP_NODELAY) == 1);
  CHECK(option(SOL_SOCKET, SO_KEEPALIVE) == 1);
  CHECK(option(IPPROTO_TCP, TCP_KEEPIDLE) == 60);
  CHECK(option(IPPROTO_TCP, TCP_USER_TIMEOUT) == 90'000);
}

TEST_CASE("a connection that is refused ends with the reason") {
  TestLoop loop;
  const Bound server("127.0.0.1");  // does not listen
  auto stream = Stream::Connect(loop, server.address());
  REQUIRE(stream);
  Owner owner(std::move(*stream));
  owner.stream->Write("never");
  REQUIRE(loop.RunUntil([&] { return !owner.ended.empty(); }));
  CHECK(owner.ended == "connect: ECONNREFUSED: connection refused");
  CHECK(owner.connected == 0);
}

TEST_CASE("a connection that cannot be begun is an error") {
  TestLoop loop;
  const auto stream = Stream::Connect(loop, Address());
  REQUIRE_FALSE(stream);
  CHECK(stream.error().text.starts_with("socket: E"));
}

TEST_CASE("an outgoing stream may be let go of before it is connected, and when it is") {
  TestLoop loop;
  Bound server("127.0.0.1");
  server.Listen();
  auto stream = Stream::Connect(loop, server.address());
  REQUIRE(stream);
  Owner owner(std::move(*stream));
  SUBCASE("before") { owner.stream.reset(); }
  SUBCASE("when it is") {
    owner.stream->Write("x");
    owner.on_connected = [&] { owner.stream.reset(); };
    REQUIRE(loop.RunUntil([&] { return owner.connected == 1; }));
  }
  Peer peer = server.Accept();
  REQUIRE(loop.RunUntil([&] { return peer.AtEnd(); }));
}

TEST_CASE("a stream that lingers sends what is queued, then ends, and is gone when the peer is") {
  Connected connected(16 * 1024);
  const std::string sent = Long(1'000'000);
  connected.stream().Write(sent);
  connected.loop->Linger(std::move(connected.owner.stream), seconds(60));
  CHECK(connected.loop->lingering() == 1);
  CHECK(connected.ReceiveAtPeer(sent.size()) == sent);
  REQUIRE(connected.loop.RunUntil([&] { return connected.peer().AtEnd(); }));
  CHECK(connected.loop->lingering() == 1);

  SUBCASE("in good order") { connected.peer().Close(); }
  SUBCASE("or not") { connected.peer().Reset(); }
  REQUIRE(connected.loop.RunUntil([&] { return connected.loop->lingering() == 0; }));
  CHECK(connected.owner.reads == 0);
}

TEST_CASE("a stream that lingers reads and drops, so that the peer is not reset before it has seen the answer") {
  Connected connected(16 * 1024);
  connected.stream().PauseReading();
  std::size_t sent = connected.peer().Send(Long(300'000));
  connected.stream().Write("the answer");
  connected.loop->Linger(std::move(connected.owner.stream), seconds(60));
  REQUIRE(connected.loop.RunUntil([&] {
    sent += connected.peer().Send(Long(1000));
    return sent > 600'000;
  }));
  CHECK(connected.ReceiveAtPeer(10) == "the answer");
  CHECK(connected.peer().Error() == 0);
  REQUIRE(connected.loop.RunUntil([&] { return connected.peer().AtEnd(); }));
}

TEST_CASE("a stream that lingers does not read a peer for ever that does nothing but send") {
  Connected connected;
  connected.loop->Linger(std::move(connected.owner.stream), seconds(60));
  const std::string bytes = Long(100'000);
  std::size_t sent = 0;
  int stuck = 0;
  REQUIRE(connected.loop.RunUntil([&] {
    const std::size_t now = connected.peer().Send(bytes);
    sent += now;
    stuck = now == 0 ? stuck + 1 : 0;
    return stuck == 100 || sent > 64 * 1024 * 1024;
  }));
  CHECK(sent > 16 * 1024 * 1024);
  CHECK(sent < 32 * 1024 * 1024);  // the kernel's buffers take some more
  CHECK(connected.loop->lingering() == 1);
}

TEST_CASE("a stream lingers no longer than its limit") {
  Connected connected;
  const Time begun = Now();
  connected.loop->Linger(std::move(connected.owner.stream), milliseconds(100));
  REQUIRE(connected.loop.RunUntil([&] { return connected.loop->lingering() == 0; }));
  CHECK(Now() - begun >= milliseconds(100));
  CHECK(Now() - begun < seconds(5));
}

TEST_CASE("of many that linger each goes in its own time") {
  TestLoop loop;
  std::vector<std::unique_ptr<SocketPair>> pairs;
  for (int i = 0; i < 20; ++i) {
    pairs.push_back(std::make_unique<SocketPair>());
    loop->Linger(Stream::Adopt(loop, pairs.back()->descriptor), i % 3 == 0 ? milliseconds(1) : seconds(60));
  }
  CHECK(loop->lingering() == 20);
  for (int i = 0; i < 20; ++i) {
    if (i % 3 == 1) pairs[i]->peer.Close();
  }
  REQUIRE(loop.RunUntil([&] { return loop->lingering() == 6; }));
  for (int i = 0; i < 20; ++i) pairs[i]->peer.Close();
  REQUIRE(loop.RunUntil([&] { return loop->lingering() == 0; }));
}

TEST_CASE("a loop can end while streams linger") {
  Connected connected;
  connected.stream().Write("x");
  connected.loop->Linger(std::move(connected.owner.stream), seconds(60));
}

// With 10,000 clients that left at once, this ended the process.
TEST_CASE("a stream whose deadline and end fall into one turn leaves once") {
  Connected connected;
  connected.owner.half_close = true;
  connected.peer().CloseWrite();
  REQUIRE(connected.loop.RunUntil([&] { return connected.owner.read_ended; }));
  // The loop looks at deadlines each 250 ms from the first on. Right before it does, in the same turn, another comes.
  Timer timer(connected.loop, [&] {
    connected.stream().Write("x");
    connected.loop->Linger(std::move(connected.owner.stream), Duration::zero());
  });
  timer.Start(milliseconds(250));
  SocketPair other;
  connected.loop->Linger(Stream::Adopt(connected.loop, other.descriptor), seconds(60));
  REQUIRE(connected.loop.RunUntil([&] { return connected.owner.stream == nullptr; }));
  CHECK(connected.ReceiveAtPeer(1) == "x");
  REQUIRE(connected.loop.RunUntil([&] { return connected.peer().AtEnd(); }));
  CHECK(connected.loop->lingering() == 1);
}

TEST_CASE("a stream that has nothing left to wait for does not linger") {
  Connected connected;
  connected.owner.half_close = true;
  connected.peer().CloseWrite();
  REQUIRE(connected.loop.RunUntil([&] { return connected.owner.read_ended; }));
  connected.stream().Write("answer");
  connected.loop->Linger(std::move(connected.owner.stream), seconds(60));
  CHECK(connected.ReceiveAtPeer(6) == "answer");
  REQUIRE(connected.loop.RunUntil([&] { return connected.peer().AtEnd(); }));
  CHECK(connected.loop.RunUntil([&] { return connected.loop->lingering() == 0; }, milliseconds(500)));
}

TEST_CASE("streams that yield share a part of each turn, and each is heard before another is heard again") {
  TestLoop loop;
  struct Busy {
    explicit Busy(Loop& l) : owner(Stream::Adopt(l, pair.descriptor)) {}
    SocketPair pair;
    Owner owner;
  };
  std::vector<std::unique_ptr<Busy>> all;
  std::vector<int> order;
  for (int i = 0; i < 10; ++i) {
    all.push_back(std::make_unique<Busy>(loop));
    Busy& busy = *all.back();
    busy.owner.stream->Yield();
    busy.owner.on_bytes = [&order, i] {
      order.push_back(i);
      for (const Time until = Now() + milliseconds(1); Now() < until;) continue;
    };
    busy.pair.peer.Send(Long(1'000'000));  // many reads
  }
  SocketPair pair;
  Owner first(Stream::Adopt(loop, pair.descriptor));
  std::vector<std::size_t> heard;  // how many of the busy were heard before each of its bytes
  first.on_bytes = [&] {
    heard.push_back(order.size());
    if (heard.size() < 5) pair.peer.Send("x");
  };
  pair.peer.Send("x");
  REQUIRE(loop.RunUntil([&] { return heard.size() == 5 && order.size() >= 40; }));
  // Of those that take a millisecond each, a few have room in a turn, and it is heard in every turn.
  for (std::size_t i = 1; i < heard.size(); ++i) CHECK(heard[i] - heard[i - 1] <= 4);
  // In ten reads in a row that begin a round, each was heard once.
  for (std::size_t round = 0; round < 4; ++round) {
    std::vector<int> ten(order.begin() + static_cast<std::ptrdiff_t>(round * 10),
                         order.begin() + static_cast<std::ptrdiff_t>(round * 10 + 10));
    std::sort(ten.begin(), ten.end());
    CHECK(ten == std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  }
}

TEST_CASE("while streams that yield wait, all is heard until then and no further") {
  TestLoop loop;
  struct Busy {
    explicit Busy(Loop& l) : owner(Stream::Adopt(l, pair.descriptor)) {}
    SocketPair pair;
    Owner owner;
    Time sent{};
  };
  Time turn_ended = Now();
  Duration longest_turn{};
  loop->SetTurnEnd([&] { longest_turn = std::max(longest_turn, Now() - std::exchange(turn_ended, Now())); });
  std::vector<std::unique_ptr<Busy>> all;
  std::vector<Duration> waited, until;  // of each read: since it was sent, and since all is heard
  for (int i = 0; i < 10; ++i) {
    all.push_back(std::make_unique<Busy>(loop));
    Busy& busy = *all.back();
    busy.owner.stream->Yield();
    busy.owner.on_bytes = [&] {
      waited.push_back(Now() - busy.sent);
      until.push_back(Now() - loop->heard_until());
      // A turn has room for a few that take a millisecond each.
      for (const Time end = Now() + milliseconds(1); Now() < end;) continue;
      if (waited.size() > 50) return;
      busy.sent = Now();
      busy.pair.peer.Send("again");
    };
  }
  const Time begun = Now();
  CHECK(loop->heard_until() >= begun);
  for (auto& busy : all) {
    busy->sent = Now();
    busy->pair.peer.Send("x");
  }
  REQUIRE(loop.RunUntil([&] { return waited.size() == 60; }));
  for (std::size_t i = 0; i < 60; ++i) CHECK(waited[i] <= until[i] + longest_turn);
  CHECK(*std::max_element(waited.begin(), waited.end()) > longest_turn);
  const Time caught_up = Now();
  loop.RunFor(milliseconds(10));
  CHECK(loop->heard_until() >= caught_up);
  loop->SetTurnEnd(nullptr);
}

}  // namespace
}  // namespace aphlict::net
