#include "common/clients/subscriptions.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace aphlict::clients {
namespace {

// A subscriber that leaves its index by itself, as a client's owner makes it do.
class Page : public Subscriber {
 public:
  Page(SubscriptionIndex& index, std::string name) : name_(std::move(name)), index_(index) {}
  ~Page() { index_.UnsubscribeAll(*this); }
  Page(const Page&) = delete;
  Page& operator=(const Page&) = delete;

  bool Add(std::string_view phid) { return index_.Subscribe(*this, phid); }
  bool Remove(std::string_view phid) { return index_.Unsubscribe(*this, phid); }
  void RemoveAll() { index_.UnsubscribeAll(*this); }
  bool Has(std::string_view phid) const { return index_.IsSubscribed(*this, phid); }
  const std::string& name() const { return name_; }

  std::string Phids() const {
    std::vector<std::string> phids;
    ForEachPhid([&](std::string_view phid) { phids.emplace_back(phid); });
    std::sort(phids.begin(), phids.end());
    std::string text;
    for (const std::string& phid : phids) text += (text.empty() ? "" : " ") + phid;
    return text;
  }

 private:
  std::string name_;
  SubscriptionIndex& index_;
};

// What the index needs of a message.
struct To {
  std::vector<std::string> phids;
  template <class Visit>
  void ForEachSubscriber(Visit visit) const {
    for (const std::string& phid : phids) {
      if (!visit(std::string_view(phid))) return;
    }
  }
};

// The names of those that a message to some PHIDs reaches, sorted; a name twice where one is visited twice.
std::string Reached(SubscriptionIndex& index, const std::vector<std::string>& phids) {
  std::vector<std::string> names;
  const auto nothing = [](const Subscriber&) {};
  index.ForEachMatch(
      To{phids}, [&](Subscriber& subscriber) { names.push_back(static_cast<Page&>(subscriber).name()); }, nothing,
      nothing);
  std::sort(names.begin(), names.end());
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : " ") + name;
  return text;
}

std::string Phid(int number) { return "PHID-" + std::to_string(number); }

TEST_CASE("a message reaches those that subscribe to any of its PHIDs") {
  SubscriptionIndex index;
  Page ann(index, "ann");
  Page bob(index, "bob");
  CHECK(ann.Add("a"));
  CHECK(ann.Add("shared"));
  CHECK(bob.Add("b"));
  CHECK(bob.Add("shared"));
  CHECK(Reached(index, {"a"}) == "ann");
  CHECK(Reached(index, {"b"}) == "bob");
  CHECK(Reached(index, {"shared"}) == "ann bob");
  CHECK(Reached(index, {"other"}) == "");
  CHECK(Reached(index, {}) == "");
  CHECK(index.topics() == 3);
}

TEST_CASE("a message with several PHIDs reaches each subscriber once") {
  SubscriptionIndex index;
  Page ann(index, "ann");
  Page bob(index, "bob");
  for (const char* phid : {"1", "2", "3"}) ann.Add(phid);
  bob.Add("3");
  CHECK(Reached(index, {"1", "2", "3"}) == "ann bob");
  CHECK(Reached(index, {"3", "3", "2"}) == "ann bob");

  SUBCASE("and so does the next") {
    CHECK(Reached(index, {"2", "1"}) == "ann");
    CHECK(Reached(index, {"2", "1"}) == "ann");
  }
}

TEST_CASE("a subscription counts once, and is gone when it is taken back") {
  SubscriptionIndex index;
  Page ann(index, "ann");
  CHECK(ann.Add("a"));
  CHECK_FALSE(ann.Add("a"));
  CHECK(ann.subscriptions() == 1);
  CHECK(Reached(index, {"a"}) == "ann");
  CHECK(ann.Remove("a"));
  CHECK_FALSE(ann.Remove("a"));
  CHECK_FALSE(ann.Remove("never"));
  CHECK(ann.subscriptions() == 0);
  CHECK(Reached(index, {"a"}) == "");
  CHECK(index.topics() == 0);
}

TEST_CASE("one's subscription is not another's") {
  SubscriptionIndex index;
  Page ann(index, "ann");
  Page bob(index, "bob");
  ann.Add("a");
  CHECK_FALSE(bob.Has("a"));
  CHECK_FALSE(bob.Remove("a"));
  CHECK(ann.Has("a"));
  CHECK(bob.Add("a"));
  CHECK(ann.Remove("a"));
  CHECK(bob.Has("a"));
  CHECK(Reached(index, {"a"}) == "bob");
}

