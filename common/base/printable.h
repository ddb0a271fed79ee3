// What others say, fit for one line of a log or a terminal.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace aphlict {

// The UTF-8 sequence that begins `text`, or nothing where it is malformed. REQUIRES: `text` is not empty.
std::string_view FirstSequence(std::string_view text);

// The length of the UTF-8 sequence that begins `text`; 0 where it is malformed or may not stand in a line as it is,
// because it could change how the line around it looks, or where it ends. REQUIRES: `text` is not empty.
std::size_t PrintableLength(std::string_view text);

// With a '?' in place of each sequence that may not stand in a line, and of each byte that is not UTF-8.
std::string Printable(std::string_view text);

}  // namespace aphlict
