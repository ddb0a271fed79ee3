#include "common/http/parser.h"

#include <llhttp.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <charconv>
#include <cstdint>
#include <optional>
#include <system_error>
#include <utility>

#include "common/base/eight_bytes.h"
#include "common/http/body.h"

namespace aphlict::http {

namespace {

// Empty lines before a request line: some clients send one behind a body (RFC 9112 section 2.2).
constexpr int kEmptyLines = 4;

// A head that is not larger costs no second allocation, and its memory is kept for the next one.
constexpr std::size_t kUsualHead = 480;
constexpr std::size_t kUsualHeaders = 8;

// What chunked framing may add: a 1-byte chunk takes 6 bytes, and each may have a short extension.
// The slack is for larger extensions and trailers, which few use and nobody here reads.
constexpr std::size_t kFramingSlack = 16 * 1024;
constexpr std::size_t kFramingPerByte = 8;

Error BadRequest(std::string text) { return {std::move(text), 400}; }

// Letters, digits, and some others.
class CharacterSet {
 public:
  constexpr explicit CharacterSet(std::string_view others) {
    for (int c = 0; c < 128; ++c) {
      has_[c] = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                others.find(static_cast<char>(c)) != std::string_view::npos;
    }
  }
  bool HasAll(std::string_view text) const {
    return std::all_of(text.begin(), text.end(), [this](char c) { return has_[static_cast<unsigned char>(c)]; });
  }

 private:
  std::array<bool, 256> has_{};
};

constexpr CharacterSet kToken("!#$%&'*+-.^_`|~");     // RFC 9110 section 5.6.2
constexpr CharacterSet kHost("-._~%!$&'()*+,;=:[]");  // RFC 3986 section 3.2.2, and the port's colon

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

// The version's form and number; llhttp knows more versions than we have.
Result<void> CheckVersion(std::string_view version) {
  if (version == "HTTP/1.1" || version == "HTTP/1.0") return {};
  auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  if (version.size() == 8 && version.starts_with("HTTP/") && is_digit(version[5]) && version[6] == '.' &&
      is_digit(version[7])) {
    return Error{"only HTTP/1.1 and HTTP/1.0 are spoken here", 505};
  }
  return BadRequest("the first line has no HTTP version");
}

Result<void> CheckRequestLine(std::string_view line) {
  const std::size_t method_end = line.find(' ');
  const std::string_view method = line.substr(0, method_end);
  if (method.empty() || !kToken.HasAll(method)) return BadRequest("the request line has no method");
  const std::size_t target_end = line.rfind(' ');
  if (target_end == method_end) {
    return BadRequest("the request line is not a method, a target and a version");
  }
  const std::string_view target = line.substr(method_end + 1, target_end - method_end - 1);
  if (target.empty() || target.find(' ') != std::string_view::npos) {
    return BadRequest("the request line is not a method, a target and a version");
  }
  if (target.find('#') != std::string_view::npos) {
    return BadRequest("the request target has a fragment");
  }
  return CheckVersion(line.substr(target_end + 1));
}

Result<void> CheckStatusLine(std::string_view line) { return CheckVersion(line.substr(0, line.find(' '))); }

// The body's framing as the headers declare it.
struct Framing {
  bool chunked = false;
  std::uint64_t length = 0;
};

Result<std::uint64_t> ParseContentLength(std::string_view text) {
  const auto digits = text.find_first_not_of("0123456789");
  if (text.empty() || digits != std::string_view::npos) {
    return BadRequest("Content-Length is not a number");
  }
  std::uint64_t length = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), length);
  return result.ec == std::errc() ? length : UINT64_MAX;
}

