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

// Takes the lines of a head (or of trailers) up to the empty one, and refuses what can make two readers see different
// lines. What it decides about a byte depends on those before it only, so that the outcome does not depend on how the
// bytes are cut.
class LineCollector {
 public:
  // `first_line` is judged as soon as it is complete, without its CRLF; null for trailers.
  using LineCheck = Result<void> (*)(std::string_view line);
  explicit LineCollector(std::size_t limit) : limit_(limit) {}

  // The lines are put into `*text`, which is borrowed until the next Begin().
  void Begin(LineCheck first_line, std::string* text) {
    first_line_ = first_line;
    text_ = text;
    if (text_->capacity() > kUsualHead) std::string().swap(*text_);
    text_->clear();
    text_->reserve(std::min(limit_, kUsualHead));
    line_ = at_ = 0;
    empty_lines_ = 0;
    complete_ = false;
  }

  // Returns how many bytes were taken; complete() tells whether the empty line was the last of them.
  Result<std::size_t> Feed(std::string_view bytes) {
    std::size_t taken = 0;
    while (taken < bytes.size() && !complete_) {
      const std::size_t had = text_->size();
      if (had == limit_) return Error{"the headers take more than " + std::to_string(limit_) + " bytes", 431};
      // Some of it can be behind the empty line, and is then given back; so it is never much.
      const std::size_t usual = had < kUsualHead ? kUsualHead - had : kUsualHead;
      const std::string_view some = bytes.substr(taken, std::min(usual, limit_ - had));
      text_->append(some);
      if (Result<void> read = ReadLines(); !read) return read.error();
      taken += some.size();
      if (complete_) {
        taken -= text_->size() - at_;
        text_->resize(at_);
      }
    }
    return taken;
  }

  bool complete() const { return complete_; }
  bool empty() const { return text_->empty(); }
  // All lines with the empty one.
  const std::string& text() const { return *text_; }

 private:
  // Reads on to the empty line, or as far as the text goes.
  Result<void> ReadLines() {
    while (!complete_) {
      if (at_ == line_ && at_ < text_->size() && (*text_)[at_] <= ' ') {
        if (Result<void> checked = CheckFirstByte((*text_)[at_]); !checked) return checked;
      }
      at_ = EndOfPlainText(at_);
      const std::string_view rest = std::string_view(*text_).substr(at_);
      if (rest.empty() || rest == "\r") return {};
      if (rest.starts_with("\r\n")) {
        at_ += 2;
        if (Result<void> ended = EndLine(); !ended) return ended;
      } else if (rest.front() == '\t') {
        ++at_;
      } else {
        return BadRequest(rest.front() == '\r'   ? "a carriage return without a line feed"
                          : rest.front() == '\n' ? "a line feed without a carriage return"
                                                 : "a control character");
      }
    }
    return {};
  }

  // Of a line.
  Result<void> CheckFirstByte(char first) const {
    if (first == ' ' || first == '\t') {
      return BadRequest(line_ == 0 ? "the first line begins with white space"
                                   : "a header line is folded: it begins with white space");
    }
    if (first == 0x16 && line_ == 0 && first_line_ != nullptr) {
      return BadRequest("this looks like TLS, but the port speaks plain HTTP");
    }
    return {};
  }

  // Where, from `at` on, the text has a control character.
  std::size_t EndOfPlainText(std::size_t at) const {
    const std::string_view text = *text_;
    for (; at + 8 <= text.size(); at += 8) {
      const EightBytes eight(text.data() + at);
      const std::uint64_t controls = eight.Below(0x20) | eight.Equal(0x7f);
      if (controls != 0) return at + EightBytes::First(controls);
    }
    const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
    while (at < text.size() && !is_control(text[at])) ++at;
    return at;
  }

  // A line ends at at_.
  Result<void> EndLine() {
    const std::string_view line = std::string_view(*text_).substr(line_, at_ - line_ - 2);
    const bool first = line_ == 0;
    if (line.empty() && (!first || first_line_ == nullptr)) {
      complete_ = true;
    } else if (line.empty()) {
      if (++empty_lines_ > kEmptyLines) return BadRequest("empty lines in place of a request");
      text_->erase(0, at_);
      at_ = 0;
      return {};
    } else if (first && first_line_ != nullptr) {
      if (Result<void> checked = first_line_(line); !checked) return checked;
    } else {
      // White space behind a value is spaces or tabs (RFC 9110 section 5.5). llhttp 8 takes only spaces for it.
      const auto is_white = [](char c) { return c == ' ' || c == '\t'; };
      for (std::size_t at = at_ - 3; at > line_ && is_white((*text_)[at]); --at) (*text_)[at] = ' ';
    }
    line_ = at_;
    return {};
  }

  std::size_t limit_;
  LineCheck first_line_ = nullptr;
  std::string* text_ = nullptr;
  std::size_t line_ = 0;  // where the current line begins
  std::size_t at_ = 0;    // up to where it has been read
  int empty_lines_ = 0;
  bool complete_ = false;
};

}  // namespace aphlict::http
