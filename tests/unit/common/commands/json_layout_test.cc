#include "common/commands/json_layout.h"

#include <doctest/doctest.h>

#include <string>

namespace aphlict::commands {
namespace {

std::string LaidOut(const std::string& text) {
  const auto value = json::Parse(text);
  REQUIRE(value);
  return Layout(*value);
}

TEST_CASE("what has no list and no object in it is one line") {
  CHECK(LaidOut(R"({"a":1,"b":[1,2,null,true]})") == "{\n  \"a\": 1,\n  \"b\": [1, 2, null, true]\n}\n");
  CHECK(LaidOut("[]") == "[]\n");
  CHECK(LaidOut(R"([{"a":"x"},{}])") == "[\n  {\"a\": \"x\"},\n  {}\n]\n");
}

TEST_CASE("numbers stay as they were written, and text is escaped") {
  CHECK(LaidOut("1.50e3") == "1.50e3\n");
  CHECK(LaidOut("\"a\\\"\\u0007\"") == "\"a\\\"\\u0007\"\n");
}

TEST_CASE("texts become a list") {
  CHECK(QuotedList({}) == "[]");
  CHECK(QuotedList({"a", "b\""}) == R"(["a","b\""])");
}

TEST_CASE("what is laid out is the same document") {
  const std::string text = R"({"a":[[1],{"b":{"c":[{}]}}],"d":null})";
  CHECK(LaidOut(LaidOut(text)) == LaidOut(text));
}

}  // namespace
}  // namespace aphlict::commands