// RFC 9112 section 6.1.
Result<void> CheckTransferEncoding(const RequestHead& head) {
  if (head.version_minor == 0) return BadRequest("Transfer-Encoding in HTTP/1.0");
  if (head.headers.Count("Transfer-Encoding") > 1) {
    return BadRequest("more than one Transfer-Encoding");
  }
  const std::string_view codings = *head.headers.Find("Transfer-Encoding");
  if (EqualsIgnoreCase(codings, "chunked")) return {};
  if (codings.empty()) return BadRequest("an empty Transfer-Encoding");
  bool chunked_came = false;
  for (std::size_t begin = 0; begin <= codings.size();) {
    const std::size_t end = std::min(codings.find(',', begin), codings.size());
    if (chunked_came) {
      return BadRequest("chunked is not the last coding of Transfer-Encoding, or comes twice");
    }
    chunked_came = EqualsIgnoreCase(TrimWhiteSpace(codings.substr(begin, end - begin)), "chunked");
    begin = end + 1;
  }
  return Error{"the only Transfer-Encoding that is known here is chunked", 501};
}

Result<Framing> CheckFraming(const RequestHead& head) {
  Framing framing;
  framing.chunked = head.headers.Count("Transfer-Encoding") > 0;
  const std::size_t lengths = head.headers.Count("Content-Length");
  if (framing.chunked && lengths > 0) {
    return BadRequest("both Content-Length and Transfer-Encoding");
  }
  if (lengths > 1) return BadRequest("more than one Content-Length");
  if (framing.chunked) {
    if (Result<void> checked = CheckTransferEncoding(head); !checked) return checked.error();
  } else if (lengths == 1) {
    const Result<std::uint64_t> length = ParseContentLength(*head.headers.Find("Content-Length"));
    if (!length) return length.error();
    framing.length = *length;
  }
  return framing;
}

// RFC 9112 section 3.2.
Result<void> CheckHost(const RequestHead& head) {
  const std::size_t hosts = head.headers.Count("Host");
  if (hosts > 1) return BadRequest("more than one Host");
  if (hosts == 0) return head.version_minor == 0 ? Result<void>() : BadRequest("no Host");
  const std::string_view host = *head.headers.Find("Host");
  return kHost.HasAll(host) ? Result<void>() : BadRequest("Host is not a host name");
}

// Sets head->expects_continue.
Result<void> CheckExpect(const Framing& framing, RequestHead* head) {
  for (std::size_t i = 0; i < head->headers.size(); ++i) {
    const HeaderView header = head->headers[i];
    if (!EqualsIgnoreCase(header.name, "Expect")) continue;
    if (!EqualsIgnoreCase(header.value, "100-continue")) {
      return Error{"the only Expect that is known here is 100-continue", 417};
    }
    // A client of HTTP/1.0 would take the interim response for the answer (RFC 9110 section 10.1.1).
    head->expects_continue = head->version_minor == 1 && (framing.chunked || framing.length > 0);
  }
  return {};
}

Error DescribeGrammarError(const llhttp_t& parser) {
  const char* reason = llhttp_get_error_reason(&parser);
  switch (llhttp_get_errno(&parser)) {
    case HPE_INVALID_METHOD:
    case HPE_PAUSED_H2_UPGRADE:
      return {"unknown method", 501};
    case HPE_INVALID_URL:
      return BadRequest("the request target is malformed");
    case HPE_INVALID_HEADER_TOKEN:
      return BadRequest("a header's name or value is malformed");
    case HPE_INVALID_CHUNK_SIZE:
      return BadRequest("a chunk's size is malformed or too large");
    case HPE_INVALID_CONTENT_LENGTH:
      if (reason != nullptr && std::string_view(reason) == "Content-Length overflow") {
        return {"Content-Length is far too large", 413};
      }
      return BadRequest("Content-Length is not a number");
    case HPE_UNEXPECTED_CONTENT_LENGTH:
      return BadRequest("more than one Content-Length, or one beside Transfer-Encoding");
    case HPE_INVALID_TRANSFER_ENCODING:
      return BadRequest("Transfer-Encoding is malformed");
    default:
      return BadRequest(std::string("malformed: ") + (reason == nullptr ? "" : reason));
  }
}

// llhttp, with its callbacks turned into members. Its calls never throw: there is C above them.
class Grammar {
 public:
  // What is read is appended to `*target`, `*headers` and `*body`.
  Grammar(llhttp_type_t type, std::size_t max_headers, std::string* target, Headers* headers, Body* body)
      : max_headers_(max_headers), target_(*target), headers_(*headers), body_(*body) {
    llhttp_init(&parser_, type, &Settings());
    parser_.data = this;
  }
  Grammar(const Grammar&) = delete;
  Grammar& operator=(const Grammar&) = delete;

