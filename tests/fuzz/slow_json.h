// A second reading of JSON (RFC 8259), for comparison with the product's: as plain as can be, and of its own.
// Takes what browsers' JSON.parse takes, of text in well-formed UTF-8.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace aphlict::fuzz {

struct SlowJson {
  enum class Type { kNull, kBool, kNumber, kString, kArray, kObject };
  Type type = Type::kNull;
  std::string text;  // "true" or "false"; a number as written; a string decoded, lone surrogates in three bytes
  std::vector<SlowJson> elements;  // of an array, or an object's values
  std::vector<std::string> keys;   // of an object, repeated ones as often as they come

  // The last member of that name, or null's value.
  const SlowJson& operator[](std::string_view key) const;
};

// Nothing: it is not JSON, or nested deeper than `max_depth`.
std::optional<SlowJson> ReadSlowly(std::string_view text, int max_depth, bool comments);

// The same document in one line, as plainly as can be.
std::string WritePlainly(const SlowJson& value);

// Whether `text` begins some well-formed UTF-8 text (RFC 3629), and whether it is all of one.
enum class Utf8 { kMalformed, kIncomplete, kWhole };
Utf8 ReadUtf8Slowly(std::string_view text);

}  // namespace aphlict::fuzz
