#include "common/json/reader.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "common/base/bytes.h"

using namespace aphlict;
using json::Read;
using json::ReadOptions;

namespace {

// Writes the events down, one word each; stops at the event whose word is `stop_at`.
class Recorder : public json::Events {
 public:
  std::string words;
  std::string stop_at;

  bool Null() override { return Add("null"); }
  bool Bool(bool value) override { return Add(value ? "true" : "false"); }
  bool Number(std::string_view text) override { return Add("#" + std::string(text)); }
  bool String(std::string_view text) override { return Add("'" + std::string(text) + "'"); }
  bool Key(std::string_view text) override { return Add(std::string(text) + ":"); }
  bool StartObject() override { return Add("{"); }
  bool EndObject() override { return Add("}"); }
  bool StartArray() override { return Add("["); }
  bool EndArray() override { return Add("]"); }

 private:
  bool Add(const std::string& word) {
    if (!words.empty()) words.push_back(' ');
    words += word;
    return word != stop_at;
  }
};

// The events of a text, or "error: " and the reason.
std::string EventsOf(std::string_view text, const ReadOptions& options = {}) {
  Recorder recorder;
  const Result<void> read = Read(text, recorder, options);
  return read ? recorder.words : "error: " + read.error().text;
}

std::string ErrorOf(std::string_view text, const ReadOptions& options = {}) {
  Recorder recorder;
  const Result<void> read = Read(text, recorder, options);
  return read ? "no error, but " + recorder.words : read.error().text;
}

std::string Nested(int depth) { return std::string(depth, '[') + std::string(depth, ']'); }

}  // namespace

TEST_CASE("a document is read as a sequence of events") {
  CHECK(EventsOf(R"({"a": [1, "two", true, false, null], "b": {}, "c": [] })") ==
        "{ a: [ #1 'two' true false null ] b: { } c: [ ] }");
  CHECK(EventsOf(" \t\r\n7 \n") == "#7");
  CHECK(EventsOf("\"\"") == "''");

  SUBCASE("a repeated key comes each time") { CHECK(EventsOf(R"({"a":1,"a":2})") == "{ a: #1 a: #2 }"); }
}