  // For the next message.
  void Reset() {
    llhttp_reset(&parser_);
    header_count_ = 0;
    last_chunk_ = complete_ = false;
  }

  // Called when the headers are there and before llhttp acts on them. A failure ends the parse.
  Result<void> (*headers_complete)(void* owner, const llhttp_t& parser) = nullptr;
  void* owner = nullptr;
  std::size_t max_body = 0;

  bool complete() const { return complete_; }
  bool last_chunk() const { return last_chunk_; }

  // Takes a whole head, whole trailers, or some of a chunked body. Returns how many bytes were taken: all, unless the
  // message has become complete, or its last chunk's line has been read.
  Result<std::size_t> Execute(std::string_view bytes) {
    llhttp_resume(&parser_);
    const llhttp_errno_t error = llhttp_execute(&parser_, bytes.data(), bytes.size());
    if (error == HPE_OK) return bytes.size();
    if (error == HPE_PAUSED) {
      return static_cast<std::size_t>(llhttp_get_error_pos(&parser_) - bytes.data());
    }
    return failure_ ? *failure_ : DescribeGrammarError(parser_);
  }

 private:
  static Grammar& Of(llhttp_t* parser) { return *static_cast<Grammar*>(parser->data); }

  int Fail(Error error) {
    failure_ = std::move(error);
    return -1;
  }

  // llhttp may hand out a part of a head in pieces. A head comes in one piece of text, so they lie side by side in it.
  static void Extend(std::string_view& part, const char* at, std::size_t length) {
    const char* begin = part.empty() ? at : part.data();
    part = {begin, static_cast<std::size_t>(at + length - begin)};
  }

  static int OnUrl(llhttp_t* parser, const char* at, std::size_t length) noexcept {
    Of(parser).target_.append(at, length);
    return 0;
  }
  static int OnHeaderName(llhttp_t* parser, const char* at, std::size_t length) noexcept {
    Extend(Of(parser).name_, at, length);
    return 0;
  }
  static int OnHeaderValue(llhttp_t* parser, const char* at, std::size_t length) noexcept {
    Extend(Of(parser).value_, at, length);
    return 0;
  }
  static int OnHeader(llhttp_t* parser) noexcept { return Of(parser).AddHeader(); }
  static int OnHeadersComplete(llhttp_t* parser) noexcept {
    // Whether to change the protocol is decided by who reads the head. Left alone, llhttp would not
    // read the body of a request that has an Upgrade header or is a CONNECT.
    parser->upgrade = 0;
    Grammar& self = Of(parser);
    const Result<void> accepted = self.headers_complete(self.owner, *parser);
    return accepted ? 0 : self.Fail(accepted.error());
  }
  static int OnChunkHeader(llhttp_t* parser) noexcept {
    Grammar& self = Of(parser);
    if (parser->content_length > self.max_body - self.body_.size()) {
      return self.Fail({"the body is larger than " + std::to_string(self.max_body) + " bytes", 413});
    }
    self.last_chunk_ = parser->content_length == 0;
    return self.last_chunk_ ? HPE_PAUSED : 0;
  }
  static int OnBody(llhttp_t* parser, const char* at, std::size_t length) noexcept {
    Of(parser).body_.Append({at, length});
    return 0;
  }
  static int OnMessageComplete(llhttp_t* parser) noexcept {
    Of(parser).complete_ = true;
    return HPE_PAUSED;
  }

  int AddHeader() {
    if (++header_count_ > max_headers_) {
      return Fail({"more than " + std::to_string(max_headers_) + " headers", 431});
    }
    if (name_.empty()) return Fail(BadRequest("a header without a name"));
    // Trailers must not be merged into the headers (RFC 9110 section 6.5.1), and nobody reads them.
    if (!last_chunk_) headers_.Add(name_, TrimWhiteSpace(value_));
    name_ = value_ = {};
    return 0;
  }

