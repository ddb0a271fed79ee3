#include "common/net/loop.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/net/stream.h"
#include "common/net/timer.h"
#include "tests/unit/support/loop.h"

namespace aphlict::net {
namespace {

using testing::Peer;
using testing::SocketPair;
using testing::TestLoop;

// What happens, in order: "read a, end".
class Diary {
 public:
  void Write(const std::string& what) { text_ += (text_.empty() ? "" : ", ") + what; }
  const std::string& text() const { return text_; }
  bool Has(const std::string& what) const { return text_.find(what) != std::string::npos; }
  void Clear() { text_.clear(); }

 private:
  std::string text_;
};

// A stream that writes down what it reads.
class Reader : public StreamHandler {
 public:
  Reader(Loop& loop, std::string name, Diary& diary, int descriptor)
      : stream(Stream::Adopt(loop, descriptor)), name_(std::move(name)), diary_(diary) {
    stream->SetHandler(this);
  }
  void OnBytes(std::string_view bytes) override {
    diary_.Write("read " + name_);
    if (on_bytes) on_bytes(bytes);
  }
  void OnEnd(const std::string& reason) override {
    diary_.Write("end of " + name_ + ": " + reason);
    stream.reset();
    if (on_end) on_end();
  }

  StreamPtr stream;
  std::function<void(std::string_view)> on_bytes;
  std::function<void()> on_end;

