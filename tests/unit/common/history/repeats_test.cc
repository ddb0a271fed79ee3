#include "common/history/repeats.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "tests/unit/support/messages.h"

namespace aphlict::history {
namespace {

using testing::At;

class ByName : public Repeats {
 public:
  using Repeats::Repeats;
  bool Seen(std::string_view instance, std::string_view unique_id, Time now) {
    return Repeats::Seen(KeyOf(instance, unique_id), now);
  }
  void Forget(std::string_view instance, std::string_view unique_id) { Repeats::Forget(KeyOf(instance, unique_id)); }
};

TEST_CASE("the second of two messages with one uniqueID is a repeat") {
  ByName repeats;
  CHECK_FALSE(repeats.Seen("dog", "u1", At(0)));
  CHECK(repeats.Seen("dog", "u1", At(1)));
  CHECK(repeats.Seen("dog", "u1", At(2)));
  CHECK_FALSE(repeats.Seen("dog", "u2", At(3)));
  CHECK(repeats.size() == 2);

  SUBCASE("but not in another instance") {
    CHECK_FALSE(repeats.Seen("cat", "u1", At(4)));
    CHECK(repeats.Seen("cat", "u1", At(5)));
  }
}

TEST_CASE("a message without a uniqueID is never a repeat") {
  ByName repeats;
  CHECK_FALSE(repeats.Seen("dog", "", At(0)));
  CHECK_FALSE(repeats.Seen("dog", "", At(0)));
  CHECK(repeats.size() == 0);
  repeats.Forget("dog", "");
}

TEST_CASE("instance and uniqueID are told apart, not run together") {
  ByName repeats;
  CHECK_FALSE(repeats.Seen("a", "bc", At(0)));
  CHECK_FALSE(repeats.Seen("ab", "c", At(0)));
  CHECK_FALSE(repeats.Seen("", "abc", At(0)));
  CHECK_FALSE(repeats.Seen("a", std::string("b\0c", 3), At(0)));
  CHECK(repeats.Seen("a", "bc", At(0)));
  CHECK(repeats.size() == 4);
}

TEST_CASE("a uniqueID is forgotten after the age, counted from when it was first seen") {
  ByName repeats(seconds(120));
  CHECK_FALSE(repeats.Seen("dog", "u", At(0)));
  CHECK(repeats.Seen("dog", "u", At(119'000)));
  CHECK(repeats.Seen("dog", "u", At(120'000)));
  CHECK_FALSE(repeats.Seen("dog", "u", At(120'001)));
  CHECK(repeats.Seen("dog", "u", At(240'000)));

  SUBCASE("and gives its room back") {
    for (int i = 0; i < 100; ++i) repeats.Seen("dog", std::to_string(i), At(240'000));
    CHECK(repeats.size() == 101);
    repeats.Seen("dog", "last", At(1'000'000));
    CHECK(repeats.size() == 1);
  }
}

TEST_CASE("past the bound, the oldest is forgotten") {
  ByName repeats(seconds(120), 3);
  for (const char* id : {"a", "b", "c", "d"}) CHECK_FALSE(repeats.Seen("dog", id, At(0)));
  CHECK(repeats.size() == 3);
  CHECK(repeats.Seen("dog", "d", At(1)));
  CHECK_FALSE(repeats.Seen("dog", "a", At(1)));
  CHECK(repeats.size() <= 3);
}

// Enough of them, coming and going, that places in the set are shared, given up and taken again.
TEST_CASE("of many that come and go, exactly those of the age are remembered") {
  constexpr int kRemembered = 3000;  // ms, of which each has one
  ByName repeats{milliseconds(kRemembered)};
  for (int i = 0; i < 20'000; ++i) {
    REQUIRE_FALSE(repeats.Seen("dog", std::to_string(i), At(i)));
    const int some = i - i * 7919 % kRemembered;
    if (some >= 0) REQUIRE(repeats.Seen("dog", std::to_string(some), At(i)));
    REQUIRE(repeats.size() == static_cast<std::size_t>(std::min(i, kRemembered) + 1));
  }
  for (int i = 20'000 - kRemembered; i < 20'000; ++i) REQUIRE(repeats.Seen("dog", std::to_string(i), At(19'999)));
  CHECK_FALSE(repeats.Seen("dog", "0", At(19'999)));
}

TEST_CASE("a repeat of the oldest is told although the set is full") {
  ByName repeats(seconds(120), 3);
  for (const char* id : {"a", "b", "c"}) repeats.Seen("dog", id, At(0));
  CHECK(repeats.Seen("dog", "a", At(1)));
}

TEST_CASE("what came to nothing can be taken back, and is no repeat when it is tried again") {
  ByName repeats;
  for (const char* id : {"a", "b", "c"}) repeats.Seen("dog", id, At(0));
  repeats.Forget("dog", "b");
  CHECK(repeats.size() == 2);
  CHECK(repeats.Seen("dog", "a", At(1)));
  CHECK(repeats.Seen("dog", "c", At(1)));
  CHECK_FALSE(repeats.Seen("dog", "b", At(60'000)));

  SUBCASE("with an age of its own") {
    CHECK(repeats.Seen("dog", "b", At(150'000)));
    CHECK_FALSE(repeats.Seen("dog", "a", At(150'000)));
  }
  SUBCASE("and what is not there stays so") {
    repeats.Forget("cat", "a");
    repeats.Forget("dog", "z");
    CHECK(repeats.size() == 3);
  }
}

}  // namespace
}  // namespace aphlict::history
