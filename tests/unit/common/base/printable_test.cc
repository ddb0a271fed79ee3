#include "common/base/printable.h"

#include <doctest/doctest.h>

#include <string>

namespace aphlict {
namespace {

TEST_CASE("text stays as it is") {
  for (const char* text : {"", "a b", "é", "日本", "\U0001f600", "\u00a0", "\u2027", "\u202f", "\u2065", "\u206a"}) {
    CHECK(Printable(text) == text);
  }
}

TEST_CASE("what a terminal would obey is not printed") {
  CHECK(Printable("a\x1b[2Jb\n\x7f") == "a?[2Jb??");
  CHECK(Printable("a\xc2\x80\xc2\x9bz") == "a??z");
}

TEST_CASE("what ends lines elsewhere, or turns the direction of text, is not printed") {
  for (const char* text : {"\u061c", "\u200e", "\u200f", "\u2028", "\u2029", "\u202a", "\u202b", "\u202c", "\u202d",
                           "\u202e", "\u2066", "\u2067", "\u2068", "\u2069"}) {
    CAPTURE(text);
    CHECK(Printable("a" + std::string(text) + "é") == "a?é");
  }
}

TEST_CASE("a byte that is not UTF-8 is one question mark, and leaves the others alone") {
  CHECK(Printable("é\xffé") == "é?é");
  CHECK(Printable("é\xc3") == "é?");
  CHECK(Printable("\xe2\x80zé") == "??zé");
  CHECK(Printable("\xed\xa0\x80é") == "???é");  // a surrogate
}

TEST_CASE("the length of what may stand in a line is that of its first sequence") {
  CHECK(PrintableLength("é!") == 2);
  CHECK(PrintableLength("!é") == 1);
  CHECK(PrintableLength("\u202e!") == 0);
  CHECK(FirstSequence("\u202e!") == "\u202e");
  CHECK(FirstSequence("\xff!").empty());
}

}  // namespace
}  // namespace aphlict
