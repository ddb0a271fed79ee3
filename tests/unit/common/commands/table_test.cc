#include "common/commands/table.h"

#include <doctest/doctest.h>

#include <sstream>
#include <string>

namespace aphlict::commands {
namespace {

std::string Rendered(std::size_t width) {
  Table table({{"NAME", false, 4}, {"COUNT", true}, {"URL", false, 3}});
  table.Add({"first", "7", "https://one.example.com/"});
  table.Add({"é", "12345678", ""});
  return table.Render(width);
}

TEST_CASE("columns are as wide as what is in them, and numbers stand at the right") {
  CHECK(Rendered(0) ==
        "NAME      COUNT  URL\n"
        "first         7  https://one.example.com/\n"
        "é      12345678\n");
}

TEST_CASE("where the width is short, the last column gives way before those before it") {
  CHECK(Rendered(30) ==
        "NAME      COUNT  URL\n"
        "first         7  https://one.…\n"
        "é      12345678\n");
  CHECK(Rendered(19) ==
        "NAME     COUNT  URL\n"
        "fir…         7  ht…\n"
        "é     12345678\n");
}

TEST_CASE("what may not be cut stays whole, however short the width is") { CHECK(Rendered(1) == Rendered(19)); }

TEST_CASE("what a terminal would obey does not get into a table") {
  Table table({{"NAME"}});
  table.Add({"a\x1b[2Jb\u202ec"});
  CHECK(table.Render(0) == "NAME\na?[2Jb?c\n");
}

TEST_CASE("text is wrapped between words") {
  CHECK(Wrapped("one two three", 100) == "one two three");
  CHECK(Wrapped("one two three", 7) == "one two\nthree");
  CHECK(Wrapped("one\ntwo  incomprehensible x", 5) == "one\ntwo\nincomprehensible\nx");
  CHECK(Wrapped("", 5) == "");
}

TEST_CASE("counts, bytes and times are short") {
  CHECK(ShortCount(0) == "0");
  CHECK(ShortCount(999'999) == "999999");
  CHECK(ShortCount(1'000'000) == "1.0M");
  CHECK(ShortCount(123'456'789) == "123M");
  CHECK(ShortCount(5'000'000'000) == "5.0G");
  CHECK(ShortBytes(1023) == "1023");
  CHECK(ShortBytes(1024) == "1.0K");
  CHECK(ShortBytes(10 * 1024 * 1024) == "10M");
  CHECK(ShortBytes(1024 * 1024 - 1) == "1.0M");
  CHECK(ShortTime(milliseconds(0)) == "0");
  CHECK(ShortTime(milliseconds(35)) == "35ms");
  CHECK(ShortTime(milliseconds(4'200)) == "4.2s");
  CHECK(ShortTime(milliseconds(59'000)) == "59s");
  CHECK(ShortTime(milliseconds(61'000)) == "1m1s");
  CHECK(ShortTime(std::chrono::minutes(11)) == "11m");
  CHECK(ShortTime(std::chrono::minutes(192)) == "3h12m");
  CHECK(ShortTime(std::chrono::hours(24 * 9 + 5)) == "9d5h");
  CHECK(ShortTime(std::chrono::hours(24 * 40)) == "40d");
  CHECK(Took(microseconds(420)) == "0.42 ms");
  CHECK(Took(milliseconds(12)) == "12 ms");
  CHECK(Took(milliseconds(1'300)) == "1.3 s");
}

}  // namespace
}  // namespace aphlict::commands