 private:
  std::string name_;
  Diary& diary_;
};

// A pair of sockets that keep the boundaries of writes: each is received as one piece.
struct Pieces {
  Pieces() {
    int ends[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) == 0);
    descriptor = ends[0];
    other = ends[1];
  }
  ~Pieces() { close(other); }
  // "ab|c": what came, a write between two bars; empty when nothing did.
  std::string Received() {
    std::string text;
    char buffer[65'536];
    for (ssize_t got; (got = recv(other, buffer, sizeof(buffer), 0)) > 0;) {
      text += (text.empty() ? "" : "|") + std::string(buffer, static_cast<std::size_t>(got));
    }
    return text;
  }
  void Send(std::string_view bytes) {
    REQUIRE(send(other, bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()));
  }
  int descriptor;
  int other;
};

TEST_CASE("a turn reads all input, then ends, then writes") {
  TestLoop loop;
  Diary diary;
  Pieces first;
  Pieces second;
  Reader a(loop, "a", diary, first.descriptor);
  Reader b(loop, "b", diary, second.descriptor);
  a.on_bytes = [&](auto) { b.stream->Write("from a "); };
  b.on_bytes = [&](auto) { b.stream->Write("from b "); };
  loop->SetTurnEnd([&] {
    if (!diary.Has("read a") || diary.Has("turn's end")) return;
    diary.Write("turn's end");
    CHECK(second.Received() == "");
    b.stream->Write("from the turn's end");
  });
  first.Send("x");
  second.Send("x");
  REQUIRE(loop.RunUntil([&] { return diary.Has("turn's end"); }));
  const bool in_order = diary.text() == "read a, read b, turn's end" || diary.text() == "read b, read a, turn's end";
  CHECK(in_order);

  const std::string received = second.Received();
  CAPTURE(received);
  // One gathered write, whatever was queued by whom.
  CHECK(received.find('|') == std::string::npos);
  CHECK(received.ends_with("from the turn's end"));
  CHECK(received.size() == std::string("from a from b from the turn's end").size());
}

TEST_CASE("turns in which something happens are counted, with the time that they took") {
  TestLoop loop;
  Diary diary;
  Pieces pieces;
  Reader reader(loop, "a", diary, pieces.descriptor);
  const Histogram& turns = loop->counters().turns;
  loop.Turn();
  const std::uint64_t before = turns.count();
  const std::uint64_t before_us = turns.sum();

  SUBCASE("from the first that is read") {
    reader.on_bytes = [&](auto) {
      const Time until = Now() + milliseconds(12);
      while (Now() < until) continue;
    };
    pieces.Send("x");
    loop.Turn();
    CHECK(diary.Has("read a"));
    CHECK(turns.count() == before + 1);
    CHECK(turns.sum() - before_us >= 12'000);
    CHECK(loop->last_written() <= Now());
    CHECK(Now() - loop->last_written() < seconds(1));
  }
  SUBCASE("and what waits is not in it") {
    loop.Turn();
    usleep(12'000);
    pieces.Send("x");
    loop.Turn();
    CHECK(turns.count() == before + 1);
    CHECK(turns.sum() - before_us < 12'000);
  }
  SUBCASE("and what a turn leaves for the next belongs to that one") {
    int again = 3;
    loop->SetTurnEnd([&] {
      if (diary.Has("read a") && again-- > 0) loop->TurnAgain();
    });
    pieces.Send("x");
    for (int i = 0; i < 4; ++i) loop.Turn();
    CHECK(turns.count() == before + 4);
    loop.Turn();
    CHECK(turns.count() == before + 4);
    loop->SetTurnEnd(nullptr);
  }
}

TEST_CASE("what a timer queues leaves before the loop sleeps") {
  TestLoop loop;
  Diary diary;
  Pieces pieces;
  Reader reader(loop, "a", diary, pieces.descriptor);
  Timer timer(loop, [&] {
    reader.stream->Write("1");
    reader.stream->Write("2");
  });
  timer.Start(milliseconds(1));
  std::string received;
  REQUIRE(loop.RunUntil([&] { return !(received += pieces.Received()).empty(); }));
  CHECK(received == "12");
}

TEST_CASE("the work at a turn's end is done at least once a turn") {
  TestLoop loop;
  int ends = 0;
  loop->SetTurnEnd([&] { ++ends; });
  for (int turn = 0; turn < 5; ++turn) {
    const int before = ends;
    loop.Turn();
    CHECK(ends > before);
  }
}

TEST_CASE("a turn's end that asks for another turn does not wait for input") {
  TestLoop loop;
  int left = 100;
  int ends = 0;
  loop->SetTurnEnd([&] {
    ++ends;
    if (--left > 0) loop->TurnAgain();
  });
  Timer much_later(loop, [] {});
  much_later.Start(std::chrono::hours(1));
  REQUIRE(loop.RunUntil([&] { return left <= 0; }));
  CHECK(ends >= 100);

  SUBCASE("and sleeps when none is wanted") {
    ends = 0;
    Timer later(loop, [&] { loop->Stop(); });
    later.Start(milliseconds(100));
    loop->Run();
    CHECK(ends <= 10);
  }
}

TEST_CASE("a stream that fails at a turn's end lets others write in the same turn") {
  TestLoop loop;
  Diary diary;
  Pieces broken;
  Pieces whole;
  Reader a(loop, "a", diary, broken.descriptor);
  Reader b(loop, "b", diary, whole.descriptor);
  a.on_end = [&] { b.stream->Write("a is gone"); };
  a.stream->PauseReading();  // so that the write is what fails
  close(broken.other);
  broken.other = open("/dev/null", O_RDONLY | O_CLOEXEC);
  a.stream->Write("x");
  loop.Turn();
  CHECK(diary.text() == "end of a: write: EPIPE: broken pipe");
  CHECK(whole.Received() == "a is gone");
}

TEST_CASE("a stream that is closed by another's failure is left out") {
  TestLoop loop;
  Diary diary;
  Pieces broken;
  Pieces other;
  Reader a(loop, "a", diary, broken.descriptor);
  Reader b(loop, "b", diary, other.descriptor);
  a.on_end = [&] { b.stream.reset(); };
  a.stream->PauseReading();
  close(broken.other);
  broken.other = open("/dev/null", O_RDONLY | O_CLOEXEC);
  a.stream->Write("x");
  b.stream->Write("x");
  loop.Turn();
  CHECK(diary.text() == "end of a: write: EPIPE: broken pipe");
  CHECK(other.Received() == "");
}

TEST_CASE("what is to be deleted later lives to the end of the turn") {
  TestLoop loop;
  Diary diary;
  Pieces pieces;
  Reader reader(loop, "a", diary, pieces.descriptor);
  auto object = std::make_shared<int>(7);
  const std::weak_ptr<int> watched = object;
  reader.on_bytes = [&](auto) {
    loop->DeleteLater(std::move(object));
    CHECK_FALSE(watched.expired());
  };
  loop->SetTurnEnd([&] {
    if (diary.Has("read a") && !diary.Has("turn's end")) {
      diary.Write("turn's end");
      CHECK_FALSE(watched.expired());
    }
  });
  pieces.Send("x");
  REQUIRE(loop.RunUntil([&] { return diary.Has("turn's end"); }));
  CHECK(watched.expired());
}

TEST_CASE("a loop runs until it is stopped, or until nothing is left") {
  TestLoop loop;
  SUBCASE("nothing is left") {
    int fired = 0;
    Timer timer(loop, [&] { ++fired; });
    timer.Start(milliseconds(1));
    loop->Run();
    CHECK(fired == 1);
  }
  SUBCASE("stopped") {
    int fired = 0;
    Timer timer(loop, [&] {
      if (++fired == 3) loop->Stop();
    });
    timer.Start(milliseconds(1), milliseconds(1));
    loop->Run();
    CHECK(fired == 3);
  }
}

TEST_CASE("a loop that is to become idle says whether it did in time") {
  TestLoop loop;
  CHECK(loop->RunUntilIdle(seconds(20)));
  Diary diary;
  SocketPair pair;
  Reader reader(loop, "a", diary, pair.descriptor);
  CHECK_FALSE(loop->RunUntilIdle(milliseconds(50)));
  pair.peer.Close();
  CHECK(loop->RunUntilIdle(seconds(20)));
  CHECK(diary.text() == "end of a: end of stream");
}

TEST_CASE("a signal is told while somebody watches it") {
  TestLoop loop;
  int usr1 = 0;
  int usr2 = 0;
  const SignalWatcher first(loop, SIGUSR1, [&] { ++usr1; });
  std::unique_ptr<SignalWatcher> second;
  second = std::make_unique<SignalWatcher>(loop, SIGUSR2, [&] {
    ++usr2;
    second.reset();
  });
  raise(SIGUSR1);
  raise(SIGUSR2);
  REQUIRE(loop.RunUntil([&] { return usr1 == 1 && usr2 == 1; }));
  raise(SIGUSR1);
  REQUIRE(loop.RunUntil([&] { return usr1 == 2; }));
  CHECK(usr2 == 1);
  CHECK(loop->RunUntilIdle(seconds(20)));  // a watcher keeps nobody waiting
}

// The status with which a child ends that runs `work`.
template <class Work>
int StatusOfChild(Work work) {
  const pid_t child = fork();
  if (child == 0) {
    const rlimit no_core{0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
    std::signal(SIGABRT, SIG_DFL);
    work();
    _exit(0);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  return status;
}

TEST_CASE("a loop whose handles are not all closed aborts at its end") {
  const auto leak_idle_timer = [](Loop& loop) { new Timer(loop, [] {}); };
  const auto leak_timer = [](Loop& loop) {
    (new Timer(loop, [] {}))->Start(seconds(3600));  // does not keep the process that long
  };
  const auto leak_watcher = [](Loop& loop) { new SignalWatcher(loop, SIGUSR1, [] {}); };
  for (const std::function<void(Loop&)>& leak :
       {std::function<void(Loop&)>(leak_timer), {leak_idle_timer}, {leak_watcher}}) {
    const int leaked = StatusOfChild([&leak] {
      alarm(20);
      Loop loop;
      leak(loop);
    });
    CHECK(WIFSIGNALED(leaked));
    CHECK(WTERMSIG(leaked) == SIGABRT);
  }
  const int clean = StatusOfChild([] {
    Loop loop;
    const Timer timer(loop, [] {});
  });
  CHECK(WIFEXITED(clean));
  CHECK(WEXITSTATUS(clean) == 0);
}

TEST_CASE("an error has its name and its words") {
  CHECK(ErrorText(ECONNREFUSED) == "ECONNREFUSED: connection refused");
  CHECK(ErrorText(EMFILE) == "EMFILE: too many open files");
}

}  // namespace
}  // namespace aphlict::net
