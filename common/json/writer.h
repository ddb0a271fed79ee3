// JSON text out, piece by piece. Commas and quotes are its business; balance is the caller's.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>

namespace aphlict::json {

class Writer {
 public:
  Writer();
  ~Writer();
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  Writer& StartObject();
  Writer& EndObject();
  Writer& StartArray();
  Writer& EndArray();
  Writer& Key(std::string_view key);
  Writer& Null();
  Writer& Bool(bool value);
  Writer& Int(std::int64_t value);
  Writer& Uint(std::uint64_t value);
  Writer& Double(double value);  // not finite: null
  // Text in UTF-8 or WTF-8 (see Events): a lone surrogate is written as its escape. Other malformed bytes
  // become U+FFFD, so that the output is always well-formed.
  Writer& String(std::string_view text);

  // A value that is JSON already, which is the caller's business.
  Writer& Json(std::string_view value);

  // Key and value in one.
  Writer& Field(std::string_view key, std::string_view text) { return Key(key).String(text); }
  Writer& Field(std::string_view key, const char* text) { return Key(key).String(text); }
  Writer& Field(std::string_view key, bool value) { return Key(key).Bool(value); }
  Writer& Field(std::string_view key, std::signed_integral auto value) { return Key(key).Int(value); }
  Writer& Field(std::string_view key, std::unsigned_integral auto value) { return Key(key).Uint(value); }

  // The text so far. Borrowed until the next call.
  std::string_view text() const;

 private:
  struct Impl;
  Impl* impl_;
};

}  // namespace aphlict::json
