#include "tests/fuzz/slow_json.h"

#include <cstdio>

namespace aphlict::fuzz {

namespace {

void AppendUtf8(std::string& out, unsigned code) {
  const auto byte = [&out](unsigned value) { out.push_back(static_cast<char>(value)); };
  if (code < 0x80) return byte(code);
  if (code < 0x800) {
    byte(0xc0 | code >> 6);
  } else if (code < 0x10000) {
    byte(0xe0 | code >> 12);
    byte(0x80 | (code >> 6 & 0x3f));
  } else {
    byte(0xf0 | code >> 18);
    byte(0x80 | (code >> 12 & 0x3f));
    byte(0x80 | (code >> 6 & 0x3f));
  }
  byte(0x80 | (code & 0x3f));
}

class Reader {
 public:
  Reader(std::string_view text, int max_depth, bool comments)
      : rest_(text), max_depth_(max_depth), comments_(comments) {}

  bool Document(SlowJson* value) { return Space() && Value(value, 0) && Space() && rest_.empty(); }

 private:
  bool Take(std::string_view token) {
    if (!rest_.starts_with(token)) return false;
    rest_.remove_prefix(token.size());
    return true;
  }

  bool Space() {
    while (true) {
      if (Take(" ") || Take("\t") || Take("\r") || Take("\n")) continue;
      if (comments_ && Take("//")) {
        while (!rest_.empty() && !Take("\n")) rest_.remove_prefix(1);
      } else if (comments_ && Take("/*")) {
        while (!Take("*/")) {
          if (rest_.empty()) return false;
          rest_.remove_prefix(1);
        }
      } else {
        return true;
      }
    }
  }

  bool Literal(SlowJson* value, SlowJson::Type type, std::string_view token) {
    value->type = type;
    value->text = type == SlowJson::Type::kBool ? token : "";
    return Take(token);
  }

  bool Value(SlowJson* value, int depth) {
    if (rest_.starts_with('{')) return depth < max_depth_ && Object(value, depth + 1);
    if (rest_.starts_with('[')) return depth < max_depth_ && Array(value, depth + 1);
    if (rest_.starts_with('"')) {
      value->type = SlowJson::Type::kString;
      return String(&value->text);
    }
    if (rest_.starts_with('n')) return Literal(value, SlowJson::Type::kNull, "null");
    if (rest_.starts_with('t')) return Literal(value, SlowJson::Type::kBool, "true");
    if (rest_.starts_with('f')) return Literal(value, SlowJson::Type::kBool, "false");
    return Number(value);
  }

  bool Digits() {
    std::size_t count = 0;
    while (!rest_.empty() && rest_[0] >= '0' && rest_[0] <= '9') {
      rest_.remove_prefix(1);
      ++count;
    }
    return count > 0;
  }

  bool Number(SlowJson* value) {
    const std::string_view begin = rest_;
    value->type = SlowJson::Type::kNumber;
    Take("-");
    if (!Take("0") && !Digits()) return false;
    if (Take(".") && !Digits()) return false;
    if (Take("e") || Take("E")) {
      if (!Take("+")) Take("-");
      if (!Digits()) return false;
    }
    value->text = begin.substr(0, begin.size() - rest_.size());
    return true;
  }

  bool Hex4(unsigned* unit) {
    *unit = 0;
    for (int i = 0; i < 4; ++i) {
      if (rest_.empty()) return false;
      const char c = rest_[0];
      unsigned digit;
      if (c >= '0' && c <= '9') {
        digit = static_cast<unsigned>(c - '0');
      } else if (c >= 'a' && c <= 'f') {
        digit = static_cast<unsigned>(c - 'a') + 10;
      } else if (c >= 'A' && c <= 'F') {
        digit = static_cast<unsigned>(c - 'A') + 10;
      } else {
        return false;
      }
      *unit = *unit << 4 | digit;
      rest_.remove_prefix(1);
    }
    return true;
  }

  bool Escape(std::string* out) {
    constexpr std::string_view kNames = "\"\\/bfnrt";
    constexpr std::string_view kCharacters = "\"\\/\b\f\n\r\t";
    for (std::size_t i = 0; i < kNames.size(); ++i) {
      if (!Take(kNames.substr(i, 1))) continue;
      out->push_back(kCharacters[i]);
      return true;
    }
    unsigned unit;
    if (!Take("u") || !Hex4(&unit)) return false;
    if (unit >= 0xd800 && unit <= 0xdbff) {
      const std::string_view before = rest_;
      unsigned low;
      if (Take("\\u") && Hex4(&low) && low >= 0xdc00 && low <= 0xdfff) {
        AppendUtf8(*out, 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00));
        return true;
      }
      rest_ = before;
    }
    AppendUtf8(*out, unit);
    return true;
  }

