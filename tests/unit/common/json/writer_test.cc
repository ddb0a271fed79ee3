#include "common/json/writer.h"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <string>

#include "common/base/bytes.h"
#include "common/json/value.h"

using namespace aphlict;
using json::Writer;

namespace {

std::string Written(std::string_view text) { return std::string(Writer().String(text).text()); }
std::string Written(double value) { return std::string(Writer().Double(value).text()); }

}  // namespace

TEST_CASE("commas and quotes are put where they belong") {
  Writer writer;
  writer.StartObject();
  writer.Key("list").StartArray().Int(1).String("two").StartArray().EndArray().Null().EndArray();
  writer.Key("object").StartObject().Field("yes", true).Field("no", false).EndObject();
  writer.Key("empty").StartObject().EndObject();
  writer.Field("text", "t").Field("string", std::string_view("s"));
  writer.EndObject();
  CHECK(writer.text() == R"({"list":[1,"two",[],null],"object":{"yes":true,"no":false},"empty":{},)"
                         R"("text":"t","string":"s"})");
}

TEST_CASE("what is JSON already is a value like others") {
  Writer writer;
  writer.StartArray().Int(1).Json(R"({"a":[]})").Json("2").EndArray();
  CHECK(writer.text() == R"([1,{"a":[]},2])");
}

TEST_CASE("integers are written in full") {
  Writer writer;
  writer.StartArray().Int(INT64_MIN).Int(-1).Uint(UINT64_MAX).Uint(0).EndArray();
  CHECK(writer.text() == "[-9223372036854775808,-1,18446744073709551615,0]");

  SUBCASE("of any type in fields") {
    Writer fields;
    fields.StartObject().Field("a", short{-1}).Field("b", std::size_t{2}).EndObject();
    CHECK(fields.text() == R"({"a":-1,"b":2})");
  }
}

TEST_CASE("real numbers are written so that they are read back as they were") {
  CHECK(Written(1.5) == "1.5");
  CHECK(Written(0.1) == "0.1");
  CHECK(Written(-2) == "-2");
  for (double value : {1e300, 5e-324, 1.7976931348623157e308, 123456789.123456789, 1e21}) {
    CAPTURE(value);
    CHECK(json::Parse(Written(value))->real() == value);
  }
  CHECK(Written(INFINITY) == "null");
  CHECK(Written(std::numeric_limits<double>::quiet_NaN()) == "null");
}

TEST_CASE("strings are escaped") {
  CHECK(Written("plain é€😀 / \x7f") == "\"plain é€😀 / \x7f\"");
  CHECK(Written("\"\\\b\f\n\r\t\x01\x1f") == R"("\"\\\b\f\n\r\t\u0001\u001f")");
  CHECK(Written(std::string_view("a\0b", 3)) == R"("a\u0000b")");

  SUBCASE("as keys, too") { CHECK(Writer().StartObject().Field("a\"\n", 1).EndObject().text() == R"({"a\"\n":1})"); }
}

TEST_CASE("a lone surrogate is written as its escape") {
  CHECK(Written("a\xed\xa0\x80z") == R"("a\ud800z")");
  CHECK(Written("\xed\xbf\xbf") == R"("\udfff")");
  CHECK(Written("é\xed\xa0\xbd\"") == R"("é\ud83d\"")");

  SUBCASE("so that it is read back as it was") {
    const Result<json::Value> read = json::Parse(R"("\ud800\n\udead é")");
    REQUIRE(read);
    CHECK(json::Parse(Written(read->string()))->string() == read->string());
  }
}

TEST_CASE("malformed bytes become U+FFFD") {
  CHECK(Written("a\xffz") == "\"a\xef\xbf\xbdz\"");
  CHECK(Written("\xc3") == "\"\xef\xbf\xbd\"");
  CHECK(Written("\xed\xa0") == "\"\xef\xbf\xbd\xef\xbf\xbd\"");
  CHECK(Written("\xed\xa0\x41") == "\"\xef\xbf\xbd\xef\xbf\xbd\x41\"");
  CHECK(Written("€\xe2\x82\"é") == "\"€\xef\xbf\xbd\xef\xbf\xbd\\\"é\"");
}

TEST_CASE("whatever bytes a string has, the text is UTF-8 and can be read") {
  for (unsigned first = 0; first < 256; ++first) {
    for (unsigned second = 0; second < 256; ++second) {
      for (std::string_view third : {"", "\x80", "\xbf", "a", "\"", "\\"}) {
        std::string bytes = {static_cast<char>(first), static_cast<char>(second)};
        bytes += third;
        const std::string text = Written(bytes);
        REQUIRE(IsUtf8(text));
        REQUIRE(json::Parse(text));
      }
    }
  }
}