TEST_CASE("any text is a PHID of its own") {
  SubscriptionIndex index;
  const std::vector<std::string> phids = {"",  "constructor",           "__proto__", std::string("a\0b", 3),
                                          "a", std::string(10'000, 'x')};
  std::vector<std::unique_ptr<Page>> pages;
  for (std::size_t i = 0; i < phids.size(); ++i) {
    pages.push_back(std::make_unique<Page>(index, std::to_string(i)));
    CHECK(pages.back()->Add(phids[i]));
  }
  for (std::size_t i = 0; i < phids.size(); ++i) CHECK(Reached(index, {phids[i]}) == std::to_string(i));
}

TEST_CASE("the bytes of a subscriber are those of its PHIDs") {
  SubscriptionIndex index;
  Page ann(index, "ann");
  Page bob(index, "bob");
  ann.Add("12345");
  ann.Add("123");
  ann.Add("123");
  ann.Add("");
  bob.Add("12345");
  CHECK(ann.subscription_bytes() == 8);
  CHECK(bob.subscription_bytes() == 5);
  ann.Remove("12345");
  ann.Remove("other");
  CHECK(ann.subscription_bytes() == 3);
  CHECK(bob.subscription_bytes() == 5);
  ann.RemoveAll();
  CHECK(ann.subscription_bytes() == 0);
  CHECK(ann.subscriptions() == 0);
}

TEST_CASE("one that leaves takes its subscriptions with it, and nobody else's") {
  SubscriptionIndex index;
  Page ann(index, "ann");
  {
    Page bob(index, "bob");
    for (int i = 0; i < 100; ++i) bob.Add(Phid(i));
    for (int i = 50; i < 150; ++i) ann.Add(Phid(i));
    CHECK(Reached(index, {Phid(99)}) == "ann bob");
    CHECK(index.topics() == 150);
  }
  CHECK(index.topics() == 100);
  CHECK(Reached(index, {Phid(0), Phid(99)}) == "ann");
  CHECK(Reached(index, {Phid(0)}) == "");

  SUBCASE("and can come back") {
    ann.RemoveAll();
    CHECK(index.topics() == 0);
    CHECK(ann.Add(Phid(1)));
    CHECK(Reached(index, {Phid(1)}) == "ann");
  }
}

TEST_CASE("one with many subscriptions leaves by and by") {
  SubscriptionIndex index;
  Page leaving(index, "leaving");
  Page staying(index, "staying");
  for (int i = 0; i < 100; ++i) leaving.Add("PHID-" + std::to_string(i));
  staying.Add("PHID-99");
  CHECK_FALSE(index.UnsubscribeSome(leaving, 40));
  CHECK(leaving.subscriptions() == 60);
  CHECK_FALSE(index.UnsubscribeSome(leaving, 59));
  CHECK(index.UnsubscribeSome(leaving, 2));
  CHECK(leaving.subscription_bytes() == 0);
  CHECK(index.topics() == 1);
  CHECK(Reached(index, {"PHID-0", "PHID-99"}) == "staying");
  CHECK(index.UnsubscribeSome(leaving, 1));
}

// Beyond 16, a subscriber's topics are found by a table.
TEST_CASE("a subscriber's topics are found however many they are") {
  for (const int count : {1, 15, 16, 17, 18, 40}) {
    CAPTURE(count);
    SubscriptionIndex index;
    Page other(index, "other");
    Page ann(index, "ann");
    for (int i = 0; i < count; ++i) {
      other.Add(Phid(i));
      CHECK(ann.Add(Phid(i)));
      for (int j = 0; j <= i; ++j) REQUIRE_FALSE(ann.Add(Phid(j)));
      REQUIRE_FALSE(ann.Has(Phid(i + 1)));
    }
    // From the middle, so that the last takes another's place.
    for (int i = 0; i < count; ++i) {
      const int at = (count / 2 + i) % count;
      CHECK(ann.Remove(Phid(at)));
      CHECK_FALSE(ann.Has(Phid(at)));
      CHECK(Reached(index, {Phid(at)}) == "other");
      for (int j = i + 1; j < count; ++j) REQUIRE(ann.Has(Phid((count / 2 + j) % count)));
    }
    CHECK(ann.subscriptions() == 0);
    CHECK(ann.subscription_bytes() == 0);
    CHECK(other.subscriptions() == static_cast<std::size_t>(count));
    CHECK(ann.Add(Phid(1)));
    CHECK(Reached(index, {Phid(1)}) == (count > 1 ? "ann other" : "ann"));
  }
}

TEST_CASE("whatever pages do, the index is what a set of pairs is") {
  for (unsigned seed = 1; seed <= 10; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    const auto upto = [&](int most) { return std::uniform_int_distribution<int>(0, most)(random); };
    SubscriptionIndex index;
    std::vector<std::unique_ptr<Page>> pages;
    for (int i = 0; i < 8; ++i) pages.push_back(std::make_unique<Page>(index, std::to_string(i)));
    std::map<std::string, std::set<std::string>> model;  // page, PHIDs

    for (int round = 0; round < 4000; ++round) {
      auto& page = pages[upto(7)];
      std::set<std::string>& phids = model[page->name()];
      const std::string phid = Phid(upto(round % 1000 < 500 ? 60 : 8));
      const int what = upto(200);
      if (what == 0) {
        const std::string name = page->name();
        page.reset();
        page = std::make_unique<Page>(index, name);
        phids.clear();
      } else if (what == 1) {
        page->RemoveAll();
        phids.clear();
      } else if (what < 110) {
        REQUIRE(page->Add(phid) == phids.insert(phid).second);
      } else {
        REQUIRE(page->Remove(phid) == (phids.erase(phid) == 1));
      }

      REQUIRE(page->subscriptions() == phids.size());
      std::size_t bytes = 0;
      std::string all;
      for (const std::string& each : phids) {
        bytes += each.size();
        all += (all.empty() ? "" : " ") + each;
      }
      REQUIRE(page->subscription_bytes() == bytes);
      REQUIRE(page->Phids() == all);
      const std::string other = Phid(upto(60));
      REQUIRE(page->Has(other) == (phids.count(other) == 1));
      std::string expected;
      for (const auto& [name, subscribed] : model) {
        if (subscribed.count(phid) + subscribed.count(other) > 0) expected += (expected.empty() ? "" : " ") + name;
      }
      REQUIRE(Reached(index, {phid, other}) == expected);
      if (round % 50 == 0) {
        std::set<std::string> topics;
        for (const auto& [name, subscribed] : model) topics.insert(subscribed.begin(), subscribed.end());
        REQUIRE(index.topics() == topics.size());
      }
    }
  }
}

}  // namespace
}  // namespace aphlict::clients