TEST_CASE("strings come decoded") {
  CHECK(EventsOf(R"("\"\\\/\b\f\n\r\t")") == "'\"\\/\b\f\n\r\t'");
  CHECK(EventsOf(R"("\u0041\u00e9\u20AC\ud83d\uDE00")") == "'Aé€😀'");
  CHECK(EventsOf("\"é€😀\x7f\"") == "'é€😀\x7f'");
  CHECK(EventsOf(R"({"\u006bey":0})") == "{ key: #0 }");

  SUBCASE("with NUL in the middle") { CHECK(EventsOf(R"("a\u0000b")") == std::string("'a\0b'", 5)); }
}

TEST_CASE("a lone surrogate's escape comes as three bytes of WTF-8") {
  CHECK(EventsOf(R"("\ud800")") == "'\xed\xa0\x80'");
  CHECK(EventsOf(R"("\uDFFF")") == "'\xed\xbf\xbf'");
  CHECK(EventsOf(R"("a\uDbFfb")") ==
        "'a\xed\xaf\xbf"
        "b'");
  CHECK(EventsOf(R"({"\ud800":"x"})") == "{ \xed\xa0\x80: 'x' }");

  SUBCASE("also before something that is nearly its other half") {
    CHECK(EventsOf(R"("\ud800\u0041")") == "'\xed\xa0\x80\x41'");
    CHECK(EventsOf(R"("\ud800\ud83d\ude00")") == "'\xed\xa0\x80😀'");
    CHECK(EventsOf(R"("\ude00\ud83d")") == "'\xed\xb8\x80\xed\xa0\xbd'");
    CHECK(EventsOf(R"("\ud800\\udc00")") == "'\xed\xa0\x80\\udc00'");
    CHECK(EventsOf(R"("\ud800udc00")") == "'\xed\xa0\x80udc00'");
    CHECK(EventsOf(R"("\ud800\"")") == "'\xed\xa0\x80\"'");
  }
  SUBCASE("but an escaped backslash begins none") {
    CHECK(EventsOf(R"("\\ud800")") == "'\\ud800'");
    CHECK(EventsOf(R"("\\\ud800")") == "'\\\xed\xa0\x80'");
  }
  SUBCASE("and a malformed one is an error") {
    CHECK(ErrorOf(R"("\ud8")") == "at byte 1: \\u in a string needs four hexadecimal digits");
    CHECK(ErrorOf(R"("\ud800\u")") == "at byte 7: \\u in a string needs four hexadecimal digits");
    CHECK(ErrorOf(R"("\ud800\udx00")") == "at byte 7: \\u in a string needs four hexadecimal digits");
  }
}

TEST_CASE("numbers of any size come as they are written") {
  for (const std::string& number : std::vector<std::string>{
           "0", "-0", "12", "-1.50", "1e400", "-1E+400", "1e-400", "123456789012345678901234567890",
           "0." + std::string(1000, '1'), std::string(1000, '9'), "1." + std::string(400, '0') + "e5",
           "18446744073709551616", "1e99999999999999999999", "0e0"}) {
    CAPTURE(number);
    CHECK(EventsOf(number) == "#" + number);
    CHECK(EventsOf("[" + number + "," + number + "]") == "[ #" + number + " #" + number + " ]");
    CHECK(EventsOf("{\"n\":" + number + " }") == "{ n: #" + number + " }");
  }

  SUBCASE("but only where their form is right") {
    for (std::string malformed : {"01",
                                  "-01",
                                  "+1",
                                  ".5",
                                  "1.",
                                  "1.e5",
                                  "1e",
                                  "1e+",
                                  "-",
                                  "--1",
                                  "1-1",
                                  "1-1e400",
                                  "1e400-1e400",
                                  "1e5.5",
                                  "1.5.5",
                                  "1e400e400",
                                  "1 2",
                                  "0x10",
                                  "1e400x",
                                  "NaN",
                                  "Infinity",
                                  "-Infinity",
                                  "00000000000000000000",
                                  "00e400",
                                  "1a"}) {
      CAPTURE(malformed);
      CHECK(ErrorOf(malformed).starts_with("at byte "));
      CHECK(ErrorOf("[" + malformed + "]").starts_with("at byte "));
    }
  }
  SUBCASE("and not inside strings") { CHECK(EventsOf(R"(["1e400", "\"1e400"])") == "[ '1e400' '\"1e400' ]"); }
  SUBCASE("and one that is no member of the grammar is not reported in another's place") {
    Recorder recorder;
    CHECK_FALSE(Read("[1-1e400]", recorder));
    CHECK(recorder.words == "[ #1");
  }
}

TEST_CASE("what browsers refuse is refused") {
  for (std::string text : {"{",
                           "[",
                           "]",
                           "}",
                           ",",
                           "[1,]",
                           "{\"a\":1,}",
                           "[,1]",
                           "{,}",
                           "{1:2}",
                           "{\"a\"}",
                           "{\"a\" 1}",
                           "{\"a\":}",
                           "{\"a\":1 \"b\":2}",
                           "[1 2]",
                           "[1}",
                           "{\"a\":1]",
                           "tru",
                           "nul",
                           "True",
                           "'a'",
                           "\"a",
                           "\"\\",
                           "\"\\x\"",
                           "\"\n\"",
                           "\"\t\"",
                           "\v1",
                           "\xc2\xa0"
                           "1",
                           "1 x",
                           "{}{}",
                           "[]]",
                           "// c\n1",
                           "/* c */ 1",
                           "\"a\" \"b\"",
                           "undefined"}) {
    CAPTURE(text);
    CHECK(ErrorOf(text).starts_with("at byte "));
  }
}

TEST_CASE("errors say where and what") {
  CHECK(ErrorOf("[1, 2 3]") == "at byte 6: missing a comma or ] after an array element");
  CHECK(ErrorOf("{\"a\":1") == "at byte 6: missing a comma or } after an object member; the text ends here");
  CHECK(ErrorOf("{\"a\":1,}") == "at byte 7: missing a name for an object member");
  CHECK(ErrorOf("[1e400, x]") == "at byte 8: missing or malformed value");
  CHECK(ErrorOf("{} {}") == "at byte 3: something follows the document");

  SUBCASE("and the offset is the code") {
    Recorder recorder;
    CHECK(Read("[\"\\ud800\", 1e400 x]", recorder).error().code == 17);
  }
}

TEST_CASE("an empty text is an error") {
  CHECK(ErrorOf("") == "at byte 0: the text is empty");
  CHECK(ErrorOf(" \n") == "at byte 2: the text is empty");
}

TEST_CASE("a text that is not UTF-8 is an error, wherever that is") {
  CHECK(ErrorOf("\"a\xff\"") == "at byte 2: not UTF-8");
  CHECK(ErrorOf("[\"€\", \"\xed\xa0\x80\"]") == "at byte 9: not UTF-8");
  CHECK(ErrorOf("1 \xc3") == "at byte 2: not UTF-8");
}

TEST_CASE("a byte order mark is an error") { CHECK(ErrorOf("\xef\xbb\xbf{}") == "at byte 0: a byte order mark"); }

TEST_CASE("a NUL byte is an error and never the end of the text") {
  for (const std::string& text : {std::string("{}\0", 3), std::string("{}\0garbage", 10), std::string("\0{}", 3),
                                  std::string("[\0]", 3), std::string("\"a\0b\"", 5), std::string("1\0", 2)}) {
    CAPTURE(text);
    CHECK(ErrorOf(text) == "at byte " + std::to_string(text.find('\0')) + ": a NUL byte");
  }
}

// RapidJSON's loops that take 16 bytes at once let those from 0x1a on through in strings; a page's JSON.parse throws.
TEST_CASE("a control character is an error wherever it stands, and however long the text around it is") {
  for (int c = 1; c < 0x20; ++c) {
    for (std::size_t before = 0; before < 40; ++before) {
      const std::string text =
          "[\"" + std::string(before, 'a') + static_cast<char>(c) + std::string(40 - before, 'b') + "\"]";
      CAPTURE(c);
      CAPTURE(before);
      CHECK(ErrorOf(text).starts_with("at byte "));
    }
  }
  CHECK(ErrorOf("[1]\x1f").starts_with("at byte 3: "));
  CHECK(ErrorOf("\x1f[1]").starts_with("at byte 0: "));
  CHECK(EventsOf("\t[\r\n1\n]\r ") == EventsOf("[1]"));
}

// A large text is looked through in windows of 16 KiB.
TEST_CASE("whatever stands at any place of a large text is read as in a small one") {
  const std::string document = R"([-1.5e+400, "a\"\ud800\ud83d\ude00", 12345678901234567890, {"k\\": "v"}, true])";
  const std::string expected = EventsOf(document);
  REQUIRE(expected.find("#-1.5e+400") != std::string::npos);
  constexpr std::size_t kWindow = 16 * 1024;
  for (std::size_t at = kWindow - document.size() - 2; at < kWindow + 2; ++at) {
    CAPTURE(at);
    CHECK(EventsOf(std::string(at, ' ') + document + std::string(2 * kWindow, ' ')) == expected);
    CHECK(EventsOf("[\"" + std::string(at, 'x') + "\"," + document + "]") ==
          "[ '" + std::string(at, 'x') + "' " + expected + " ]");
  }
}

TEST_CASE("nesting is bounded") {
  CHECK(ErrorOf(Nested(1025)) == "at byte 1024: nested deeper than 1024");
  CHECK_FALSE(EventsOf(Nested(1024)).starts_with("error"));

  SUBCASE("by what the caller says") {
    ReadOptions options;
    options.max_depth = 2;
    CHECK(EventsOf(R"({"a":[1],"b":[2]})", options) == "{ a: [ #1 ] b: [ #2 ] }");
    CHECK(ErrorOf(R"({"a":[{}]})", options) == "at byte 6: nested deeper than 2");
    options.max_depth = 0;
    CHECK(EventsOf("1", options) == "#1");
    CHECK(ErrorOf("{}", options) == "at byte 0: nested deeper than 0");
  }
  SUBCASE("and a million brackets cost no stack") {
    ReadOptions options;
    options.max_depth = 1000000;
    CHECK_FALSE(EventsOf(Nested(1000000), options).starts_with("error"));
    CHECK(ErrorOf(std::string(1000000, '[')) == "at byte 1024: nested deeper than 1024");
  }
}

TEST_CASE("the receiver of events can stop the reading at each of them") {
  for (std::string word : {"{", "a:", "[", "#1", "'x'", "true", "null", "#1e400", "]", "}"}) {
    CAPTURE(word);
    Recorder recorder;
    recorder.stop_at = word;
    const Result<void> read = Read(R"({"a":[1,"x",true,null,1e400]})", recorder);
    REQUIRE_FALSE(read);
    CHECK(read.error().text == "stopped");
    CHECK(recorder.words.ends_with(word));
  }
}

// What RapidJSON refuses is found out in the middle of a text, when what comes before has been told.
TEST_CASE("a text that turns out to be unusual is told once, and from its beginning") {
  const std::string before = R"([[],{"k":"v"},1,true,null,)";
  const std::string told = "[ [ ] { k: 'v' } #1 true null ";
  for (const auto& [unusual, words] : std::vector<std::pair<std::string, std::string>>{
           {"1e400", "#1e400"},
           {R"("a\ud800")", "'a\xed\xa0\x80'"},
           {R"({"\ud800b":2})",
            "{ \xed\xa0\x80"
            "b: #2 }"},
       }) {
    CAPTURE(unusual);
    CHECK(EventsOf(before + unusual + ",\"x\"]") == told + words + " 'x' ]");
  }
  CHECK(EventsOf(before + Nested(500) + ",2]").starts_with(told + "[ [ [ [ "));
  CHECK(EventsOf(before + Nested(500) + ",2]").ends_with(" ] ] #2 ]"));
}

// Which is what those need who change a text, and do not write it anew.
TEST_CASE("the place of each bracket is told exactly") {
  class Places : public Recorder {
   public:
    std::size_t offset = 0;
    std::vector<std::size_t> places;
    bool StartObject() override { return Add(); }
    bool EndObject() override { return Add(); }
    bool StartArray() override { return Add(); }
    bool EndArray() override { return Add(); }

   private:
    bool Add() {
      places.push_back(offset);
      return true;
    }
  };
  const auto places_of = [](std::string_view text) {
    Places places;
    ReadOptions options;
    options.offset = &places.offset;
    REQUIRE(Read(text, places, options));
    return places.places;
  };
  const std::string usual = R"([ {"a" : [ ] , "b\\\"":"c"}, { } ])";
  const std::vector<std::size_t> expected{0, 2, 9, 11, 26, 29, 31, 33};
  CHECK(places_of(usual) == expected);
  // From a number on that RapidJSON refuses, another parser of it reads.
  std::vector<std::size_t> behind{0};
  for (const std::size_t place : expected) behind.push_back(place + 7);
  behind.push_back(7 + usual.size());
  CHECK(places_of("[1e400," + usual + "]") == behind);
}

