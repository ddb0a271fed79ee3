#include "common/base/inline_vector.h"

#include <doctest/doctest.h>

#include <random>
#include <vector>

using aphlict::InlineVector;

namespace {

struct Pair {
  const void* pointer;
  int number;
};

}  // namespace

TEST_CASE("a vector of one takes no more room than a std::vector, and no allocation") {
  static_assert(sizeof(InlineVector<Pair>) <= sizeof(std::vector<Pair>));
  InlineVector<Pair> vector;
  CHECK(vector.empty());
  vector.push_back({&vector, 1});
  REQUIRE(vector.size() == 1);
  CHECK(vector[0].number == 1);
  const auto* inside = reinterpret_cast<const char*>(&vector[0]);
  CHECK(inside >= reinterpret_cast<const char*>(&vector));
  CHECK(inside < reinterpret_cast<const char*>(&vector + 1));
}

TEST_CASE("an element of its own can be appended while it grows") {
  InlineVector<int> vector;
  vector.push_back(7);
  for (int i = 0; i < 100; ++i) vector.push_back(vector[0]);
  CHECK(vector.size() == 101);
  CHECK(vector.back() == 7);
}

TEST_CASE("it holds what a std::vector holds, whatever is done to it") {
  std::mt19937 random(20261125);
  InlineVector<std::uint64_t> vector;
  std::vector<std::uint64_t> model;
  for (int i = 0; i < 100'000; ++i) {
    // Mostly short, now and then long.
    const bool grow = model.empty() || random() % 100 < (i / 1000 % 2 == 0 ? 55 : 45);
    if (grow) {
      const std::uint64_t value = random();
      vector.push_back(value);
      model.push_back(value);
    } else if (random() % 4 == 0) {
      vector[random() % model.size()] = 5;
      model.assign(vector.begin(), vector.end());
    } else {
      vector.pop_back();
      model.pop_back();
    }
    REQUIRE(vector.size() == model.size());
  }
  CHECK(std::vector<std::uint64_t>(vector.begin(), vector.end()) == model);
}
