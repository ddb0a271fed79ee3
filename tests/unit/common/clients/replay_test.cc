#include "common/clients/replay.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

namespace {

using namespace aphlict;
using namespace aphlict::clients;

constexpr char kEpoch[] = "abcdefghijklmnop";

// A history, its index, and one subscriber.
class Stage {
 public:
  ~Stage() { subscriptions.UnsubscribeAll(subscriber); }

  void Add(const std::vector<std::string>& phids, int at_second) {
    history.Add(history::Message::Create(kEpoch, ++last_, Time(seconds(at_second)), {"default", "", phids, "{}"}),
                false, Time(seconds(at_second)));
  }
  // What the node does at a turn's end.
  void FanOut() {
    for (; live < history.end(); ++live) index.Add(live, *history.at(live).message());
  }
  void Trim() {
    history.Trim();
    index.DropBefore(history.begin());
  }

  Replay Start(int since_second) const { return {history, index, subscriber, Time(seconds(since_second)), live}; }

  // The sequences that a replay would send now.
  std::vector<history::Sequence> Rest(Replay& replay) const {
    std::vector<history::Sequence> sequences;
    while (const auto step = replay.Next(history, live)) {
      if (!step->in_time) continue;
      bool matches = false;
      step->entry->message()->ForEachSubscriber([&](std::string_view phid) {
        matches = subscriptions.IsSubscribed(subscriber, phid);
        return !matches;
      });
      if (matches) sequences.push_back(step->entry->message()->sequence());
    }
    return sequences;
  }

  history::History history{{seconds(60), 64 * 1024 * 1024, 64}};
  ReplayIndex index;
  SubscriptionIndex subscriptions;
  Subscriber subscriber;
  std::uint64_t live = 0;

 private:
  history::Sequence last_ = 0;
};

using Sequences = std::vector<history::Sequence>;

}  // namespace

TEST_CASE("a replay has the messages of its subscriptions and its time, oldest first, each once") {
  Stage stage;
  stage.subscriptions.Subscribe(stage.subscriber, "a");
  stage.subscriptions.Subscribe(stage.subscriber, "b");
  stage.Add({"a"}, 1);
  stage.Add({"a"}, 10);
  stage.Add({"c"}, 11);
  stage.Add({"b", "a"}, 12);
  stage.Add({"b", "b"}, 13);
  stage.FanOut();
  Replay replay = stage.Start(5);
  CHECK(stage.Rest(replay) == Sequences{2, 4, 5});
}

TEST_CASE("what is fanned out while a replay lasts belongs to it, whatever its age") {
  Stage stage;
  stage.subscriptions.Subscribe(stage.subscriber, "a");
  stage.Add({"a"}, 10);
  stage.FanOut();
  Replay replay = stage.Start(5);
  stage.Add({"a"}, 1);  // came late
  CHECK(stage.Rest(replay) == Sequences{1});
  stage.FanOut();
  CHECK(stage.Rest(replay) == Sequences{2});
}

TEST_CASE("what has entered the history and is not fanned out yet is not replayed: it comes live") {
  Stage stage;
  stage.subscriptions.Subscribe(stage.subscriber, "a");
  stage.Add({"a"}, 10);
  stage.FanOut();
  stage.Add({"a"}, 11);
  Replay replay = stage.Start(0);
  CHECK(stage.Rest(replay) == Sequences{1});
}

TEST_CASE("a replay of many messages looks at all of them, and one of few at a few") {
  Stage stage;
  stage.subscriptions.Subscribe(stage.subscriber, "many");
  for (int i = 0; i < 5000; ++i) stage.Add({"many"}, 10);
  stage.FanOut();
  Replay replay = stage.Start(0);
  const auto all = stage.Rest(replay);
  CHECK(all.size() == 5000);
  CHECK(all.front() == 1);
  CHECK(all.back() == 5000);

  SubscriptionIndex other;
  Subscriber few;
  other.Subscribe(few, "few");
  Replay short_replay(stage.history, stage.index, few, Time(seconds(0)), stage.live);
  int looked_at = 0;
  while (short_replay.Next(stage.history, stage.live)) ++looked_at;
  CHECK(looked_at < 100);
  other.UnsubscribeAll(few);
}

