// A JSON document as a tree, for documents that are small and read once: configuration, the feed's control
// messages, a client's commands. Publishes are not: see master/publish.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/result.h"
#include "common/json/reader.h"

namespace aphlict::json {

class Value {
 public:
  enum class Type { kNull, kBool, kNumber, kString, kArray, kObject };
  using Member = std::pair<std::string, Value>;

  Value() = default;  // null

  Type type() const { return type_; }
  bool is_null() const { return type_ == Type::kNull; }
  bool is_bool() const { return type_ == Type::kBool; }
  bool is_number() const { return type_ == Type::kNumber; }
  bool is_string() const { return type_ == Type::kString; }
  bool is_array() const { return type_ == Type::kArray; }
  bool is_object() const { return type_ == Type::kObject; }
  // "null", "a boolean", "a number", "a string", "a list" or "an object": for errors.
  std::string_view type_name() const;

  // No getter asserts: one that does not fit the type gives false, nothing, or what is empty.
  bool boolean() const { return type_ == Type::kBool && text_ == "true"; }
  const std::string& string() const;            // a string's text
  std::string_view number_text() const;         // a number as it is written
  std::optional<std::int64_t> integer() const;  // a number that is whole, without exponent, and fits
  std::optional<double> real() const;           // any number; one too large is infinite
  const std::vector<Value>& elements() const { return elements_; }
  // In the order of the text, a repeated key once: at the place of its first, with the value of its last.
  const std::vector<Member>& members() const { return members_; }
  // The member of that name, or a null value.
  const Value& operator[](std::string_view key) const;
  bool has(std::string_view key) const;

  // The line of the text on which the value begins, from 1.
  int line() const { return line_; }

 private:
  friend class TreeBuilder;

  Type type_ = Type::kNull;
  int line_ = 0;
  std::string text_;
  std::vector<Value> elements_;
  std::vector<Member> members_;
};

// Errors as Read(), with "line 3, column 5" in place of the byte.
Result<Value> Parse(std::string_view text, const ReadOptions& options = {});

}  // namespace aphlict::json
