#include "master/publish.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace aphlict::master {
namespace {

// "[a] [b] uniqueID", or "400: why".
std::string Parsed(std::string_view body, const PublishLimits& limits = {}) {
  const auto publish = ParsePublish(body, limits);
  if (!publish) {
    CHECK(publish.error().code == 400);
    return std::to_string(publish.error().code) + ": " + publish.error().text;
  }
  std::string text;
  publish->subscribers.ForEach([&](std::string_view subscriber) {
    text.append("[").append(subscriber).append("] ");
    return true;
  });
  return text + publish->unique_id;
}

TEST_CASE("the messages that Phabricator sends are read") {
  CHECK(Parsed(R"({"key":"7305","type":"notification","subscribers":["PHID-USER-1"],"uniqueID":"u1"})") ==
        "[PHID-USER-1] u1");
  CHECK(Parsed(R"({"type":"message","threadPHID":"PHID-CONP-1","messageID":12,"subscribers":["PHID-CONP-1"],)"
               R"("uniqueID":"u2"})") == "[PHID-CONP-1] u2");
  CHECK(Parsed(R"({"type":"workboards","subscribers":["PHID-PROJ-1","PHID-PROJ-2"],"uniqueID":"u3"})") ==
        "[PHID-PROJ-1] [PHID-PROJ-2] u3");
}

TEST_CASE("subscribers are taken as they stand, in order") {
  CHECK(Parsed(R"({"subscribers":[]})") == "");
  CHECK(Parsed(R"({"subscribers":["b","a","b"]})") == "[b] [a] [b] ");
  CHECK(Parsed(R"({"subscribers":["","__proto__","constructor"]})") == "[] [__proto__] [constructor] ");
  CHECK(Parsed(R"({"subscribers":["\u0061\"\u00e9","é"]})") == "[a\"é] [é] ");
  CHECK(Parsed(" {\n\"subscribers\" :\t[ \"a\" ] } \r\n") == "[a] ");
}

TEST_CASE("a body that is no JSON object, or has no list of strings as subscribers, is refused with the reason") {
  for (const char* body : {"[]", "7", "null", "true", "\"x\"", R"(["subscribers"])"}) {
    CAPTURE(body);
    CHECK(Parsed(body) == "400: expected a JSON object");
  }
  CHECK(Parsed("{}") == "400: `subscribers` is missing");
  CHECK(Parsed(R"({"Subscribers":["a"]})") == "400: `subscribers` is missing");
  CHECK(Parsed(R"({"data":{"subscribers":["a"]}})") == "400: `subscribers` is missing");
  CHECK(Parsed(R"([{"subscribers":["a"]}])") == "400: expected a JSON object");

  struct Wrong {
    std::string value;
    std::string type;
  };
  for (const Wrong& wrong :
       {Wrong{"null", "null"}, Wrong{"true", "a boolean"}, Wrong{"7", "a number"}, Wrong{"\"a\"", "a string"},
        Wrong{"{}", "an object"}, Wrong{R"({"0":"a"})", "an object"}}) {
    CHECK(Parsed("{\"subscribers\":" + wrong.value + "}") == "400: `subscribers` must be a list, and is " + wrong.type);
  }
  for (const Wrong& wrong :
       {Wrong{"null", "null"}, Wrong{"false", "a boolean"}, Wrong{"1e5", "a number"}, Wrong{"[]", "a list"},
        Wrong{R"(["b"])", "a list"}, Wrong{"{}", "an object"}, Wrong{R"({"a":["b"]})", "an object"}}) {
    for (const std::string& list :
         {"[" + wrong.value + "]", "[\"a\"," + wrong.value + "]", "[" + wrong.value + ",\"a\"]"}) {
      CHECK(Parsed("{\"subscribers\":" + list + "}") ==
            "400: `subscribers` must hold strings only, and holds " + wrong.type);
    }
  }
}

TEST_CASE("what is not JSON is refused, and the reason says where") {
  for (const char* body : {"", " ", "{", "key=value", R"({"subscribers":["a"]}x)", R"({"subscribers":["a"]}{})",
                           R"({"subscribers":["a",]})", R"({"subscribers":["a"],})", R"({'subscribers':['a']})",
                           R"({"subscribers":["a"]/**/})", "{\"subscribers\":[\"\xff\"]}",
                           "{\"subscribers\":[\"a\"],\"x\":\"\xed\xa0\x80\"}", "{\"subscribers\":[\"a\nb\"]}",
                           R"({"subscribers":["a"],"n":01})", R"({"subscribers":["a"],"n":NaN})"}) {
    CAPTURE(body);
    CHECK(Parsed(body).starts_with("400: the body is not JSON: at byte "));
  }
}