TEST_CASE("messages that leave the history before a replay comes to them are left out") {
  Stage stage;
  stage.history = history::History({seconds(60), 1000, 64});
  stage.subscriptions.Subscribe(stage.subscriber, "a");
  for (int i = 0; i < 4; ++i) stage.Add({"a"}, 10);
  stage.FanOut();
  Replay replay = stage.Start(0);
  for (int i = 0; i < 3; ++i) stage.Add({"a"}, 10);
  stage.FanOut();
  stage.Trim();
  REQUIRE(stage.history.begin() > 0);
  const auto rest = stage.Rest(replay);
  CHECK(rest.back() == 7);
  CHECK(rest.front() == stage.history.begin() + 1);
}

TEST_CASE("a replay has fallen behind when the history has lost what was fanned out since it began") {
  Stage stage;
  stage.history = history::History({seconds(60), 1000, 64});
  stage.subscriptions.Subscribe(stage.subscriber, "a");
  stage.Add({"a"}, 10);
  stage.FanOut();
  Replay replay = stage.Start(0);
  CHECK_FALSE(replay.fell_behind(stage.history));
  for (int i = 0; i < 50; ++i) stage.Add({"a"}, 10);
  stage.FanOut();
  stage.Trim();
  CHECK(replay.fell_behind(stage.history));
}

TEST_CASE("a message that came late is replayed by its age, not by its place") {
  Stage stage;
  stage.subscriptions.Subscribe(stage.subscriber, "a");
  for (const int second : {5, 1, 6}) stage.Add({"a"}, second);
  stage.FanOut();
  Replay replay = stage.Start(5);
  CHECK(stage.Rest(replay) == Sequences{1, 3});
}

TEST_CASE("a gap of the history is passed over") {
  Stage stage;
  stage.subscriptions.Subscribe(stage.subscriber, "a");
  stage.Add({"a"}, 10);
  stage.FanOut();
  Replay replay = stage.Start(0);
  stage.history.AddGap({kEpoch, 2, 2}, Time(seconds(10)));
  ++stage.live;
  CHECK(stage.Rest(replay) == Sequences{1});
}

TEST_CASE("a page with more subscriptions than there are messages looks at the messages") {
  Stage stage;
  for (int i = 0; i < 2000; ++i) stage.subscriptions.Subscribe(stage.subscriber, "PHID-" + std::to_string(i));
  stage.Add({"PHID-5"}, 10);
  stage.Add({"other"}, 10);
  stage.Add({"PHID-7"}, 5);
  stage.FanOut();
  Replay replay = stage.Start(10);
  CHECK(stage.Rest(replay) == Sequences{1});
}

TEST_CASE("the index gives every message of a PHID, and forgets those that have left") {
  std::mt19937 random(20261125);
  Stage stage;
  std::vector<std::vector<std::string>> added;
  for (int i = 0; i < 2000; ++i) {
    std::vector<std::string> phids;
    for (unsigned k = random() % 4; k > 0; --k) phids.push_back("PHID-" + std::to_string(random() % 50));
    stage.Add(phids, 10);
    added.push_back(phids);
  }
  stage.FanOut();
  const std::uint64_t begin = 700;
  stage.index.DropBefore(begin);
  for (int number = 0; number < 50; ++number) {
    const std::string phid = "PHID-" + std::to_string(number);
    std::vector<std::uint64_t> expected;
    for (std::uint64_t at = begin; at < added.size(); ++at) {
      if (std::count(added[at].begin(), added[at].end(), phid) > 0) expected.push_back(at);
    }
    std::vector<std::uint64_t> found;
    stage.index.ForEachCandidate(phid, begin, [&](std::uint64_t position) {
      if (!found.empty()) CHECK(position <= found.back());
      found.push_back(position);
      return true;
    });
    for (const std::uint64_t position : expected) CHECK(std::count(found.begin(), found.end(), position) > 0);
  }
}