  static const llhttp_settings_t& Settings() {
    static const llhttp_settings_t settings = [] {
      llhttp_settings_t s;
      llhttp_settings_init(&s);
      s.on_url = OnUrl;
      s.on_header_field = OnHeaderName;
      s.on_header_value = OnHeaderValue;
      s.on_header_value_complete = OnHeader;
      s.on_headers_complete = OnHeadersComplete;
      s.on_chunk_header = OnChunkHeader;
      s.on_body = OnBody;
      s.on_message_complete = OnMessageComplete;
      return s;
    }();
    return settings;
  }

  llhttp_t parser_;
  const std::size_t max_headers_;
  std::size_t header_count_ = 0;
  std::string& target_;
  Headers& headers_;
  Body& body_;
  std::string_view name_;  // of a header that is being read
  std::string_view value_;
  bool last_chunk_ = false;
  bool complete_ = false;
  std::optional<Error> failure_;
};

}  // namespace

struct RequestParser::Impl {
  explicit Impl(const ParserLimits& l)
      : limits(l), lines(l.head_bytes), grammar(HTTP_REQUEST, l.headers, &head.target, &head.headers, &body) {
    grammar.max_body = limits.body_bytes;
    grammar.owner = this;
    grammar.headers_complete = [](void* self, const llhttp_t& parser) {
      return static_cast<Impl*>(self)->OnHeaders(parser);
    };
    Begin();
  }

  void Begin() {
    state = State::kHead;
    lines.Begin(CheckRequestLine);
    head.headers.Reserve(kUsualHeaders, kUsualHead);
  }

  void Next() {
    if (large_head) head = {};
    head.target.clear();
    head.headers.Clear();
    head.expects_continue = false;
    body.Clear();
    body_wire_bytes = 0;
    grammar.Reset();
    Begin();
  }

  Result<std::size_t> Feed(std::string_view bytes) {
    switch (state) {
      case State::kHead:
        return FeedHead(bytes);
      case State::kBody:
        return FeedBody(bytes);
      case State::kComplete:
        break;
    }
    return std::size_t{0};
  }

  Result<std::size_t> FeedHead(std::string_view bytes) {
    Result<std::size_t> taken = lines.Feed(bytes);
    if (!taken || !lines.complete()) return taken;
    const Result<std::size_t> parsed = grammar.Execute(lines.text());
    if (!parsed) return parsed.error();
    if (*parsed != lines.text().size()) return BadRequest("the head ends before its empty line");
    large_head = lines.text().size() > kUsualHead;
    state = grammar.complete() ? State::kComplete : State::kBody;
    return taken;
  }

  // Before llhttp reads a body: judges the headers, and that llhttp sees the same body in them as we do.
  Result<void> OnHeaders(const llhttp_t& parser) {
    head.method = llhttp_method_name(static_cast<llhttp_method_t>(parser.method));
    head.version_minor = parser.http_minor;
    if (Result<void> checked = CheckHost(head); !checked) return checked;
    const Result<Framing> checked = CheckFraming(head);
    if (!checked) return checked.error();
    framing = *checked;
    if (Result<void> expect = CheckExpect(framing, &head); !expect) return expect;
    if (framing.length > limits.body_bytes) {
      return Error{"the body is larger than " + std::to_string(limits.body_bytes) + " bytes", 413};
    }
    const bool llhttp_chunked = (parser.flags & F_CHUNKED) != 0;
    const bool llhttp_length = (parser.flags & F_CONTENT_LENGTH) != 0;
    if (llhttp_chunked != framing.chunked || (llhttp_length ? parser.content_length : 0) != framing.length) {
      return BadRequest("the length of the body is ambiguous");
    }
    head.keep_alive = !head.headers.HasToken("Connection", "close") &&
                      (head.version_minor == 1 || head.headers.HasToken("Connection", "keep-alive"));
    return {};
  }

  Result<std::size_t> FeedBody(std::string_view bytes) {
    std::size_t taken = 0;
    while (taken < bytes.size() && state == State::kBody) {
      const std::string_view rest = bytes.substr(taken);
      const Result<std::size_t> step = !framing.chunked       ? FeedPlain(rest)
                                       : grammar.last_chunk() ? FeedTrailers(rest)
                                                              : FeedChunks(rest);
      if (!step) return step;
      taken += *step;
    }
    return taken;
  }