TEST_CASE("other members have no meaning, whatever they are") {
  CHECK(Parsed(R"({"a":{"subscribers":7,"uniqueID":"no"},"subscribers":["s"],"b":[["x"],{"subscribers":[1]}],)"
               R"("uniqueID":"u","touched":["f"],"n":1e400,"big":123456789012345678901234567890})") == "[s] u");
  CHECK(Parsed(R"({"x":"\ud800","subscribers":["s"]})") == "[s] ");
}

TEST_CASE("a lone surrogate is a subscriber like any other") {
  CHECK(Parsed(R"({"subscribers":["\ud800"]})") == "[\xed\xa0\x80] ");
  CHECK(Parsed(R"({"subscribers":["\ud83d\ude00"]})") == "[\xf0\x9f\x98\x80] ");
}

TEST_CASE("a uniqueID that is not a string is none") {
  for (const char* value : {"null", "7", "true", "[]", "{}", R"(["u"])", R"({"u":"v"})", "\"\""}) {
    CAPTURE(value);
    CHECK(Parsed(R"({"subscribers":["s"],"uniqueID":)" + std::string(value) + "}") == "[s] ");
  }
  CHECK(Parsed(R"({"subscribers":["s"],"uniqueid":"u"})") == "[s] ");
  CHECK(Parsed(R"({"uniqueID":"u","subscribers":["s"]})") == "[s] u");
}

TEST_CASE("of equal keys the last one counts, as it does in the pages that read the message") {
  CHECK(Parsed(R"({"subscribers":["a"],"subscribers":["b"]})") == "[b] ");
  CHECK(Parsed(R"({"subscribers":["a"],"subscribers":[]})") == "");
  CHECK(Parsed(R"({"subscribers":7,"subscribers":["b"]})") == "[b] ");
  CHECK(Parsed(R"({"subscribers":[7],"subscribers":["b"]})") == "[b] ");
  CHECK(Parsed(R"({"subscribers":["a"],"subscribers":7})") == "400: `subscribers` must be a list, and is a number");
  CHECK(Parsed(R"({"subscribers":["a"],"subscribers":[7]})") ==
        "400: `subscribers` must hold strings only, and holds a number");
  CHECK(Parsed(R"({"subscribers":[],"uniqueID":"u","uniqueID":"v"})") == "v");
  CHECK(Parsed(R"({"subscribers":[],"uniqueID":"u","uniqueID":7})") == "");
  CHECK(Parsed(R"({"subscribers":["a"],"sub\u0073cribers":["b"]})") == "[b] ");
}

TEST_CASE("more subscribers than allowed are refused, and no more of them are read") {
  const PublishLimits limits{.json_depth = 1024, .subscribers = 3};
  CHECK(Parsed(R"({"subscribers":["1","2","3"]})", limits) == "[1] [2] [3] ");
  CHECK(Parsed(R"({"subscribers":["1","2","3","4"]})", limits) == "400: more than 3 subscribers");
  CHECK(Parsed(R"({"subscribers":["1","2","3","4",)", limits) == "400: more than 3 subscribers");

  SUBCASE("but those of an equal key before do not count") {
    CHECK(Parsed(R"({"subscribers":["1","2"],"subscribers":["1","2","3"]})", limits) == "[1] [2] [3] ");
  }
  SUBCASE("nor do other lists") {
    CHECK(Parsed(R"({"x":["1","2","3","4"],"subscribers":["1"],"y":["1","2","3","4"]})", limits) == "[1] ");
  }
}

TEST_CASE("what is nested too deep is refused, and the stack does not care") {
  const auto nested = [](int depth) {
    return R"({"subscribers":[],"x":)" + std::string(static_cast<std::size_t>(depth), '[') +
           std::string(static_cast<std::size_t>(depth), ']') + "}";
  };
  const PublishLimits limits{.json_depth = 10, .subscribers = 3};
  CHECK(Parsed(nested(9), limits) == "");
  CHECK(Parsed(nested(10), limits).starts_with("400: the body is not JSON: "));
  CHECK(Parsed(nested(1'000'000), limits).starts_with("400: "));
  CHECK(Parsed(nested(999'999), {.json_depth = 1'000'000, .subscribers = 3}) == "");
}

}  // namespace
}  // namespace aphlict::master
