// JSON text in, events out (RFC 8259). Accepts what browsers' JSON.parse accepts, within a depth: lone
// surrogate escapes and numbers of any size included. Recursive for a few levels only, so that no input can exhaust the
// stack.
#pragma once

#include <cstddef>
#include <string_view>

#include "common/base/result.h"

namespace aphlict::json {

// Receives a document's parts in order. Each call returns whether to go on. Views are borrowed for the call.
//
// Strings come decoded, as UTF-8. A lone surrogate (`"\ud800"`), which UTF-8 cannot hold, comes as the three
// bytes that UTF-8's rule would give it (WTF-8), so that different strings stay different; since the text
// itself must be well-formed, no other string has these bytes.
class Events {
 public:
  virtual ~Events() = default;
  virtual bool Null() = 0;
  virtual bool Bool(bool value) = 0;
  virtual bool Number(std::string_view text) = 0;  // as it is written
  virtual bool String(std::string_view text) = 0;
  virtual bool Key(std::string_view text) = 0;  // a key can come twice: the last one counts
  virtual bool StartObject() = 0;
  virtual bool EndObject() = 0;
  virtual bool StartArray() = 0;
  virtual bool EndArray() = 0;
};

struct ReadOptions {
  int max_depth = 1024;   // nested arrays and objects
  bool comments = false;  // whether /* */ and // comments are skipped, as in configuration files
  // Where given, it is set before each event to a place on the line of what the event is about: the bracket
  // that opens or closes, else where it begins, or right behind it.
  std::size_t* offset = nullptr;
};

// Reads one document; nothing but white space may follow it. An error says where and what: "at byte 12:
// missing a comma or ] after an array element". An error's `code` is the byte offset. When `events` stops
// the reading, the error's text is "stopped".
Result<void> Read(std::string_view text, Events& events, const ReadOptions& options = {});

}  // namespace aphlict::json
