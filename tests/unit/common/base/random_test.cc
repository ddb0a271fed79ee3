#include "common/base/random.h"

#include <doctest/doctest.h>

#include <set>
#include <string>

using namespace aphlict;

TEST_CASE("random ids have 16 letters and digits, and do not repeat") {
  std::set<std::string> ids;
  std::set<char> letters;
  for (int i = 0; i < 1000; ++i) {
    const std::string id = RandomId();
    REQUIRE(id.size() == 16);
    REQUIRE(id.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789") == std::string::npos);
    ids.insert(id);
    letters.insert(id.begin(), id.end());
  }
  CHECK(ids.size() == 1000);
  CHECK(letters.size() == 36);
}

TEST_CASE("random seeds differ") {
  std::set<std::uint64_t> seeds;
  for (int i = 0; i < 100; ++i) seeds.insert(RandomSeed());
  CHECK(seeds.size() == 100);
}
