#include "common/clients/replay_index.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "tests/unit/support/messages.h"

namespace aphlict::clients {
namespace {

using testing::Make;

void Add(ReplayIndex& index, std::uint64_t position, const std::vector<std::string>& phids) {
  index.Add(position, Make({.subscribers = phids}));
}

std::vector<std::uint64_t> Candidates(const ReplayIndex& index, std::string_view phid, std::uint64_t begin = 0) {
  std::vector<std::uint64_t> positions;
  index.ForEachCandidate(phid, begin, [&](std::uint64_t position) {
    positions.push_back(position);
    return true;
  });
  return positions;
}

using Positions = std::vector<std::uint64_t>;

TEST_CASE("the messages for a PHID are found, the newest first") {
  ReplayIndex index;
  CHECK(Candidates(index, "a").empty());
  Add(index, 0, {"a", "b"});
  Add(index, 1, {"b"});
  Add(index, 5, {"a"});
  CHECK(Candidates(index, "a") == Positions{5, 0});
  CHECK(Candidates(index, "b") == Positions{1, 0});
  CHECK(Candidates(index, "c").empty());
  CHECK(index.links() == 4);

  SUBCASE("from a position on") {
    CHECK(Candidates(index, "a", 1) == Positions{5});
    CHECK(Candidates(index, "a", 5) == Positions{5});
    CHECK(Candidates(index, "a", 6).empty());
  }
  SUBCASE("until the visitor has enough") {
    int visited = 0;
    index.ForEachCandidate("a", 0, [&](std::uint64_t) { return ++visited < 1; });
    CHECK(visited == 1);
  }
}

TEST_CASE("what has left the history is forgotten") {
  ReplayIndex index;
  for (std::uint64_t position = 0; position < 10; ++position) Add(index, position, {"a", std::to_string(position)});
  index.DropBefore(7);
  CHECK(index.links() == 6);
  CHECK(Candidates(index, "a") == Positions{9, 8, 7});
  CHECK(Candidates(index, "6").empty());
  CHECK(Candidates(index, "7") == Positions{7});
  index.DropBefore(3);
  CHECK(index.links() == 6);
  index.DropBefore(100);
  CHECK(index.links() == 0);
  CHECK(Candidates(index, "a").empty());

  SUBCASE("and does not come back with what follows") {
    Add(index, 100, {"a"});
    CHECK(Candidates(index, "a") == Positions{100});
  }
}

TEST_CASE("whatever comes and goes, nothing that is for a PHID is left out, and all are in order") {
  std::mt19937 random(7);
  ReplayIndex index;
  std::vector<std::vector<std::string>> messages;
  std::uint64_t begin = 0;
  for (int round = 0; round < 3000; ++round) {
    std::vector<std::string> phids(random() % 4);
    for (std::string& phid : phids) phid = std::to_string(random() % 50);
    Add(index, messages.size(), phids);
    messages.push_back(phids);
    if (random() % 20 == 0) {
      begin += random() % 30;
      begin = std::min<std::uint64_t>(begin, messages.size());
      index.DropBefore(begin);
    }
    const std::string phid = std::to_string(random() % 50);
    const Positions found = Candidates(index, phid, begin);
    REQUIRE(std::is_sorted(found.rbegin(), found.rend()));
    const std::set<std::uint64_t> candidates(found.begin(), found.end());
    std::size_t expected = 0;
    for (std::uint64_t position = begin; position < messages.size(); ++position) {
      for (const std::string& each : messages[position]) {
        if (each != phid) continue;
        ++expected;
        REQUIRE(candidates.count(position) == 1);
      }
    }
    // Others that share the chain may be among them; with 50 PHIDs and 65,536 chains, few do.
    REQUIRE(found.size() >= expected);
    REQUIRE(found.size() <= expected * 4 + 100);
  }
}

}  // namespace
}  // namespace aphlict::clients
