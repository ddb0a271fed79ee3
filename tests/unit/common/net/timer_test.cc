#include "common/net/timer.h"

#include <doctest/doctest.h>
#include <uv.h>

#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "common/net/loop.h"
#include "common/net/stream.h"
#include "tests/unit/support/loop.h"

namespace aphlict::net {
namespace {

using testing::TestLoop;

TEST_CASE("a timer fires once, or again and again") {
  TestLoop loop;
  int fired = 0;
  Timer timer(loop, [&] { ++fired; });
  CHECK_FALSE(timer.active());
  SUBCASE("once") {
    timer.Start(milliseconds(1));
    CHECK(timer.active());
    loop->Run();
    CHECK(fired == 1);
    CHECK_FALSE(timer.active());
  }
  SUBCASE("again and again") {
    timer.Start(Duration::zero(), milliseconds(1));
    REQUIRE(loop.RunUntil([&] { return fired >= 3; }));
    timer.Stop();
    CHECK_FALSE(timer.active());
    fired = 0;
    loop->Run();
    CHECK(fired == 0);
  }
  SUBCASE("not before its time, and anew when it is started anew") {
    const Time started = Now();
    timer.Start(milliseconds(1));
    timer.Start(milliseconds(60));
    loop->Run();
    CHECK(fired == 1);
    CHECK(Now() - started >= milliseconds(59));
  }
  SUBCASE("unless the loop has nothing else to wait for") {
    timer.Unref();
    timer.Start(milliseconds(1));
    loop->Run();
    CHECK(fired == 0);
  }
}

TEST_CASE("a timer may be destroyed by its own work") {
  TestLoop loop;
  int fired = 0;
  std::unique_ptr<Timer> timer;
  timer = std::make_unique<Timer>(loop, [&] {
    timer.reset();
    ++fired;
  });
  timer->Start(milliseconds(1), milliseconds(1));
  loop->Run();
  CHECK(fired == 1);
}

TEST_CASE("timers fire in the order in which they are due, those of one time as they were started") {
  TestLoop loop;
  std::string fired;
  std::vector<std::unique_ptr<Timer>> timers;
  const auto start = [&](const char* name, Duration delay) {
    timers.push_back(std::make_unique<Timer>(loop, [&fired, name] { fired += name; }));
    timers.back()->Start(delay);
  };
  start("d", milliseconds(5));
  start("c", milliseconds(3));
  start("a", Duration::zero());
  start("b", Duration(-1));
  start("x", milliseconds(4));
  timers.back()->Stop();
  loop->Run();
  CHECK(fired == "abcd");
}

TEST_CASE("a timer that starts itself anew without a delay leaves turns to others") {
  TestLoop loop;
  int fired = 0;
  Timer timer(loop, [&] {
    ++fired;
    timer.Start(Duration::zero());
  });
  timer.Start(Duration::zero());
  bool other = false;
  Timer late(loop, [&] { other = true; });
  late.Start(milliseconds(5));
  REQUIRE(loop.RunUntil([&] { return other; }));
  CHECK(fired > 1);
}

TEST_CASE("a timer that is due sooner than all others rings in its time") {
  TestLoop loop;
  Timer slow(loop, [] {});
  slow.Start(seconds(3600));
  bool started = false;
  int fired = 0;
  Timer quick(loop, [&] {
    ++fired;
    loop->Stop();
  });
  loop->SetTurnEnd([&] {
    if (!std::exchange(started, true)) quick.Start(milliseconds(2));
  });
  const Time begun = Now();
  loop->Run();
  CHECK(fired == 1);
  CHECK(Now() - begun < seconds(60));
}

// A history forgets what is old by a timer, and must not between a message's coming and its fan-out.
TEST_CASE("a timer that is due together with input fires once that input's turn has ended") {
  class Reader : public StreamHandler {
   public:
    Reader(Loop& loop, int descriptor, std::string& order) : stream(Stream::Adopt(loop, descriptor)), order_(order) {
      stream->SetHandler(this);
    }
    void OnBytes(std::string_view) override { order_ += "read "; }
    void OnEnd(const std::string&) override {}

    StreamPtr stream;

   private:
    std::string& order_;
  };
  for (const bool timer_first : {true, false}) {  // which the kernel says first
    CAPTURE(timer_first);
    TestLoop loop;
    std::string order;
    testing::SocketPair pair;
    Timer timer(loop, [&] { order += "timer "; });
    if (timer_first) timer.Start(milliseconds(20));
    loop.Turn();
    Reader reader(loop, pair.descriptor, order);
    loop.Turn();
    if (!timer_first) timer.Start(milliseconds(20));
    loop.Turn();
    if (timer_first) std::this_thread::sleep_for(milliseconds(30));
    pair.peer.Send("x");
    std::this_thread::sleep_for(milliseconds(30));
    loop->SetTurnEnd([&] {
      if (!order.empty() && !order.ends_with("end ")) order += "end ";
    });
    for (int i = 0; i < 3; ++i) loop.Turn();
    CHECK(order == "read end timer end ");
  }
}

// What a timer costs is paid when it rings, and not at each wait for input.
TEST_CASE("the loop waits without a timeout, whatever timers there are") {
  TestLoop loop;
  Timer timer(loop, [] {});
  timer.Start(milliseconds(500), milliseconds(500));
  loop.Turn();
  CHECK(uv_loop_alive(loop->uv()) != 0);
  CHECK(uv_backend_timeout(loop->uv()) == -1);
}

}  // namespace
}  // namespace aphlict::net
