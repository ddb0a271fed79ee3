// RapidJSON's loops that take 16 bytes at once. Both are in every processor of their kind.
#if defined(__x86_64__)
#define RAPIDJSON_SSE2
#elif defined(__aarch64__)
#define RAPIDJSON_NEON
#endif

#include "common/json/reader.h"

#include <rapidjson/error/error.h>
#include <rapidjson/reader.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "common/base/bytes.h"
#include "common/base/eight_bytes.h"

namespace aphlict::json {

namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

int HexDigit(char c) {
  if (IsDigit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool IsHighSurrogate(int unit) { return unit >= 0xd800 && unit <= 0xdbff; }
bool IsLowSurrogate(int unit) { return unit >= 0xdc00 && unit <= 0xdfff; }

// A number as it is written, cut at the first byte that cannot belong to it. It need not be well-formed.
struct NumberToken {
  NumberToken(std::string_view text, std::size_t begin) {
    std::size_t at = begin;
    auto skip = [&](std::string_view any) {
      if (at < text.size() && any.find(text[at]) != std::string_view::npos) ++at;
    };
    auto part = [&](auto&& take) {
      const std::size_t start = at;
      take();
      return text.substr(start, at - start);
    };
    auto digits = [&] {
      while (at < text.size() && IsDigit(text[at])) ++at;
    };
    sign = part([&] { skip("-"); });
    whole = part(digits);
    point = part([&] { skip("."); });
    if (!point.empty()) fraction = part(digits);
    mark = part([&] { skip("eE"); });
    if (!mark.empty()) {
      exponent_sign = part([&] { skip("+-"); });
      exponent = part(digits);
    }
    all = text.substr(begin, at - begin);
  }

  std::string_view all, sign, whole, point, fraction, mark, exponent_sign, exponent;
};

// The digits that RapidJSON takes without looking at what they amount to. (It begins to at 19 or 20.)
constexpr std::size_t kSafeDigits = 15;

constexpr std::size_t kWindowBytes = 16 * 1024;

// RapidJSON's input: the text, except for two things that it refuses and browsers take.
//
// - A lone surrogate's escape is shown to it as the three bytes of WTF-8.
// - A number with many digits or an exponent is shown shortened, so that RapidJSON judges its form and not its size:
//   12e+345 is shown as 12e+0. TakeNumber() then has what is written.
//
// It is therefore read in windows: stretches of the text, and substitutes. Within a window nothing is looked at
// again, which keeps Peek and Take as cheap as those of RapidJSON's own streams. The text after an error in the
// grammar may be cut wrongly into strings and numbers; RapidJSON never gets there.
class SourceStream {
 public:
  using Ch = char;

  // `text` must not contain NUL, which is how RapidJSON is told the end.
  SourceStream(std::string_view text, bool comments) : text_(text), comments_(comments) { NextWindow(); }

  Ch Peek() const { return *at_; }
  Ch Take() {
    const Ch taken = *at_;
    if (++at_ == end_) NextWindow();
    return taken;
  }
  // The position in the text; within a substitute, of what it stands for.
  std::size_t Tell() const { return substituted_ ? offset_ : static_cast<std::size_t>(at_ - text_.data()); }

  // The number that was just read: `shown` is what RapidJSON saw of it.
  std::string_view TakeNumber(std::string_view shown) {
    const std::string_view hidden = std::exchange(hidden_number_, {});
    return hidden.empty() ? shown : hidden;
  }

  // For parsing in place, which RapidJSON compiles even when it is not asked for.
  Ch* PutBegin() { return nullptr; }
  void Put(Ch) {}
  void Flush() {}
  std::size_t PutEnd(Ch*) { return 0; }

 private:
  void NextWindow() {
    const std::size_t start = next_;
    next_ = Scan(start);
    if (next_ > start) {
      at_ = text_.data() + start;
      end_ = text_.data() + next_;
      substituted_ = false;
      return;
    }
    offset_ = start;
    substituted_ = true;
    at_ = substitute_;
    if (start == text_.size()) {
      substitute_[0] = '\0';
      end_ = substitute_ + 1;
    } else {
      end_ = in_string_ ? SubstituteSurrogate() : SubstituteNumber();
    }
  }

  // From `at` on, the first place that needs a substitute, else the end of the text, or of a window that is long
  // enough: what comes behind an error is not looked through.
  std::size_t Scan(std::size_t at) {
    const std::size_t enough = at + kWindowBytes;
    while (at < text_.size() && at < enough) {
      const char c = text_[at];
      if (in_string_) {
        if (c == '\\') {
          const std::size_t length = EscapeLength(at);
          if (length == 0) return at;
          at += length;
          continue;
        }
        if (c == '"') {
          in_string_ = false;
          ++at;
        } else {
          at = EndOfPlainText(at + 1);
        }
      } else if (StartsNumber(at)) {
        const NumberToken number(text_, at);
        if (number.whole.size() > kSafeDigits || !number.mark.empty()) return at;
        at += number.all.size();
      } else if (c == '/' && comments_) {
        at = CommentEnd(at);
      } else {
        if (c == '"') in_string_ = true;
        ++at;
      }
    }
    return std::min(at, text_.size());
  }

  // Where, from `at` on, a string's text has a quotation mark or a backslash.
  std::size_t EndOfPlainText(std::size_t at) const {
    for (; at + 8 <= text_.size(); at += 8) {
      const EightBytes bytes(text_.data() + at);
      const std::uint64_t ends = bytes.Equal('"') | bytes.Equal('\\');
      if (ends != 0) return at + EightBytes::First(ends);
    }
    while (at < text_.size() && text_[at] != '"' && text_[at] != '\\') ++at;
    return at;
  }

  bool StartsNumber(std::size_t at) const {
    if (IsDigit(text_[at])) return true;
    if (text_[at] != '-') return false;
    // In `1-1e400` the minus belongs to no number. Taking it for a start would replace the 1's
    // text, whose event comes only after RapidJSON has seen what follows.
    return at == 0 ||
           (!IsDigit(text_[at - 1]) && std::string_view(".eE+-").find(text_[at - 1]) == std::string_view::npos);
  }

  // The length of what begins with the backslash at `at` and must not be looked at apart; 0 for a
  // lone surrogate. What is malformed is left to RapidJSON.
  std::size_t EscapeLength(std::size_t at) const {
    if (at + 1 == text_.size()) return 1;
    const int unit = EscapedUnit(at);
    if (IsLowSurrogate(unit)) return 0;
    if (IsHighSurrogate(unit)) return IsLowSurrogate(EscapedUnit(at + 6)) ? 12 : 0;
    return 2;
  }

  // The UTF-16 unit of the \uXXXX at `at`, or -1 if there is none.
  int EscapedUnit(std::size_t at) const {
    if (at + 6 > text_.size() || text_[at] != '\\' || text_[at + 1] != 'u') return -1;
    int unit = 0;
    for (std::size_t i = at + 2; i < at + 6; ++i) {
      const int digit = HexDigit(text_[i]);
      if (digit < 0) return -1;
      unit = unit << 4 | digit;
    }
    return unit;
  }

  std::size_t CommentEnd(std::size_t at) const {
    std::size_t end = at + 1;
    if (text_.compare(at, 2, "//") == 0) {
      end = text_.find('\n', at);
    } else if (text_.compare(at, 2, "/*") == 0) {
      end = text_.find("*/", at + 2);
      if (end != std::string_view::npos) end += 2;
    }
    return std::min(end, text_.size());
  }

  // Fills substitute_ for what is at next_, and steps over that. Returns the end of what was filled.
  const char* SubstituteSurrogate() {
    const int unit = EscapedUnit(next_);
    substitute_[0] = static_cast<char>(0xe0 | unit >> 12);
    substitute_[1] = static_cast<char>(0x80 | (unit >> 6 & 0x3f));
    substitute_[2] = static_cast<char>(0x80 | (unit & 0x3f));
    next_ += 6;
    return substitute_ + 3;
  }

  const char* SubstituteNumber() {
    const NumberToken number(text_, next_);
    char* end = substitute_;
    auto show = [&end](std::string_view part) { end = std::copy(part.begin(), part.end(), end); };
    show(number.sign);
    show(number.whole.substr(0, kSafeDigits));
    show(number.point);
    show(number.fraction.substr(0, 1));
    show(number.mark);
    show(number.exponent_sign);
    if (!number.exponent.empty()) show("0");
    hidden_number_ = number.all;
    next_ += number.all.size();
    return end;
  }

  const std::string_view text_;
  const bool comments_;
  bool in_string_ = false;     // at next_
  std::size_t next_ = 0;       // where the next window begins
  const char* at_ = nullptr;   // in the window
  const char* end_ = nullptr;  // of the window; never equal to at_
  bool substituted_ = false;   // whether the window is a substitute
  std::size_t offset_ = 0;     // what it stands for
  char substitute_[kSafeDigits + 8] = {};
  std::string_view hidden_number_;
};

std::string_view NumberOf(SourceStream& source, std::string_view shown) { return source.TakeNumber(shown); }
std::string_view NumberOf(rapidjson::InsituStringStream&, std::string_view shown) { return shown; }

// Where a bracket is that is being told: RapidJSON's recursive parser, which reads in place, is behind it by then.
std::size_t BracketAt(SourceStream& source) { return source.Tell(); }
std::size_t BracketAt(rapidjson::InsituStringStream& source) { return source.Tell() - 1; }

// RapidJSON's handler: adds the depth bound and the numbers' own text.
template <class Source>
class Handler {
 public:
  using Ch = char;

  // The first `told` events are not told: they have been before.
  Handler(Source& source, Events& events, const ReadOptions& options, int max_depth, std::size_t told)
      : source_(source), events_(events), options_(options), max_depth_(max_depth), told_before_(told) {}

  std::size_t told() const { return told_; }
  // Whether the events stopped the reading.
  bool stopped() const { return stopped_; }
  bool too_deep() const { return too_deep_; }

  bool Null() { return TellValue(&Events::Null); }
  bool Bool(bool value) { return TellValue(&Events::Bool, value); }
  bool RawNumber(const char* text, std::size_t length, bool) {
    return TellValue(&Events::Number, NumberOf(source_, {text, length}));
  }
  bool String(const char* text, std::size_t length, bool) {
    return TellValue(&Events::String, std::string_view(text, length));
  }
  bool Key(const char* text, std::size_t length, bool) {
    return TellValue(&Events::Key, std::string_view(text, length));
  }
  bool StartObject() { return Enter(&Events::StartObject); }
  bool StartArray() { return Enter(&Events::StartArray); }
  bool EndObject(std::size_t) { return Leave(&Events::EndObject); }
  bool EndArray(std::size_t) { return Leave(&Events::EndArray); }

  // RapidJSON compiles calls to these, but numbers are asked for as strings.
  bool Int(int) { return false; }
  bool Uint(unsigned) { return false; }
  bool Int64(std::int64_t) { return false; }
  bool Uint64(std::uint64_t) { return false; }
  bool Double(double) { return false; }

 private:
  template <class Event, class... Argument>
  bool Tell(std::size_t offset, Event event, Argument... argument) {
    if (++told_ <= told_before_) return true;
    if (options_.offset != nullptr) *options_.offset = offset;
    stopped_ = !(events_.*event)(argument...);
    return !stopped_;
  }
  template <class Event, class... Argument>
  bool TellValue(Event event, Argument... argument) {
    return Tell(source_.Tell(), event, argument...);
  }
  template <class Event>
  bool Enter(Event event) {
    too_deep_ = depth_ >= max_depth_;
    if (too_deep_) return false;
    ++depth_;
    return Tell(BracketAt(source_), event);
  }
  template <class Event>
  bool Leave(Event event) {
    --depth_;
    return Tell(BracketAt(source_), event);
  }

  Source& source_;
  Events& events_;
  const ReadOptions& options_;
  const int max_depth_;
  const std::size_t told_before_;
  std::size_t told_ = 0;
  int depth_ = 0;
  bool too_deep_ = false;
  bool stopped_ = false;
};

const char* Describe(rapidjson::ParseErrorCode code) {
  switch (code) {
    case rapidjson::kParseErrorDocumentEmpty:
    case rapidjson::kParseErrorValueInvalid:
      return "missing or malformed value";
    case rapidjson::kParseErrorDocumentRootNotSingular:
      return "something follows the document";
    case rapidjson::kParseErrorObjectMissName:
      return "missing a name for an object member";
    case rapidjson::kParseErrorObjectMissColon:
      return "missing a colon after the name of an object member";
    case rapidjson::kParseErrorObjectMissCommaOrCurlyBracket:
      return "missing a comma or } after an object member";
    case rapidjson::kParseErrorArrayMissCommaOrSquareBracket:
      return "missing a comma or ] after an array element";
    case rapidjson::kParseErrorStringUnicodeEscapeInvalidHex:
      return "\\u in a string needs four hexadecimal digits";
    case rapidjson::kParseErrorStringEscapeInvalid:
      return "unknown escape or control character in a string";
    case rapidjson::kParseErrorStringMissQuotationMark:
      return "missing the quotation mark that closes a string";
    case rapidjson::kParseErrorNumberMissFraction:
      return "missing a digit after the point of a number";
    case rapidjson::kParseErrorNumberMissExponent:
      return "missing a digit in the exponent of a number";
    case rapidjson::kParseErrorUnspecificSyntaxError:
      return "malformed or unclosed comment";
    default:
      return "malformed";
  }
}

int OffsetCode(std::size_t offset) {
  return static_cast<int>(std::min(offset, static_cast<std::size_t>(std::numeric_limits<int>::max())));
}

Error ErrorAt(std::size_t offset, std::string_view what) {
  return {"at byte " + std::to_string(offset) + ": " + std::string(what), OffsetCode(offset)};
}

// REQUIRES: `text` is not UTF-8.
std::size_t FirstMalformed(std::string_view text) {
  std::size_t at = 0;
  std::size_t length = 0;
  do {
    at += length;
    length = 1;
    while (length <= 4 && !IsUtf8(text.substr(at, length))) ++length;
  } while (length <= 4);
  return at;
}

// Where `text` has a control character that no JSON has anywhere, or its size. Within strings they are refused by
// RapidJSON, but not those from 0x1a on by its loops that take 16 bytes at once (1.1.0).
std::size_t FindControl(std::string_view text) {
  const auto is_control = [](char c) {
    return static_cast<unsigned char>(c) < 0x20 && c != '\t' && c != '\n' && c != '\r';
  };
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = std::min(at + 8, text.size());
    if (end - at == 8 && EightBytes(text.data() + at).Below(' ') == 0) {
      at = end;
      continue;
    }
    while (at < end && !is_control(text[at])) ++at;
    if (at < end) return at;
  }
  return text.size();
}

// What the parser itself would not notice, or not say well.
Result<void> CheckText(std::string_view text) {
  if (!IsUtf8(text)) return ErrorAt(FirstMalformed(text), "not UTF-8");
  if (text.starts_with("\xef\xbb\xbf")) return ErrorAt(0, "a byte order mark");
  if (const std::size_t at = FindControl(text); at < text.size()) {
    return ErrorAt(at, text[at] == '\0' ? "a NUL byte" : "a control character");
  }
  return {};
}

// Most texts: of few levels, without numbers of a size that RapidJSON refuses, and well-formed. Strings are decoded
// where they stand, in a copy, by RapidJSON's loops that take 16 bytes at once; they read up to 15 bytes past the
// text's end. Each level takes some of the stack, so they are bounded. Nothing is returned for another text, of which
// `*told` events have been told.
std::optional<Result<void>> ReadUsualText(std::string_view text, Events& events, const ReadOptions& options,
                                          std::size_t* told) {
  constexpr unsigned kFlags = rapidjson::kParseInsituFlag | rapidjson::kParseNumbersAsStringsFlag;
  constexpr int kLevels = 32;
  constexpr std::size_t kPadding = 16;
  std::string copy;
  copy.reserve(text.size() + kPadding);
  copy.append(text).append(kPadding, '\0');
  rapidjson::InsituStringStream source(copy.data());
  Handler handler(source, events, options, std::min(options.max_depth, kLevels), 0);
  rapidjson::Reader reader;
  reader.Parse<kFlags>(source, handler);
  if (!reader.HasParseError()) return Result<void>();
  *told = handler.told();
  if (!handler.stopped()) return std::nullopt;
  return Error{"stopped", OffsetCode(reader.GetErrorOffset())};
}

// Any text. The first `told` events are passed over.
Result<void> ReadAnyText(std::string_view text, Events& events, const ReadOptions& options, std::size_t told) {
  constexpr unsigned kFlags = rapidjson::kParseIterativeFlag | rapidjson::kParseNumbersAsStringsFlag;
  if (text.find_first_not_of(" \t\r\n") == std::string_view::npos) {
    return ErrorAt(text.size(), "the text is empty");
  }
  SourceStream source(text, options.comments);
  Handler handler(source, events, options, options.max_depth, told);
  rapidjson::Reader reader;
  if (options.comments) {
    reader.Parse<kFlags | rapidjson::kParseCommentsFlag>(source, handler);
  } else {
    reader.Parse<kFlags>(source, handler);
  }
  if (!reader.HasParseError()) return {};

  const std::size_t offset = reader.GetErrorOffset();
  if (handler.too_deep()) {
    return ErrorAt(offset, "nested deeper than " + std::to_string(options.max_depth));
  }
  if (handler.stopped()) return Error{"stopped", OffsetCode(offset)};
  std::string what = Describe(reader.GetParseErrorCode());
  if (offset >= text.size()) what += "; the text ends here";
  return ErrorAt(offset, what);
}

}  // namespace

Result<void> Read(std::string_view text, Events& events, const ReadOptions& options) {
  if (!IsPlainAscii(text)) {
    if (Result<void> checked = CheckText(text); !checked) return checked;
  }
  std::size_t told = 0;
  if (!options.comments) {
    if (auto read = ReadUsualText(text, events, options, &told)) return *std::move(read);
  }
  return ReadAnyText(text, events, options, told);
}

}  // namespace aphlict::json
