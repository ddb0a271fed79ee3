#include "common/json/writer.h"

#include <charconv>
#include <cmath>
#include <cstddef>

#include "common/base/bytes.h"

namespace aphlict::json {

struct Writer::Impl {
  std::string text;
  bool comma = false;  // whether a value or key needs one before it

  void Separate() {
    if (comma) text.push_back(',');
    comma = true;
  }

  void Value(std::string_view literal) {
    Separate();
    text.append(literal);
  }

  template <class T>
  void Number(T value) {
    char digits[32];  // a double's shortest form has at most 24 characters
    const auto result = std::to_chars(digits, digits + sizeof(digits), value);
    Value({digits, static_cast<std::size_t>(result.ptr - digits)});
  }

  void Quoted(std::string_view bytes);
};

namespace {

constexpr char kHex[] = "0123456789abcdef";

void AppendEscape(std::string& out, unsigned unit) {
  out.append("\\u");
  for (int shift = 12; shift >= 0; shift -= 4) out.push_back(kHex[unit >> shift & 0xf]);
}

void AppendAscii(std::string& out, char c) {
  switch (c) {
    case '"':
      out.append("\\\"");
      return;
    case '\\':
      out.append("\\\\");
      return;
    case '\b':
      out.append("\\b");
      return;
    case '\f':
      out.append("\\f");
      return;
    case '\n':
      out.append("\\n");
      return;
    case '\r':
      out.append("\\r");
      return;
    case '\t':
      out.append("\\t");
      return;
    default:
      AppendEscape(out, static_cast<unsigned char>(c));
  }
}

bool NeedsEscape(char c) { return static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\'; }
bool IsAscii(char c) { return static_cast<unsigned char>(c) < 0x80; }

// The length of the character that `bytes` begins with, or 0 where there is no well-formed one.
std::size_t CharacterLength(std::string_view bytes) {
  for (std::size_t length = 1; length <= 4 && length <= bytes.size(); ++length) {
    if (IsUtf8(bytes.substr(0, length))) return length;
  }
  return 0;
}

// Whether `bytes` begins with a surrogate's three bytes.
bool StartsWithSurrogate(std::string_view bytes) {
  auto at = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  return bytes.size() >= 3 && at(0) == 0xed && at(1) >= 0xa0 && at(1) <= 0xbf && at(2) >= 0x80 && at(2) <= 0xbf;
}

// The length of what `bytes` begins with, which is not ASCII; appends it, or what stands for it.
std::size_t AppendCharacter(std::string& out, std::string_view bytes) {
  if (const std::size_t length = CharacterLength(bytes); length > 0) {
    out.append(bytes.substr(0, length));
    return length;
  }
  if (StartsWithSurrogate(bytes)) {
    AppendEscape(out, 0xd000u | (bytes[1] & 0x3fu) << 6 | (bytes[2] & 0x3fu));
    return 3;
  }
  out.append("\xef\xbf\xbd");  // U+FFFD
  return 1;
}

}  // namespace

void Writer::Impl::Quoted(std::string_view bytes) {
  const bool well_formed = IsUtf8(bytes);
  auto is_plain = [well_formed](char c) { return !NeedsEscape(c) && (well_formed || IsAscii(c)); };
  text.push_back('"');
  std::size_t at = 0;
  while (at < bytes.size()) {
    std::size_t end = at;
    while (end < bytes.size() && is_plain(bytes[end])) ++end;
    text.append(bytes.substr(at, end - at));
    at = end;
    if (at == bytes.size()) break;
    if (IsAscii(bytes[at])) {
      AppendAscii(text, bytes[at++]);
    } else {
      at += AppendCharacter(text, bytes.substr(at));
    }
  }
  text.push_back('"');
}

Writer::Writer() : impl_(new Impl) {}
Writer::~Writer() { delete impl_; }

Writer& Writer::StartObject() {
  impl_->Value("{");
  impl_->comma = false;
  return *this;
}

Writer& Writer::EndObject() {
  impl_->text.push_back('}');
  impl_->comma = true;
  return *this;
}

Writer& Writer::StartArray() {
  impl_->Value("[");
  impl_->comma = false;
  return *this;
}

Writer& Writer::EndArray() {
  impl_->text.push_back(']');
  impl_->comma = true;
  return *this;
}

Writer& Writer::Key(std::string_view key) {
  impl_->Separate();
  impl_->Quoted(key);
  impl_->text.push_back(':');
  impl_->comma = false;
  return *this;
}

Writer& Writer::Null() {
  impl_->Value("null");
  return *this;
}

Writer& Writer::Bool(bool value) {
  impl_->Value(value ? "true" : "false");
  return *this;
}

Writer& Writer::Int(std::int64_t value) {
  impl_->Number(value);
  return *this;
}

Writer& Writer::Uint(std::uint64_t value) {
  impl_->Number(value);
  return *this;
}

Writer& Writer::Double(double value) {
  if (!std::isfinite(value)) return Null();
  impl_->Number(value);
  return *this;
}

Writer& Writer::String(std::string_view text) {
  impl_->Separate();
  impl_->Quoted(text);
  return *this;
}

Writer& Writer::Json(std::string_view value) {
  impl_->Value(value);
  return *this;
}

std::string_view Writer::text() const { return impl_->text; }

}  // namespace aphlict::json
