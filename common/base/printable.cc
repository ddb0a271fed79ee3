#include "common/base/printable.h"

#include <algorithm>

#include "common/base/bytes.h"

namespace aphlict {

namespace {

bool IsControl(unsigned char byte) { return byte < 0x20 || byte == 0x7f; }

// Whether a well-formed sequence beyond ASCII can change how the line around it looks, or where it ends for whoever
// reads it: U+0080 to U+009F are control characters (some terminals take U+009B for an escape sequence), U+2028 and
// U+2029 end lines, and U+061C, U+200E, U+200F, U+202A to U+202E and U+2066 to U+2069 turn the direction of text.
bool IsDeceptive(std::string_view sequence) {
  if (sequence < "\xc2\xa0" || sequence == "\xd8\x9c") return true;
  if (sequence == "\xe2\x80\x8e" || sequence == "\xe2\x80\x8f") return true;
  return (sequence >= "\xe2\x80\xa8" && sequence <= "\xe2\x80\xae") ||
         (sequence >= "\xe2\x81\xa6" && sequence <= "\xe2\x81\xa9");
}

}  // namespace

std::string_view FirstSequence(std::string_view text) {
  const auto lead = static_cast<unsigned char>(text[0]);
  const std::size_t length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  const std::string_view sequence = text.substr(0, length);
  return IsUtf8(sequence) ? sequence : std::string_view();
}

std::size_t PrintableLength(std::string_view text) {
  const std::string_view sequence = FirstSequence(text);
  if (sequence.size() == 1) return IsControl(static_cast<unsigned char>(text[0])) ? 0 : 1;
  return IsDeceptive(sequence) ? 0 : sequence.size();
}

std::string Printable(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t length = PrintableLength(text);
    if (length == 0) {
      out += '?';
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(std::max<std::size_t>(FirstSequence(text).size(), 1));
  }
  return out;
}

}  // namespace aphlict
