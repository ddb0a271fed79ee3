#include "common/base/bytes.h"

#include <doctest/doctest.h>

#include <string>
#include <utility>

using namespace aphlict;

TEST_CASE("shared bytes outlive what they were copied from") {
  SharedBytes bytes;
  {
    std::string source = "message";
    bytes = SharedBytes::Copy(source);
    source = "changed";
  }
  CHECK(bytes.view() == "message");
}

TEST_CASE("copies and slices of shared bytes use one buffer") {
  const SharedBytes whole = SharedBytes::Concat("head", "body");
  CHECK(whole.view() == "headbody");
  const SharedBytes copy = whole;  // NOLINT: the copy is what is tested
  CHECK(copy.data() == whole.data());
  const SharedBytes slice = whole.Slice(4);
  CHECK(slice.view() == "body");
  CHECK(slice.data() == whole.data() + 4);

  SUBCASE("and so does a slice of a slice") { CHECK(slice.Slice(1, 2).view() == "od"); }
  SUBCASE("and a slice that is asked for too much ends with the buffer") {
    CHECK(whole.Slice(6, 100).view() == "dy");
    CHECK(whole.Slice(8).empty());
  }
}

TEST_CASE("shared bytes survive the one they were copied from") {
  SharedBytes slice;
  {
    const SharedBytes whole = SharedBytes::Copy("a long enough text to live on the heap");
    slice = whole.Slice(2, 4);
  }
  CHECK(slice.view() == "long");

  SUBCASE("assignment to itself changes nothing") {
    const SharedBytes& itself = slice;
    slice = itself;
    CHECK(slice.view() == "long");
  }
  SUBCASE("what was moved from is empty") {
    const SharedBytes taken = std::move(slice);
    CHECK(taken.view() == "long");
    CHECK(slice.empty());  // NOLINT: promised
    CHECK(slice.view().empty());
  }
}

TEST_CASE("bytes that are filled later are seen by their owner") {
  char* data = nullptr;
  const SharedBytes bytes = SharedBytes::Uninitialized(3, &data);
  data[0] = 'a';
  data[1] = 'b';
  data[2] = 'c';
  CHECK(bytes.view() == "abc");
}

TEST_CASE("integers travel in network byte order") {
  std::string out = "x";
  AppendBigEndian(out, std::uint16_t{0x8182});
  AppendBigEndian(out, std::uint64_t{0xf1f2f3f4f5f6f7f8});
  CHECK(out == "x\x81\x82\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xf8");
  CHECK(LoadBigEndian<std::uint16_t>(out.data() + 1) == 0x8182);
  CHECK(LoadBigEndian<std::uint64_t>(out.data() + 3) == 0xf1f2f3f4f5f6f7f8);

  char stored[4];
  StoreBigEndian(stored, std::uint32_t{0x80c0e0f0});
  CHECK(std::string_view(stored, 4) == "\x80\xc0\xe0\xf0");
  CHECK(LoadBigEndian<std::uint32_t>(stored) == 0x80c0e0f0);
}

TEST_CASE("plain ASCII is told from all else, wherever that stands") {
  CHECK(IsPlainAscii(""));
  for (int byte = 0; byte < 256; ++byte) {
    for (std::size_t size = 1; size < 20; ++size) {
      for (std::size_t at = 0; at < size; ++at) {
        std::string text(size, '~');
        text[at] = static_cast<char>(byte);
        CAPTURE(byte);
        CAPTURE(at);
        CHECK(IsPlainAscii(text) == (byte >= 0x20 && byte < 0x80));
      }
    }
  }
}

TEST_CASE("UTF-8 is told from what only looks like it") {
  for (std::string_view text : {"", "plain", "\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf",
                                "\xee\x80\x80", "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    CAPTURE(text);
    CHECK(IsUtf8(text));
  }
  CHECK(IsUtf8(std::string_view("\0", 1)));

  struct Malformed {
    std::string what;
    std::string_view bytes;
  };
  for (const Malformed& malformed : {
           Malformed{"a continuation alone", "\x80"},
           Malformed{"an overlong slash", "\xc0\xaf"},
           Malformed{"an overlong two-byte form", "\xc1\xbf"},
           Malformed{"an overlong three-byte form", "\xe0\x9f\xbf"},
           Malformed{"an overlong four-byte form", "\xf0\x8f\xbf\xbf"},
           Malformed{"a surrogate", "\xed\xa0\x80"},
           Malformed{"past U+10FFFF", "\xf4\x90\x80\x80"},
           Malformed{"a lead byte that is never used", "\xf5\x80\x80\x80"},
           Malformed{"0xff", "\xff"},
           Malformed{"a cut two-byte form", "\xc3"},
           Malformed{"a cut three-byte form", "\xe2\x82"},
           Malformed{"a cut four-byte form", "\xf0\x9f\x98"},
           Malformed{"a lead byte in place of a continuation", "\xe2\xc3\xa9"},
       }) {
    CAPTURE(malformed.what);
    CHECK_FALSE(IsUtf8(malformed.bytes));
    // Eight bytes of ASCII are stepped over at once, so the position matters.
    for (std::size_t before = 0; before < 17; ++before) {
      const std::string text = std::string(before, 'a') + std::string(malformed.bytes) + "12345678";
      CHECK_FALSE(IsUtf8(text));
    }
  }
}
