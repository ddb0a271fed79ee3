#include "common/http/parser.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <charconv>
#include <cstdint>
#include <optional>
#include <system_error>
#include <utility>

#include "common/http/body.h"
#include "common/http/chunks.h"
#include "common/http/framing.h"
#include "common/http/grammar.h"
#include "common/http/lines.h"

namespace aphlict::http {

namespace {

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

// RFC 9112 section 3.2.
Result<void> CheckHost(const RequestHead& head) {
  const Headers::Found hosts = head.headers.FindAll("Host");
  if (hosts.count > 1) return BadRequest("more than one Host");
  if (hosts.count == 0) return head.version_minor == 0 ? Result<void>() : BadRequest("no Host");
  return kHost.HasAll(hosts.first) ? Result<void>() : BadRequest("Host is not a host name");
}

// Sets head->expects_continue.
Result<void> CheckExpect(const Framing& framing, RequestHead* head) {
  if (!head->headers.Find("Expect")) return {};
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
    lines.Begin(CheckRequestLine, &head.headers.text());
    head.headers.Reserve(kUsualHeaders);
  }

  void Next() {
    if (large_head) std::exchange(head, {});  // an assignment would keep its memory
    head.target.clear();
    head.headers.Clear();
    head.expects_continue = false;
    body.Clear();
    grammar.Reset();
    chunks.Reset();
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
    const Result<Framing> checked = CheckFraming(head.version_minor, head.headers);
    if (!checked) return checked.error();
    framing = *checked;
    if (Result<void> expect = CheckExpect(framing, &head); !expect) return expect;
    if (framing.length > limits.body_bytes) {
      return Error{"the body is larger than " + std::to_string(limits.body_bytes) + " bytes", 413};
    }
    if (!Grammar::Agrees(parser, framing)) return BadRequest("the length of the body is ambiguous");
    head.keep_alive = !head.headers.HasToken("Connection", "close") &&
                      (head.version_minor == 1 || head.headers.HasToken("Connection", "keep-alive"));
    return {};
  }

  Result<std::size_t> FeedBody(std::string_view bytes) {
    if (!framing.chunked) return FeedPlain(bytes);
    const Result<std::size_t> taken = chunks.Feed(bytes);
    if (taken && grammar.complete()) state = State::kComplete;
    return taken;
  }

  // llhttp would do no more than count.
  std::size_t FeedPlain(std::string_view bytes) {
    const std::string_view wanted = bytes.substr(0, framing.length - body.size());
    body.Append(wanted);
    if (body.size() == framing.length) state = State::kComplete;
    return wanted.size();
  }

  const ParserLimits limits;
  State state = State::kHead;
  LineCollector lines;  // of the head, and then of the trailers
  RequestHead head;
  bool large_head = false;
  Framing framing;
  Body body;
  Grammar grammar;
  ChunkReader chunks{lines, grammar, body};
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

std::size_t RequestParser::memory() const {
  return impl_->head.headers.text().capacity() + impl_->head.target.capacity() + impl_->chunks.memory() +
         impl_->body.memory();
}

void RequestParser::Next() {
  assert(impl_->state == State::kComplete);
  impl_->Next();
}

}  // namespace aphlict::http
