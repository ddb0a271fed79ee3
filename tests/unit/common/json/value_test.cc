#include "common/json/value.h"

#include <doctest/doctest.h>

#include <cmath>
#include <string>

using namespace aphlict;
using json::Parse;
using json::Value;

namespace {

Value Parsed(std::string_view text) {
  Result<Value> value = Parse(text);
  REQUIRE_MESSAGE(value.has_value(), text);
  return *std::move(value);
}

}  // namespace

TEST_CASE("a document becomes a tree") {
  const Value value = Parsed(R"({"a": [1, "two", true, null, []], "b": {"c": false}})");
  REQUIRE(value.is_object());
  const Value& a = value["a"];
  REQUIRE(a.elements().size() == 5);
  CHECK(a.elements()[0].integer() == 1);
  CHECK(a.elements()[1].string() == "two");
  CHECK(a.elements()[2].boolean());
  CHECK(a.elements()[3].is_null());
  CHECK(a.elements()[4].is_array());
  CHECK(a.elements()[4].elements().empty());
  CHECK(value["b"]["c"].is_bool());
  CHECK_FALSE(value["b"]["c"].boolean());
  CHECK(value["b"].members().front().first == "c");
}

TEST_CASE("a document can be a single value") {
  CHECK(Parsed("\"text\"").string() == "text");
  CHECK(Parsed("null").is_null());
  CHECK(Parsed("{}").is_object());
}

TEST_CASE("a missing member is null and can be looked into") {
  const Value value = Parsed(R"({"null": null})");
  CHECK(value["no"].is_null());
  CHECK(value["no"]["deeper"].is_null());
  CHECK(value.has("null"));
  CHECK_FALSE(value.has("no"));
}

TEST_CASE("getters that do not fit the type give nothing") {
  const Value object = Parsed("{\"a\":1}");
  CHECK_FALSE(object.boolean());
  CHECK(object.string().empty());
  CHECK(object.number_text().empty());
  CHECK_FALSE(object.integer());
  CHECK_FALSE(object.real());
  CHECK(object.elements().empty());
  const Value text = Parsed("\"true\"");
  CHECK_FALSE(text.boolean());
  CHECK(text.number_text().empty());
  CHECK_FALSE(Parsed("\"1\"").integer());
  CHECK_FALSE(Parsed("\"1\"").real());
  CHECK(Parsed("1").string().empty());
  CHECK(text["member"].is_null());
  CHECK(Parsed("[1]")["0"].is_null());
}

TEST_CASE("types have names for errors") {
  CHECK(Parsed("null").type_name() == "null");
  CHECK(Parsed("true").type_name() == "a boolean");
  CHECK(Parsed("1").type_name() == "a number");
  CHECK(Parsed("\"\"").type_name() == "a string");
  CHECK(Parsed("[]").type_name() == "a list");
  CHECK(Parsed("{}").type_name() == "an object");
}

TEST_CASE("numbers are read as integers where they are ones that fit") {
  CHECK(Parsed("0").integer() == 0);
  CHECK(Parsed("-0").integer() == 0);
  CHECK(Parsed("9223372036854775807").integer() == INT64_MAX);
  CHECK(Parsed("-9223372036854775808").integer() == INT64_MIN);
  CHECK_FALSE(Parsed("9223372036854775808").integer());
  CHECK_FALSE(Parsed("1.0").integer());
  CHECK_FALSE(Parsed("1e3").integer());
  CHECK(Parsed("1e3").number_text() == "1e3");
}

TEST_CASE("any number can be read as a real one") {
  CHECK(Parsed("1.5").real() == 1.5);
  CHECK(Parsed("-12").real() == -12);
  CHECK(Parsed("1e3").real() == 1000);
  CHECK(Parsed("1E+2").real() == 100);
  CHECK(Parsed("1e400").real() == INFINITY);
  CHECK(Parsed("-1e400").real() == -INFINITY);
  CHECK(Parsed(std::string(400, '9')).real() == INFINITY);
  CHECK(Parsed("1e-400").real() == 0);
  CHECK(Parsed("1e-99999999999999999999").real() == 0);
}

TEST_CASE("of a repeated key the last value counts, at the place of the first") {
  const Value value = Parsed(R"({"a":1,"b":2,"a":[3]})");
  REQUIRE(value.members().size() == 2);
  CHECK(value.members()[0].first == "a");
  CHECK(value["a"].elements()[0].integer() == 3);
  CHECK(value.members()[1].first == "b");

  SUBCASE("also in large objects, and fast") {
    std::string text = "{";
    for (int i = 0; i < 200000; ++i) {
      text += "\"" + std::to_string(i % 100000) + "\":" + std::to_string(i) + ",";
    }
    const Value large = Parsed(text + "\"7\":-1}");
    REQUIRE(large.members().size() == 100000);
    for (int i = 0; i < 100000; ++i) {
      const Value::Member& member = large.members()[static_cast<std::size_t>(i)];
      REQUIRE(member.first == std::to_string(i));
      REQUIRE(member.second.integer() == (i == 7 ? -1 : i + 100000));
    }
  }
  SUBCASE("at each size where that is looked up in another way") {
    for (int size = 1; size < 40; ++size) {
      std::string text = "{";
      for (int i = 0; i < size; ++i) text += "\"" + std::to_string(i) + "\":0,";
      for (int i = 0; i < size; ++i) text += "\"" + std::to_string(i) + "\":1,";
      text.back() = '}';
      const Value object = Parsed(text);
      REQUIRE(object.members().size() == static_cast<std::size_t>(size));
      for (const Value::Member& member : object.members()) REQUIRE(member.second.integer() == 1);
    }
  }
}

TEST_CASE("values know the line on which they begin") {
  const Value value = Parsed("\n{\"a\":\n 1e400,\n\"b\": [\n\n \"x\"\n], \"c\": true}");
  CHECK(value.line() == 2);
  CHECK(value["a"].line() == 3);
  CHECK(value["b"].line() == 4);
  CHECK(value["b"].elements()[0].line() == 6);
  CHECK(value["c"].line() == 7);
  CHECK(value["no"].line() == 0);
}

TEST_CASE("errors name line and column") {
  CHECK(Parse("{\n  \"é\": 1,\n  \"ü\" 2\n}").error().text ==
        "line 3, column 7: missing a colon after the name of an object member");
  CHECK(Parse("x").error().text == "line 1, column 1: missing or malformed value");
  CHECK(Parse("").error().text == "line 1, column 1: the text is empty");
  CHECK(Parse("[1\n").error().text ==
        "line 2, column 1: missing a comma or ] after an array element; the text ends here");
}

TEST_CASE("options reach the reader") {
  json::ReadOptions options;
  options.comments = true;
  options.max_depth = 1;
  CHECK(Parse("[1] // one", options));
  CHECK(Parse("[[1]]", options).error().text == "line 1, column 2: nested deeper than 1");
}

TEST_CASE("a tree as deep as the reader allows is built and destroyed") {
  const Value value = Parsed(std::string(1024, '[') + std::string(1024, ']'));
  int depth = 1;
  const Value* inner = &value;
  while (!inner->elements().empty()) {
    inner = &inner->elements()[0];
    ++depth;
  }
  CHECK(depth == 1024);
}
