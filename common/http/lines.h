// The lines of a message's head, up to the empty one (RFC 9112 sections 2 and 5): what both requests and responses are
// made of, before llhttp sees any of it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "common/base/eight_bytes.h"
#include "common/base/result.h"

namespace aphlict::http {

// Empty lines before a request line: some clients send one behind a body (RFC 9112 section 2.2).
inline constexpr int kEmptyLines = 4;

// A head that is not larger costs no second allocation, and its memory is kept for the next one.
inline constexpr std::size_t kUsualHead = 480;
inline constexpr std::size_t kUsualHeaders = 8;

inline Error BadRequest(std::string text) { return {std::move(text), 400}; }

// The version's form and number; llhttp knows more versions than we have.
inline Result<void> CheckVersion(std::string_view version) {
  if (version == "HTTP/1.1" || version == "HTTP/1.0") return {};
  auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  if (version.size() == 8 && version.starts_with("HTTP/") && is_digit(version[5]) && version[6] == '.' &&
      is_digit(version[7])) {
    return Error{"only HTTP/1.1 and HTTP/1.0 are spoken here", 505};
  }
  return BadRequest("the first line has no HTTP version");
}

// Takes the lines of a head (or of trailers) byte by byte up to the empty line, and refuses what
// can make two readers see different lines. What it decides about a byte depends on those before it
// only, so that the outcome does not depend on how the bytes are cut.
class LineCollector {
 public:
  // `first_line` is judged as soon as it is complete, without its CRLF; null for trailers.
  using LineCheck = Result<void> (*)(std::string_view line);
  explicit LineCollector(std::size_t limit) : limit_(limit) {}

  void Begin(LineCheck first_line) {
    first_line_ = first_line;
    if (text_.capacity() > kUsualHead) text_ = std::string();
    text_.clear();
    text_.reserve(std::min(limit_, kUsualHead));
    line_ = 0;
    empty_lines_ = 0;
    complete_ = false;
  }

  // Returns how many bytes were taken; complete() tells whether the empty line was the last of them.
  Result<std::size_t> Feed(std::string_view bytes) {
    std::string_view rest = bytes;
    const auto take = [&](std::size_t count) {
      text_.append(rest.substr(0, count));
      rest.remove_prefix(count);
    };
    while (!rest.empty() && !complete_) {
      take(PlainRun(rest));
      if (rest.empty()) break;
      if (rest.starts_with("\r\n") && !text_.ends_with('\r') && limit_ - text_.size() >= 2) {
        take(2);
        if (Result<void> ended = EndLine(); !ended) return ended.error();
      } else {
        if (Result<void> added = Add(rest.front()); !added) return added.error();
        rest.remove_prefix(1);
      }
    }
    return bytes.size() - rest.size();
  }

  bool complete() const { return complete_; }
  bool empty() const { return text_.empty(); }
  std::size_t capacity() const { return text_.capacity(); }
  // All lines with the empty one.
  const std::string& text() const { return text_; }

 private:
  static bool IsControl(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

  // How many bytes from the front of `bytes` need no look of their own: printable ones, unless they fold a line, within
  // the limit.
  std::size_t PlainRun(std::string_view bytes) const {
    if (text_.ends_with('\r') || (text_.size() == line_ && bytes.front() == ' ')) return 0;
    const std::size_t most = std::min(bytes.size(), limit_ - text_.size());
    std::size_t run = 0;
    for (; run + 8 <= most; run += 8) {
      const EightBytes eight(bytes.data() + run);
      const std::uint64_t controls = eight.Below(0x20) | eight.Equal(0x7f);
      if (controls != 0) return run + EightBytes::First(controls);
    }
    while (run < most && !IsControl(bytes[run])) ++run;
    return run;
  }

  Result<void> Add(char c) {
    if (text_.size() == limit_) {
      return Error{"the headers take more than " + std::to_string(limit_) + " bytes", 431};
    }
    if (Result<void> checked = CheckByte(c); !checked) return checked;
    text_.push_back(c);
    return c == '\n' ? EndLine() : Result<void>();
  }

  Result<void> CheckByte(char c) const {
    const bool after_cr = text_.ends_with('\r');
    if (after_cr && c != '\n') return BadRequest("a carriage return without a line feed");
    if (!after_cr && c == '\n') return BadRequest("a line feed without a carriage return");
    if (text_.empty() && first_line_ != nullptr && c == 0x16) {
      return BadRequest("this looks like TLS, but the port speaks plain HTTP");
    }
    if (IsControl(c) && c != '\t' && c != '\r' && c != '\n') return BadRequest("a control character");
    if (text_.size() == line_ && (c == ' ' || c == '\t')) {
      return BadRequest(line_ == 0 ? "the first line begins with white space"
                                   : "a header line is folded: it begins with white space");
    }
    return {};
  }

  Result<void> EndLine() {
    const std::string_view line = std::string_view(text_).substr(line_, text_.size() - line_ - 2);
    const bool first = line_ == 0;
    if (line.empty() && (!first || first_line_ == nullptr)) {
      complete_ = true;
    } else if (line.empty()) {
      if (++empty_lines_ > kEmptyLines) return BadRequest("empty lines in place of a request");
      text_.clear();
      return {};
    } else if (first && first_line_ != nullptr) {
      if (Result<void> checked = first_line_(line); !checked) return checked;
    } else {
      // White space behind a value is spaces or tabs (RFC 9110 section 5.5). llhttp 8 takes only spaces for it.
      for (std::size_t at = text_.size() - 3; at > line_ && (text_[at] == ' ' || text_[at] == '\t'); --at) {
        text_[at] = ' ';
      }
    }
    line_ = text_.size();
    return {};
  }

  std::size_t limit_;
  LineCheck first_line_ = nullptr;
  std::string text_;
  std::size_t line_ = 0;  // where the current line begins
  int empty_lines_ = 0;
  bool complete_ = false;
};

}  // namespace aphlict::http
