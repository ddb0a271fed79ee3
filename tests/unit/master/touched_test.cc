#include "master/touched.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "master/publish.h"

namespace aphlict::master {
namespace {

constexpr int kDepth = 1024;

// The copy of a message that has come by `more`, too.
std::string Copy(const std::string& body, const std::vector<std::string>& more = {"NEW"}) {
  REQUIRE(ParsePublish(body, {}));
  const Touched touched = FindTouched(body, kDepth);
  const std::string copy = body.substr(0, touched.begin) + touched.Insertion(more) + body.substr(touched.end);
  REQUIRE(ParsePublish(copy, {}));
  std::vector<std::string> nodes = touched.nodes;
  nodes.insert(nodes.end(), more.begin(), more.end());
  CHECK(FindTouched(copy, kDepth).nodes == nodes);
  return copy;
}

TEST_CASE("a message without the list gets one, and stays the same but for it") {
  CHECK(Copy(R"({"subscribers":["a"],"n":1.50})") == R"({"touched":["NEW"],"subscribers":["a"],"n":1.50})");
  CHECK(Copy("\n { \"subscribers\" : [ ] }\n") == "\n {\"touched\":[\"NEW\"], \"subscribers\" : [ ] }\n");
  CHECK(Copy(R"({"subscribers":[]})", {"A", "B"}) == R"({"touched":["A","B"],"subscribers":[]})");
}

TEST_CASE("the list of a message that has one grows at its end") {
  CHECK(Copy(R"({"subscribers":[],"touched":["A","B"],"x":1})") ==
        R"({"subscribers":[],"touched":["A","B","NEW"],"x":1})");
  CHECK(Copy(R"({"touched":[],"subscribers":[]})") == R"({"touched":["NEW"],"subscribers":[]})");
  CHECK(Copy("{\"touched\" : [ \"A\" ] , \"subscribers\":[]}") ==
        "{\"touched\" : [ \"A\" ,\"NEW\"] , \"subscribers\":[]}");
  CHECK(FindTouched(R"({"subscribers":[],"touched":["A","B"]})", kDepth).Has("B"));
  CHECK_FALSE(FindTouched(R"({"subscribers":["A"],"x":["A"]})", kDepth).Has("A"));
}

TEST_CASE("what else is in the list stays, and is nobody") {
  CHECK(Copy(R"({"touched":[1,null,["A"],{"touched":["B"]}],"subscribers":[]})") ==
        R"({"touched":[1,null,["A"],{"touched":["B"]},"NEW"],"subscribers":[]})");
  CHECK(Copy(R"({"touched":[[]],"subscribers":[]})") == R"({"touched":[[],"NEW"],"subscribers":[]})");
  CHECK(Copy(R"({"touched":[{}],"subscribers":[]})") == R"({"touched":[{},"NEW"],"subscribers":[]})");
}

TEST_CASE("there is never a second list: one that is none is replaced") {
  for (const std::string value :
       {R"(null)", R"(true)", R"(-1.5e3)", R"("A")", R"({})", R"({"touched":["A"],"x":[[1]]})", R"("\ud800")"}) {
    CAPTURE(value);
    CHECK(Copy(R"({"touched": )" + value + R"( ,"subscribers":[]})") == R"({"touched": ["NEW"] ,"subscribers":[]})");
    CHECK(Copy(R"({"subscribers":[],"touched":)" + value + "}") == R"({"subscribers":[],"touched":["NEW"]})");
  }
}

TEST_CASE("of two lists the last one counts, as it does for whoever reads it") {
  CHECK(Copy(R"({"touched":["A"],"subscribers":[],"touched":["B"]})") ==
        R"({"touched":["A"],"subscribers":[],"touched":["B","NEW"]})");
  CHECK(Copy(R"({"touched":["A"],"subscribers":[],"touched":7})") ==
        R"({"touched":["A"],"subscribers":[],"touched":["NEW"]})");
}

TEST_CASE("a key or a list of that name further down is another matter") {
  CHECK(Copy(R"({"x":{"touched":["A"]},"subscribers":["touched"]})") ==
        R"({"touched":["NEW"],"x":{"touched":["A"]},"subscribers":["touched"]})");
  CHECK(Copy(R"({"to\u0075ched":["A"],"subscribers":[]})") == R"({"to\u0075ched":["A","NEW"],"subscribers":[]})");
}

TEST_CASE("characters that take several bytes, and names that need escapes, move nothing") {
  CHECK(Copy(R"({"é":"🎉","touched":["ü"],"subscribers":[]})", {R"(a"b)"}) ==
        R"({"é":"🎉","touched":["ü","a\"b"],"subscribers":[]})");
  CHECK(Copy(R"({"a":"\ud800","b":123456789012345678901234567890,"touched":["A"],"subscribers":[]})") ==
        R"({"a":"\ud800","b":123456789012345678901234567890,"touched":["A","NEW"],"subscribers":[]})");
}

}  // namespace
}  // namespace aphlict::master