  // llhttp would do no more than count.
  std::size_t FeedPlain(std::string_view bytes) {
    const std::string_view wanted = bytes.substr(0, framing.length - body.size());
    body.Append(wanted);
    if (body.size() == framing.length) state = State::kComplete;
    return wanted.size();
  }

  Result<std::size_t> FeedChunks(std::string_view bytes) {
    // Handing over no more than the bound allows makes it independent of how the bytes are cut.
    const std::size_t allowed = kFramingSlack + kFramingPerByte * body.size() - body_wire_bytes;
    if (allowed == 0) return BadRequest("the chunks are mostly framing");
    const Result<std::size_t> taken = grammar.Execute(bytes.substr(0, allowed));
    if (!taken) return taken;
    body_wire_bytes += *taken;
    if (grammar.last_chunk()) lines.Begin(nullptr);
    return taken;
  }

  // llhttp 8 lets through in trailers what it lets through in a head, so they are collected and
  // checked like one.
  Result<std::size_t> FeedTrailers(std::string_view bytes) {
    const Result<std::size_t> taken = lines.Feed(bytes);
    if (!taken || !lines.complete()) return taken;
    const Result<std::size_t> parsed = grammar.Execute(lines.text());
    if (!parsed) return parsed;
    if (!grammar.complete() || *parsed != lines.text().size()) {
      return BadRequest("the trailers do not end at their empty line");
    }
    state = State::kComplete;
    return taken;
  }

  const ParserLimits limits;
  State state = State::kHead;
  LineCollector lines;  // of the head, and then of the trailers
  RequestHead head;
  bool large_head = false;
  Framing framing;
  Body body;
  Grammar grammar;
  std::size_t body_wire_bytes = 0;  // of a chunked body
  std::optional<Error> failure;
};

RequestParser::RequestParser(const ParserLimits& limits) : impl_(std::make_unique<Impl>(limits)) {}
RequestParser::~RequestParser() = default;

Result<std::size_t> RequestParser::Feed(std::string_view bytes) {
  if (impl_->failure) return *impl_->failure;
  Result<std::size_t> taken = impl_->Feed(bytes);
  if (!taken) impl_->failure = taken.error();
  return taken;
}

RequestParser::State RequestParser::state() const { return impl_->state; }

bool RequestParser::started() const { return impl_->state != State::kHead || !impl_->lines.empty(); }

const RequestHead& RequestParser::head() const {
  assert(impl_->state != State::kHead);
  return impl_->head;
}

std::string& RequestParser::body() {
  assert(impl_->state == State::kComplete);
  return impl_->body.Whole();
}

std::size_t RequestParser::memory() const { return impl_->lines.capacity() + impl_->body.memory(); }

void RequestParser::Next() {
  assert(impl_->state == State::kComplete);
  impl_->Next();
}

Result<ResponseHead> ParseResponseHead(std::string_view head) {
  const ParserLimits limits;
  LineCollector lines(limits.head_bytes);
  lines.Begin(CheckStatusLine);
  const Result<std::size_t> taken = lines.Feed(head);
  if (!taken) return taken.error();
  if (!lines.complete()) return BadRequest("the head has no empty line at its end");
  if (lines.text().size() != head.size()) return BadRequest("the head is not all there is");

  ResponseHead response;
  std::string no_target;
  Body no_body;
  Grammar grammar(HTTP_RESPONSE, limits.headers, &no_target, &response.headers, &no_body);
  grammar.owner = &response.status;
  grammar.headers_complete = [](void* status, const llhttp_t& parser) {
    *static_cast<int*>(status) = parser.status_code;
    return Result<void>();
  };
  const Result<std::size_t> parsed = grammar.Execute(lines.text());
  if (!parsed) return parsed.error();
  if (response.status == 0) return BadRequest("the head ends before its empty line");
  return response;
}

}  // namespace aphlict::http
