#include "common/commands/repeats.h"

#include <doctest/doctest.h>

#include <string>

namespace aphlict::commands {
namespace {

constexpr char kText[] = R"({"subscribers":["P"]})";

std::string WithId(const std::string& id, int n = 0) {
  return "{\"n\":" + std::to_string(n) + ",\"uniqueID\":\"" + id + "\"}";
}

// A page whose messages come at moments that the test picks.
struct Page {
  Repeats repeats;
  Time now = Time(seconds(1000));

  bool Shows(const std::string& message) { return !repeats.IsRepeat(message, now); }
  void ConnectAgain(Duration back) { repeats.BeginReplay(now - back, now); }
  void Wait(Duration time) { now += time; }
};

TEST_CASE("what comes on one connection is new, also what is equal") {
  Page page;
  for (int i = 0; i < 3; ++i) {
    CHECK(page.Shows(kText));
    CHECK(page.Shows(WithId("a")));
  }
}

TEST_CASE("a replay brings again what an earlier connection brought, as often as it did") {
  Page page;
  CHECK(page.Shows(kText));
  CHECK(page.Shows(kText));
  CHECK(page.Shows(WithId("a")));
  page.ConnectAgain(seconds(5));
  CHECK(!page.Shows(kText));
  CHECK(!page.Shows(kText));
  CHECK(page.Shows(kText));  // published while nobody listened
  CHECK(!page.Shows(WithId("a", 7)));
  CHECK(!page.Shows(WithId("a")));
  CHECK(page.Shows(WithId("b")));
  SUBCASE("also the one after the next") {
    page.ConnectAgain(seconds(5));
    for (int i = 0; i < 3; ++i) CHECK(!page.Shows(kText));
    CHECK(page.Shows(kText));
    CHECK(!page.Shows(WithId("b")));
  }
}

TEST_CASE("a text that came before the replay's begin is another message") {
  Page page;
  CHECK(page.Shows(kText));
  CHECK(page.Shows(WithId("a")));
  page.Wait(seconds(10));
  page.ConnectAgain(seconds(5));
  CHECK(page.Shows(kText));
  CHECK(!page.Shows(WithId("a")));
}

TEST_CASE("a text that comes long after the replay is another message") {
  Page page;
  CHECK(page.Shows(kText));
  page.ConnectAgain(seconds(5));
  page.Wait(seconds(11));
  CHECK(page.Shows(kText));
}

TEST_CASE("what is remembered has a bound, and an age") {
  Page page;
  for (int i = 0; i < 100'001; ++i) CHECK(page.Shows(std::to_string(i)));
  CHECK(page.repeats.size() == 100'000);
  page.Wait(seconds(121));
  CHECK(page.Shows(kText));
  CHECK(page.repeats.size() == 1);
}

}  // namespace
}  // namespace aphlict::commands
