#include "common/history/instances.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace aphlict::history {
namespace {

// "a b c": those that have changed, in order.
std::string Changed(Instances& instances) {
  std::string names;
  for (const Instance* instance : instances.TakeChanged()) names += (names.empty() ? "" : " ") + instance->name;
  return names;
}

TEST_CASE("an instance is made when it is first asked for, and is the same from then on") {
  Instances instances;
  CHECK(instances.Find("dog") == nullptr);
  Instance* dog = instances.Get("dog");
  REQUIRE(dog != nullptr);
  CHECK(dog->name == "dog");
  dog->messages_in = 3;
  CHECK(instances.Get("cat") != dog);
  CHECK(instances.Get("dog") == dog);
  CHECK(instances.Find("dog")->messages_in == 3);
  CHECK(instances.size() == 2);
  CHECK(instances.all().size() == 2);

  SUBCASE("whatever its name is") {
    for (const std::string name : {"", "__proto__", "constructor", "a/b", "\xff"}) {
      CAPTURE(name);
      CHECK(instances.Find(name) == nullptr);
      CHECK(instances.Get(name)->name == name);
    }
    const std::string long_name(1000, 'x');
    CHECK(instances.Get(long_name) != instances.Get(long_name + "x"));
  }
  SUBCASE("although the text of the first question is gone") {
    {
      std::string name = "a name that is long enough to live on the heap";
      instances.Get(name);
      name.assign(name.size(), '?');
    }
    CHECK(instances.Find("a name that is long enough to live on the heap") != nullptr);
  }
}

TEST_CASE("past the bound, the instance that nobody asked for longest makes room") {
  Instances instances(3);
  for (const char* name : {"a", "b", "c"}) instances.Get(name);
  instances.Get("a");
  CHECK(instances.Get("d") != nullptr);
  CHECK(instances.size() == 3);
  CHECK(instances.Find("b") == nullptr);
  CHECK(instances.Find("a") != nullptr);
  instances.Get("e");
  CHECK(instances.Find("c") == nullptr);
  CHECK(instances.all().size() == 3);

  SUBCASE("and what it counted goes with it") {
    instances.Get("a")->messages_in = 5;
    for (const char* name : {"f", "g", "h"}) instances.Get(name);
    CHECK(instances.Get("a")->messages_in == 0);
  }
}

TEST_CASE("an instance in use never makes room") {
  Instances instances(2);
  Instance* used = instances.Get("used");
  SUBCASE("for its clients") { used->clients_active = 1; }
  SUBCASE("for its messages in the history") { used->history_messages = 1; }
  SUBCASE("for its messages on their way there") { used->entering = 1; }
  REQUIRE(used->in_use());
  for (int i = 0; i < 10; ++i) {
    REQUIRE(instances.Get("other " + std::to_string(i)) != nullptr);
    CHECK(instances.Find("used") == used);
    CHECK(instances.size() == 2);
  }
}

TEST_CASE("where all are in use, the newest is refused") {
  Instances instances(2);
  instances.Get("a")->clients_active = 1;
  instances.Get("b")->history_messages = 1;
  CHECK(instances.Get("c") == nullptr);
  CHECK(instances.Find("c") == nullptr);
  CHECK(instances.size() == 2);
  CHECK(instances.Get("a")->clients_active == 1);

  SUBCASE("until one is not") {
    instances.Get("b")->history_messages = 0;
    CHECK(instances.Get("c") != nullptr);
    CHECK(instances.Find("b") == nullptr);
  }
}

TEST_CASE("however many are in use, none of them makes room") {
  Instances instances(1000);
  for (int i = 0; i < 1000; ++i) instances.Get(std::to_string(i))->clients_active = 1;
  CHECK(instances.Get("new") == nullptr);
  CHECK(instances.size() == 1000);
  for (int i = 0; i < 1000; ++i) CHECK(instances.Find(std::to_string(i)) != nullptr);
}

TEST_CASE("one that is not in use makes room although hundreds before it are in use") {
  Instances instances(1000);
  for (int i = 0; i < 1000; ++i) instances.Get(std::to_string(i))->clients_active = i < 500 ? 1 : 0;
  bool found = false;
  for (int i = 0; i < 10 && !found; ++i) found = instances.Get("new") != nullptr;
  CHECK(found);
}

TEST_CASE("those that have changed are told once") {
  Instances instances;
  Instance& a = *instances.Get("a");
  Instance& b = *instances.Get("b");
  instances.Get("c");
  CHECK(Changed(instances).empty());
  instances.MarkChanged(b);
  instances.MarkChanged(a);
  instances.MarkChanged(b);
  CHECK(Changed(instances) == "b a");
  CHECK(Changed(instances).empty());
  instances.MarkChanged(b);
  CHECK(Changed(instances) == "b");
}

TEST_CASE("one that has made room is not told") {
  Instances instances(2);
  instances.MarkChanged(*instances.Get("a"));
  instances.MarkChanged(*instances.Get("b"));
  instances.Get("b")->clients_active = 1;
  instances.Get("c");
  CHECK(instances.Find("a") == nullptr);
  CHECK(Changed(instances) == "b");
}

}  // namespace
}  // namespace aphlict::history