TEST_CASE("comments are skipped where they are asked for") {
  ReadOptions options;
  options.comments = true;
  CHECK(EventsOf("// it's \"quoted\" 1e400\n[1, /* \" ** 2 */ 1e400 /**/] // end", options) == "[ #1 #1e400 ]");
  CHECK(EventsOf(R"(["// not one", "/* nor */"])", options) == "[ '// not one' '/* nor */' ]");
  CHECK(EventsOf("[1/**/,-2//\n]", options) == "[ #1 #-2 ]");

  SUBCASE("but must be closed") {
    CHECK(ErrorOf("1 /* ", options) == "at byte 5: malformed or unclosed comment; the text ends here");
    CHECK(ErrorOf("1 /*/", options).starts_with("at byte"));
    CHECK(ErrorOf("1 / 2", options).starts_with("at byte"));
  }
  SUBCASE("and do not join what they part") {
    CHECK(ErrorOf("1/**/2", options) == "at byte 5: something follows the document");
  }
}

TEST_CASE("the place of each event is told to those who ask") {
  class Places : public Recorder {
   public:
    std::size_t offset = 0;
    std::vector<std::size_t> lines;
    explicit Places(std::string_view text) : text_(text) {}
    bool Number(std::string_view) override { return Add(); }
    bool StartArray() override { return Add(); }
    bool String(std::string_view) override { return Add(); }

   private:
    bool Add() {
      std::size_t line = 1;
      for (char c : text_.substr(0, offset)) line += c == '\n';
      lines.push_back(line);
      return true;
    }
    std::string_view text_;
  };
  const std::string_view text = "[\n1e400\n,\n1\n,\"a\\ud800\"\n\n,[]]";
  Places places(text);
  ReadOptions options;
  options.offset = &places.offset;
  REQUIRE(Read(text, places, options));
  CHECK(places.lines == std::vector<std::size_t>{1, 2, 4, 5, 7});
}

TEST_CASE("reading takes time in proportion to the text") {
  // Each of these would take minutes if anything were looked at once for each byte before it.
  std::string surrogates = "[\"";
  std::string numbers = "[";
  for (int i = 0; i < 200000; ++i) {
    surrogates += "\\ud800";
    numbers += "1e400,";
  }
  CHECK_FALSE(EventsOf(surrogates + "\"]").starts_with("error"));
  CHECK_FALSE(EventsOf(numbers + "1]").starts_with("error"));
  CHECK_FALSE(EventsOf(std::string(2000000, '1')).starts_with("error"));
  CHECK_FALSE(EventsOf("\"" + std::string(2000000, 'a') + "\"").starts_with("error"));
}
