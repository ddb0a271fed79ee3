#include "common/history/history.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/support/messages.h"

namespace aphlict::history {
namespace {

using testing::At;
using testing::Make;

const Epoch kA(kEpochLength, 'a');
const Epoch kB(kEpochLength, 'b');
const Epoch kC(kEpochLength, 'c');
const Epoch kNone;

bool Add(History& history, const Epoch& epoch, Sequence sequence, std::int64_t ms = 0, std::size_t body = 2) {
  return history.Add(Make({.epoch = epoch, .sequence = sequence, .accepted = At(ms), .body = std::string(body, 'x')}),
                     false, At(ms));
}

void AddAll(History& history, const Epoch& epoch, Sequence from, Sequence to) {
  for (Sequence sequence = from; sequence <= to; ++sequence) REQUIRE(Add(history, epoch, sequence));
}

// Where those above have been heard of all the time.
void Expire(History& history, std::int64_t ms, const Epoch& keep = kNone) { history.Expire(At(ms), keep, At(ms)); }

// "a1 a2 b1 gap(a3-5)": the entries from a position on, an epoch by its first letter.
std::string Entries(const History& history, std::uint64_t from) {
  std::string text;
  for (std::uint64_t position = from; position < history.end(); ++position) {
    const Entry& entry = history.at(position);
    if (!text.empty()) text += " ";
    if (const Message* message = entry.message()) {
      REQUIRE(entry.gap() == nullptr);
      text += message->epoch()[0] + std::to_string(message->sequence());
    } else {
      const Gap& gap = *entry.gap();
      text += "gap(" + gap.epoch.substr(0, 1) + std::to_string(gap.from) + "-" + std::to_string(gap.to) + ")";
    }
  }
  return text;
}

std::string Entries(const History& history) { return Entries(history, history.begin()); }

std::string After(const History& history, const Cursor& cursor) {
  return Entries(history, history.PositionAfter(cursor));
}

Sequence FloorOf(const History& history, const Epoch& epoch) {
  REQUIRE(history.Find(epoch) != nullptr);
  return history.Find(epoch)->floor;
}

Sequence BaseOf(const History& history, const Epoch& epoch) {
  REQUIRE(history.Find(epoch) != nullptr);
  return history.Find(epoch)->base;
}

// What one entry takes beside its message's buffer.
std::size_t Overhead() {
  History history({});
  const Message message = Make({});
  history.Add(message, false, At(0));
  return history.bytes() - message.size();
}

// Room for so many entries of Add()'s size.
History::Limits RoomFor(std::size_t entries) { return {.bytes = entries * (Overhead() + Make({.epoch = kA}).size())}; }

TEST_CASE("messages stand in the order of their arrival") {
  History history({});
  CHECK(history.begin() == history.end());
  CHECK(Add(history, kA, 1));
  CHECK(Add(history, kB, 1));
  CHECK(Add(history, kA, 2));
  CHECK(Entries(history) == "a1 b1 a2");
  CHECK(history.begin() == 0);
  CHECK(history.end() == 3);
  CHECK(history.messages() == 3);
  CHECK(history.cursor() == Cursor{{kA, 2}, {kB, 1}});
}

TEST_CASE("a message at or before the cursor was dealt with") {
  History history({});
  REQUIRE(Add(history, kA, 5));
  CHECK_FALSE(Add(history, kA, 5));
  CHECK_FALSE(Add(history, kA, 4));
  CHECK(Entries(history) == "a5");
  CHECK(Add(history, kA, 6));

  SUBCASE("also where the cursor was moved by an upstream's word") {
    history.Advance(kA, 10, At(0));
    CHECK(history.cursor() == Cursor{{kA, 10}});
    CHECK_FALSE(Add(history, kA, 10));
    CHECK(Add(history, kA, 11));
  }
  SUBCASE("or by a gap") {
    history.AddGap({kA, 7, 10}, At(0));
    CHECK_FALSE(Add(history, kA, 10));
    CHECK(Add(history, kA, 11));
  }
}

TEST_CASE("sequences that are left out are no gap") {
  History history({});
  history.Mention(kA, 1, At(0));
  for (const Sequence sequence : {2, 5, 9}) CHECK(Add(history, kA, sequence));
  CHECK(FloorOf(history, kA) == 1);
  CHECK(After(history, {{kA, 3}}) == "a5 a9");
}

TEST_CASE("the first that is heard of an epoch sets its floor") {
  History history({});
  SUBCASE("a message") {
    Add(history, kA, 5);
    CHECK(FloorOf(history, kA) == 5);
    CHECK(history.cursor() == Cursor{{kA, 5}});
  }
  SUBCASE("an upstream's mention") {
    history.Mention(kA, 5, At(0));
    CHECK(FloorOf(history, kA) == 5);
    CHECK(history.cursor() == Cursor{{kA, 4}});
    history.Mention(kA, 9, At(0));
    CHECK(FloorOf(history, kA) == 5);
    CHECK_FALSE(Add(history, kA, 4));
    CHECK(Add(history, kA, 5));
  }
  SUBCASE("an upstream's cursor") {
    history.Advance(kA, 5, At(0));
    CHECK(FloorOf(history, kA) == 6);
    CHECK(history.cursor() == Cursor{{kA, 5}});
  }
  SUBCASE("a gap") {
    CHECK(history.AddGap({kA, 5, 8}, At(0)));
    CHECK(BaseOf(history, kA) == 5);
    CHECK(FloorOf(history, kA) == 9);
    CHECK(history.cursor() == Cursor{{kA, 8}});
  }
  SUBCASE("where it is 0, the first sequence of all") {
    history.Mention(kA, 0, At(0));
    CHECK(FloorOf(history, kA) == 1);
    CHECK(history.cursor() == Cursor{{kA, 0}});
  }
}

TEST_CASE("an upstream's cursor moves forwards only") {
  History history({});
  AddAll(history, kA, 1, 3);
  history.Advance(kA, 2, At(0));
  CHECK(history.cursor() == Cursor{{kA, 3}});
  history.Advance(kA, 7, At(0));
  CHECK(history.cursor() == Cursor{{kA, 7}});
  CHECK(FloorOf(history, kA) == 1);
}

TEST_CASE("a gap stands where it was told, and raises the floor past it") {
  History history({});
  AddAll(history, kA, 1, 2);
  CHECK(history.AddGap({kA, 3, 5}, At(0)));
  AddAll(history, kA, 6, 7);
  CHECK(Entries(history) == "a1 a2 gap(a3-5) a6 a7");
  CHECK(history.messages() == 4);
  CHECK(FloorOf(history, kA) == 6);
  CHECK(BaseOf(history, kA) == 1);

  SUBCASE("and is found by whoever has not dealt with it") {
    CHECK(After(history, {{kA, 2}}) == "gap(a3-5) a6 a7");
    CHECK(After(history, {{kA, 4}}) == "gap(a3-5) a6 a7");
    CHECK(After(history, {{kA, 5}}) == "a6 a7");
  }
  SUBCASE("and counts for what of it is new only") {
    CHECK_FALSE(history.AddGap({kA, 3, 7}, At(0)));
    CHECK(FloorOf(history, kA) == 6);
    CHECK(history.AddGap({kA, 6, 9}, At(0)));
    CHECK(Entries(history, 5) == "gap(a8-9)");
    CHECK(FloorOf(history, kA) == 10);
  }
  SUBCASE("and leaves with the oldest") {
    Expire(history, 0);
    CHECK(Entries(history) == "a1 a2 gap(a3-5) a6 a7");
    Expire(history, 60'001);
    CHECK(Entries(history) == "");
    CHECK(FloorOf(history, kA) == 8);
  }
}

TEST_CASE("a gap that has become the oldest entry leaves, and the floor keeps telling of it") {
  History history({});
  Add(history, kA, 1, 0);
  history.AddGap({kA, 2, 5}, At(0));
  Add(history, kA, 6, 50'000);
  Expire(history, 60'001);
  CHECK(Entries(history) == "a6");
  CHECK(BaseOf(history, kA) == 6);
  CHECK(FloorOf(history, kA) == 6);
  CHECK(After(history, {{kA, 1}}) == "a6");
}

TEST_CASE("a cursor leads to everything past it, in all epochs") {
  History history({});
  AddAll(history, kA, 1, 3);
  AddAll(history, kB, 1, 2);
  AddAll(history, kA, 4, 4);
  CHECK(After(history, {{kA, 4}, {kB, 2}}) == "");
  CHECK(After(history, {{kA, 3}, {kB, 2}}) == "a4");
  CHECK(After(history, {{kA, 3}, {kB, 1}}) == "b2 a4");
  CHECK(After(history, {{kA, 2}, {kB, 2}}) == "a3 b1 b2 a4");

  SUBCASE("also in those that it does not know") {
    CHECK(After(history, {}) == "a1 a2 a3 b1 b2 a4");
    CHECK(After(history, {{kA, 4}}) == "b1 b2 a4");
    CHECK(After(history, {{kA, 4}, {kB, 2}, {kC, 9}}) == "");
  }
  SUBCASE("and past the end where it is ahead") { CHECK(After(history, {{kA, 9}, {kB, 9}}) == ""); }
  SUBCASE("and to the begin where what it misses has left") {
    Add(history, kA, 5, 60'000);
    Add(history, kB, 3, 60'000);
    Expire(history, 60'001);
    CHECK(After(history, {{kA, 1}, {kB, 1}}) == "a5 b3");
    CHECK(FloorOf(history, kA) == 5);
    CHECK(FloorOf(history, kB) == 3);
  }
}

TEST_CASE("a gap of one epoch is found although another epoch's messages are all dealt with") {
  History history({});
  AddAll(history, kA, 1, 2);
  history.AddGap({kB, 1, 9}, At(0));
  AddAll(history, kA, 3, 3);
  CHECK(After(history, {{kA, 2}}) == "gap(b1-9) a3");
  CHECK(After(history, {{kA, 2}, {kB, 9}}) == "a3");
  CHECK(After(history, {{kA, 1}, {kB, 1}}) == "a2 gap(b1-9) a3");
}

TEST_CASE("what was accepted since a moment lies at or after its position, although some came late") {
  History history({});
  Add(history, kA, 1, 100);
  Add(history, kA, 2, 200);
  Add(history, kB, 1, 50);  // from a master that was away
  Add(history, kB, 2, 60);
  Add(history, kA, 3, 300);
  CHECK(history.PositionAt(At(0)) == 0);
  CHECK(history.PositionAt(At(100)) == 0);
  CHECK(history.PositionAt(At(101)) == 1);
  CHECK(history.PositionAt(At(200)) == 1);
  CHECK(history.PositionAt(At(201)) == 4);
  CHECK(history.PositionAt(At(300)) == 4);
  CHECK(history.PositionAt(At(301)) == 5);

  SUBCASE("and gaps do not count") {
    history.AddGap({kA, 4, 5}, At(400));
    Add(history, kA, 6, 500);
    CHECK(history.PositionAt(At(301)) == 6);
  }
  SUBCASE("and nothing does where nothing is") { CHECK(History({}).PositionAt(At(0)) == 0); }
}

TEST_CASE("what is older than the age leaves, in the order of arrival") {
  History history({.age = seconds(60)});
  Add(history, kA, 1, 0);
  Add(history, kA, 2, 1000);
  Add(history, kA, 3, 2000);
  Expire(history, 60'000);
  CHECK(Entries(history) == "a1 a2 a3");
  Expire(history, 61'000);
  CHECK(Entries(history) == "a2 a3");
  CHECK(history.begin() == 1);
  CHECK(history.end() == 3);
  CHECK(FloorOf(history, kA) == 2);
  Expire(history, 62'001);
  CHECK(Entries(history) == "");
  CHECK(history.begin() == 3);
  CHECK(history.end() == 3);
  CHECK(history.bytes() == 0);
  CHECK(history.messages() == 0);
  CHECK(history.cursor() == Cursor{{kA, 3}});

  SUBCASE("and positions go on from where they were") {
    Add(history, kA, 4, 62'001);
    CHECK(history.begin() == 3);
    CHECK(Entries(history, 3) == "a4");
  }
}

TEST_CASE("a message that came late stays behind those that came before it") {
  History history({.age = seconds(60)});
  Add(history, kA, 1, 50'000);
  Add(history, kB, 1, 0);
  Expire(history, 61'000);
  CHECK(Entries(history) == "a1 b1");
  Expire(history, 110'001);
  CHECK(Entries(history) == "");
}

TEST_CASE("past the bound on bytes the oldest leave, whoever's they are") {
  History history(RoomFor(3));
  AddAll(history, kA, 1, 1);
  AddAll(history, kB, 1, 4);
  CHECK(history.messages() == 5);  // nothing leaves before the turn's end

  history.Trim();
  CHECK(Entries(history) == "b2 b3 b4");
  CHECK(history.begin() == 2);
  CHECK(FloorOf(history, kA) == 2);
  CHECK(FloorOf(history, kB) == 2);
  CHECK(history.cursor() == Cursor{{kA, 1}, {kB, 4}});
  history.Trim();
  CHECK(history.messages() == 3);

  SUBCASE("but never the newest") {
    Add(history, kA, 2, 0, 100'000);
    history.Trim();
    CHECK(Entries(history) == "a2");
    history.Trim();
    CHECK(Entries(history) == "a2");
    AddAll(history, kA, 3, 3);
    history.Trim();
    CHECK(Entries(history) == "a3");
  }
  SUBCASE("and gaps take room as well") {
    for (Sequence sequence = 5; sequence < 1000; ++sequence) history.AddGap({kB, sequence, sequence}, At(0));
    history.Trim();
    CHECK(history.bytes() <= RoomFor(3).bytes);
    CHECK(FloorOf(history, kB) == 1000);
    CHECK(After(history, {{kB, 998}}) == "gap(b999-999)");
  }
}

TEST_CASE("the bytes are those of the buffers, and something for each entry") {
  History history({});
  const Message small = Make({.sequence = 1});
  const Message large = Make({.sequence = 2, .body = std::string(100'000, 'x')});
  history.Add(small, false, At(0));
  history.Add(large, false, At(0));
  history.AddGap({kA, 3, 4}, At(0));
  CHECK(Overhead() >= sizeof(Entry));
  CHECK(history.bytes() == small.size() + large.size() + 3 * Overhead());
  Expire(history, 100'000);
  CHECK(history.bytes() == 0);
}

TEST_CASE("an entry says whether its message is a repeat") {
  History history({});
  history.Add(Make({.sequence = 1}), true, At(0));
  history.Add(Make({.sequence = 2}), false, At(0));
  CHECK(history.at(0).repeat);
  CHECK_FALSE(history.at(1).repeat);
}

TEST_CASE("an epoch without messages is forgotten after twice the age") {
  History history({.age = seconds(60)});
  history.Mention(kA, 1, At(0));
  Expire(history, 120'000);
  CHECK(history.Find(kA) != nullptr);

  SUBCASE("since it was last spoken of") {
    SUBCASE("by an upstream's welcome") { history.Mention(kA, 1, At(100'000)); }
    SUBCASE("by an upstream's cursor") { history.Advance(kA, 0, At(100'000)); }
    SUBCASE("by a message, although it was dealt with") {
      history.Advance(kA, 9, At(0));
      Add(history, kA, 3, 100'000);
    }
    SUBCASE("by a gap, although it was dealt with") {
      history.Advance(kA, 9, At(0));
      history.AddGap({kA, 3, 4}, At(100'000));
    }
    Expire(history, 220'000);
    CHECK(history.Find(kA) != nullptr);
    Expire(history, 220'001);
    CHECK(history.Find(kA) == nullptr);
    CHECK(history.cursor().empty());
  }
  SUBCASE("unless it is to be kept") {
    history.Mention(kB, 1, At(0));
    Expire(history, 120'001, kA);
    CHECK(history.Find(kA) != nullptr);
    CHECK(history.Find(kB) == nullptr);
    CHECK(history.epochs().size() == 1);
  }
  SUBCASE("unless those above are silent: they may still know it") {
    history.Expire(At(500'000), kNone, At(120'000));
    CHECK(history.Find(kA) != nullptr);
    history.Expire(At(500'001), kNone, At(120'001));
    CHECK(history.Find(kA) == nullptr);
  }
  SUBCASE("unless a message of it is still there, behind one that is young") {
    Add(history, kB, 1, 120'000);
    Add(history, kA, 1, 0);
    Expire(history, 180'000);
    CHECK(history.Find(kA) != nullptr);
    Expire(history, 180'001);
    CHECK(history.Find(kA) == nullptr);
  }
}

Epoch Numbered(int number) {
  Epoch epoch = "epoch" + std::to_string(number);
  epoch.resize(kEpochLength, '.');
  return epoch;
}

TEST_CASE("of more than 64 epochs, the one that was silent for longest is forgotten") {
  History history({});
  for (int i = 0; i < 64; ++i) history.Mention(Numbered(i), 1, At(i));
  history.Mention(Numbered(0), 1, At(100));
  CHECK(history.epochs().size() == 64);
  Add(history, Numbered(64), 1, 101);
  CHECK(history.epochs().size() == 64);
  CHECK(history.Find(Numbered(1)) == nullptr);
  CHECK(history.Find(Numbered(0)) != nullptr);
  history.AddGap({Numbered(65), 1, 2}, At(102));
  history.Advance(Numbered(66), 1, At(103));
  CHECK(history.epochs().size() == 64);
  CHECK(history.Find(Numbered(2)) == nullptr);
  CHECK(history.Find(Numbered(3)) == nullptr);
  CHECK(history.cursor().size() == 64);
}

TEST_CASE("the messages of an epoch that made room leave in their turn") {
  History history({.epochs = 2});
  Add(history, kA, 1, 0);
  Add(history, kB, 1, 1);
  Add(history, kC, 1, 2);
  CHECK(history.Find(kA) == nullptr);
  CHECK(Entries(history) == "a1 b1 c1");
  CHECK(After(history, {}) == "b1 c1");  // nobody can resume in a
  CHECK(history.PositionAt(At(0)) == 0);

  Expire(history, 60'001);
  CHECK(Entries(history) == "b1 c1");
  CHECK(history.bytes() == 2 * (Overhead() + Make({}).size()));

  SUBCASE("although the epoch is heard of again") {
    history.Mention(kA, 2, At(60'001));
    CHECK(FloorOf(history, kA) == 2);
    CHECK(history.Find(kB) == nullptr);
    Add(history, kA, 2, 60'001);
    CHECK(Entries(history) == "b1 c1 a2");
    CHECK(After(history, {{kC, 1}}) == "a2");
  }
}

class Observed : public History::Observer {
 public:
  void OnEnter(const Message& message) override { entered.push_back(message.sequence()); }
  void OnLeave(const Message& message) override { left.push_back(message.sequence()); }
  std::vector<Sequence> entered;
  std::vector<Sequence> left;
};

TEST_CASE("the observer is told of each message that enters and leaves, and of nothing else") {
  Observed observed;
  History history(RoomFor(2));
  history.SetObserver(&observed);
  AddAll(history, kA, 1, 2);
  Add(history, kA, 2);
  history.AddGap({kA, 3, 4}, At(0));
  Add(history, kA, 5);
  CHECK(observed.entered == std::vector<Sequence>{1, 2, 5});
  CHECK(observed.left.empty());
  history.Trim();
  CHECK(observed.left == std::vector<Sequence>{1, 2});
  Expire(history, 60'001);
  CHECK(observed.left == std::vector<Sequence>{1, 2, 5});
}

// What a history does, as plainly as it can be said: a list that keeps everything that was ever added, and a number
// that says where it begins.
class Model {
 public:
  struct Item {
    Epoch epoch;
    Sequence from;
    Sequence to;
    Time accepted;
    bool is_gap;
  };
  struct State {
    Sequence newest;
    Sequence base;
    Time mentioned;
  };

  bool Add(const Epoch& epoch, Sequence sequence, Time accepted, Time now) {
    return Take({epoch, sequence, sequence, accepted, false}, now);
  }
  bool AddGap(const Gap& gap, Time now) { return Take({gap.epoch, gap.from, gap.to, {}, true}, now); }
  void Mention(const Epoch& epoch, Sequence floor, Time now) { Know(epoch, floor, now); }
  void Advance(const Epoch& epoch, Sequence newest, Time now) {
    State& state = Know(epoch, newest + 1, now);
    state.newest = std::max(state.newest, newest);
  }
  void DropTo(std::uint64_t position) {
    for (; begin < position; ++begin) {
      if (const auto state = states.find(items[begin].epoch); state != states.end()) {
        state->second.base = std::max(state->second.base, items[begin].to + 1);
      }
    }
  }
  void Expire(Time now, Duration age, const Epoch& keep, Time heard) {
    while (begin < items.size() && (items[begin].is_gap || now - items[begin].accepted > age)) DropTo(begin + 1);
    std::erase_if(states, [&](const auto& each) {
      const bool has_messages = std::any_of(items.begin() + static_cast<std::ptrdiff_t>(begin), items.end(),
                                            [&](const Item& item) { return !item.is_gap && item.epoch == each.first; });
      return each.first != keep && !has_messages && heard - each.second.mentioned > 2 * age;
    });
  }

  Sequence Floor(const Epoch& epoch) const {
    Sequence floor = states.at(epoch).base;
    for (std::size_t i = begin; i < items.size(); ++i) {
      if (items[i].is_gap && items[i].epoch == epoch) floor = std::max(floor, items[i].to + 1);
    }
    return floor;
  }
  std::uint64_t PositionAfter(const Cursor& cursor) const {
    for (std::size_t i = begin; i < items.size(); ++i) {
      const auto known = cursor.find(items[i].epoch);
      if (items[i].to > (known == cursor.end() ? 0 : known->second)) return i;
    }
    return items.size();
  }
  std::uint64_t PositionAt(Time time) const {
    for (std::size_t i = begin; i < items.size(); ++i) {
      if (!items[i].is_gap && items[i].accepted >= time) return i;
    }
    return items.size();
  }

  std::vector<Item> items;
  std::size_t begin = 0;
  std::map<Epoch, State> states;

 private:
  State& Know(const Epoch& epoch, Sequence floor, Time now) {
    const Sequence base = std::max<Sequence>(floor, 1);
    State& state = states.try_emplace(epoch, State{base - 1, base, now}).first->second;
    state.mentioned = now;
    return state;
  }
  bool Take(Item item, Time now) {
    State& state = Know(item.epoch, item.from, now);
    if (item.to <= state.newest) return false;
    item.from = std::max(item.from, state.newest + 1);
    state.newest = item.to;
    items.push_back(item);
    return true;
  }
};

void Compare(const History& history, const Model& model) {
  REQUIRE(history.begin() == model.begin);
  REQUIRE(history.end() == model.items.size());
  std::size_t messages = 0;
  for (std::uint64_t position = history.begin(); position < history.end(); ++position) {
    const Entry& entry = history.at(position);
    const Model::Item& item = model.items[position];
    REQUIRE((entry.gap() != nullptr) == item.is_gap);
    if (const Message* message = entry.message()) {
      ++messages;
      REQUIRE(message->epoch() == item.epoch);
      REQUIRE(message->sequence() == item.to);
      REQUIRE(message->accepted() == item.accepted);
    } else {
      REQUIRE(entry.gap()->epoch == item.epoch);
      REQUIRE(entry.gap()->from == item.from);
      REQUIRE(entry.gap()->to == item.to);
    }
  }
  REQUIRE(history.messages() == messages);
  REQUIRE(history.epochs().size() == model.states.size());
  for (const auto& [epoch, expected] : model.states) {
    const EpochState* state = history.Find(epoch);
    REQUIRE(state != nullptr);
    REQUIRE(state->newest == expected.newest);
    REQUIRE(state->base == expected.base);
    REQUIRE(state->floor == model.Floor(epoch));
    REQUIRE(history.cursor().at(epoch) == expected.newest);
  }
}

class Dice {
 public:
  explicit Dice(unsigned seed) : random_(seed) {}
  // From 0 to `most`.
  std::int64_t Upto(std::int64_t most) { return std::uniform_int_distribution<std::int64_t>(0, most)(random_); }
  Epoch AnyEpoch() { return Epoch(kEpochLength, static_cast<char>('a' + Upto(4))); }
  Cursor AnyCursor(const Model& model) {
    Cursor cursor;
    for (const auto& [epoch, state] : model.states) {
      if (Upto(3) > 0) cursor[epoch] = static_cast<Sequence>(Upto(static_cast<std::int64_t>(state.newest) + 2));
    }
    return cursor;
  }

 private:
  std::mt19937 random_;
};

// PositionAt() may begin earlier than it must, but never so late that it misses something.
void CheckPositionAt(const History& history, const Model& model, Time time) {
  const std::uint64_t position = history.PositionAt(time);
  REQUIRE(position >= history.begin());
  REQUIRE(position <= model.PositionAt(time));
  if (model.begin == 0) REQUIRE(position == model.PositionAt(time));
}

TEST_CASE("whatever happens, a history is what a simple list of everything is") {
  for (unsigned seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    Dice dice(seed);
    const History::Limits limits{.age = seconds(60), .bytes = RoomFor(40).bytes};
    History history(limits);
    Model model;
    std::int64_t now = 0;
    for (int round = 0; round < 600; ++round) {
      now += dice.Upto(2000) == 0 ? 150'000 : dice.Upto(3000);
      const Epoch epoch = dice.AnyEpoch();
      const auto known = model.states.find(epoch);
      const Sequence newest = known == model.states.end() ? 0 : known->second.newest;
      const auto next = static_cast<Sequence>(
          std::max<std::int64_t>(1, static_cast<std::int64_t>(newest) + (dice.Upto(3) == 0 ? dice.Upto(8) - 3 : 1)));
      switch (dice.Upto(19)) {
        case 0: {
          const Gap gap{epoch, next, next + static_cast<Sequence>(dice.Upto(5))};
          REQUIRE(history.AddGap(gap, At(now)) == model.AddGap(gap, At(now)));
          break;
        }
        case 1:
          history.Mention(epoch, next, At(now));
          model.Mention(epoch, next, At(now));
          break;
        case 2:
          history.Advance(epoch, next, At(now));
          model.Advance(epoch, next, At(now));
          break;
        case 3: {
          const Epoch keep = dice.AnyEpoch();
          const std::int64_t heard = now - (dice.Upto(2) == 0 ? dice.Upto(100'000) : 0);
          history.Expire(At(now), keep, At(heard));
          model.Expire(At(now), limits.age, keep, At(heard));
          break;
        }
        case 4:
          history.Trim();
          REQUIRE((history.bytes() <= limits.bytes || history.end() - history.begin() == 1));
          model.DropTo(history.begin());
          break;
        default: {
          const std::int64_t accepted = now - (dice.Upto(5) == 0 ? dice.Upto(70'000) : 0);
          REQUIRE(history.Add(Make({.epoch = epoch, .sequence = next, .accepted = At(accepted)}), false, At(now)) ==
                  model.Add(epoch, next, At(accepted), At(now)));
        }
      }
      Compare(history, model);
      const Cursor cursor = dice.AnyCursor(model);
      REQUIRE(history.PositionAfter(cursor) == model.PositionAfter(cursor));
      CheckPositionAt(history, model, At(now - dice.Upto(80'000)));
    }
  }
}

}  // namespace
}  // namespace aphlict::history