  bool String(std::string* out) {
    if (!Take("\"")) return false;
    while (!Take("\"")) {
      if (rest_.empty() || static_cast<unsigned char>(rest_[0]) < 0x20) return false;
      if (Take("\\")) {
        if (!Escape(out)) return false;
      } else {
        out->push_back(rest_[0]);
        rest_.remove_prefix(1);
      }
    }
    return true;
  }

  bool Array(SlowJson* value, int depth) {
    value->type = SlowJson::Type::kArray;
    if (!Take("[") || !Space()) return false;
    if (Take("]")) return true;
    do {
      if (!Space() || !Value(&value->elements.emplace_back(), depth) || !Space()) return false;
    } while (Take(","));
    return Take("]");
  }

  bool Object(SlowJson* value, int depth) {
    value->type = SlowJson::Type::kObject;
    if (!Take("{") || !Space()) return false;
    if (Take("}")) return true;
    do {
      if (!Space() || !String(&value->keys.emplace_back()) || !Space() || !Take(":")) return false;
      if (!Space() || !Value(&value->elements.emplace_back(), depth) || !Space()) return false;
    } while (Take(","));
    return Take("}");
  }

  std::string_view rest_;
  int max_depth_;
  bool comments_;
};

std::string Quoted(std::string_view text) {
  std::string out = "\"";
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    char escape[8];
    if (byte == 0xed && static_cast<unsigned char>(text[i + 1]) >= 0xa0) {  // a lone surrogate
      const unsigned unit = 0xd000u | (text[i + 1] & 0x3fu) << 6 | (text[i + 2] & 0x3fu);
      std::snprintf(escape, sizeof(escape), "\\u%04x", unit);
      out += escape;
      i += 2;
    } else if (byte < 0x20 || byte == '"' || byte == '\\') {
      std::snprintf(escape, sizeof(escape), "\\u%04x", static_cast<unsigned>(byte));
      out += escape;
    } else {
      out.push_back(text[i]);
    }
  }
  return out + "\"";
}

}  // namespace

const SlowJson& SlowJson::operator[](std::string_view key) const {
  static const SlowJson kNull;
  const SlowJson* found = &kNull;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    if (keys[i] == key) found = &elements[i];
  }
  return *found;
}

std::optional<SlowJson> ReadSlowly(std::string_view text, int max_depth, bool comments) {
  SlowJson value;
  if (ReadUtf8Slowly(text) != Utf8::kWhole) return std::nullopt;
  for (const char c : text) {  // also in comments
    if (static_cast<unsigned char>(c) < 0x20 && c != '\t' && c != '\n' && c != '\r') return std::nullopt;
  }
  if (!Reader(text, max_depth, comments).Document(&value)) return std::nullopt;
  return value;
}

std::string WritePlainly(const SlowJson& value) {
  std::string out;
  switch (value.type) {
    case SlowJson::Type::kNull:
      return "null";
    case SlowJson::Type::kBool:
    case SlowJson::Type::kNumber:
      return value.text;
    case SlowJson::Type::kString:
      return Quoted(value.text);
    case SlowJson::Type::kArray:
      for (const SlowJson& element : value.elements) out += (out.empty() ? "" : ",") + WritePlainly(element);
      return "[" + out + "]";
    case SlowJson::Type::kObject:
      for (std::size_t i = 0; i < value.keys.size(); ++i) {
        out += (out.empty() ? "" : ",") + Quoted(value.keys[i]) + ":" + WritePlainly(value.elements[i]);
      }
      return "{" + out + "}";
  }
  return out;
}

Utf8 ReadUtf8Slowly(std::string_view text) {
  while (!text.empty()) {
    const auto at = [&text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
    const unsigned first = at(0);
    const std::size_t length = first < 0x80   ? 1
                               : first < 0xc2 ? 0
                               : first < 0xe0 ? 2
                               : first < 0xf0 ? 3
                               : first < 0xf5 ? 4
                                              : 0;
    if (length == 0) return Utf8::kMalformed;
    // The least and the most that the second byte may be: no overlong forms, no surrogates, at most U+10FFFF.
    const unsigned least = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    const unsigned most = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    for (std::size_t i = 1; i < length; ++i) {
      if (i == text.size()) return Utf8::kIncomplete;
      if (at(i) < (i == 1 ? least : 0x80u) || at(i) > (i == 1 ? most : 0xbfu)) return Utf8::kMalformed;
    }
    text.remove_prefix(length);
  }
  return Utf8::kWhole;
}

}  // namespace aphlict::fuzz
