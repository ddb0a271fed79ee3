#include "common/http/response_parser.h"

#include <cassert>
#include <utility>

#include "common/http/body.h"
#include "common/http/chunks.h"
#include "common/http/framing.h"
#include "common/http/grammar.h"
#include "common/http/lines.h"

namespace aphlict::http {

namespace {

Result<void> CheckStatusLine(std::string_view line) { return CheckVersion(line.substr(0, line.find(' '))); }

// Whether a response has no body whatever its headers say (RFC 9112 section 6.3).
bool IsBodiless(int status) { return status < 200 || status == 204 || status == 304; }

}  // namespace

struct ResponseParser::Impl {
  enum class State { kHead, kBody, kComplete };

  explicit Impl(const ParserLimits& l)
      : limits(l), lines(l.head_bytes), grammar(HTTP_RESPONSE, l.headers, &no_target, &head.headers, &body) {
    grammar.max_body = limits.body_bytes;
    grammar.owner = this;
    grammar.headers_complete = [](void* self, const llhttp_t& parser) {
      return static_cast<Impl*>(self)->OnHeaders(parser);
    };
    lines.Begin(CheckStatusLine, &head.headers.text());
  }

  void Next() {
    head = {};
    framing = {};
    until_end = false;
    body.Clear();
    grammar.Reset();
    chunks.Reset();
    lines.Begin(CheckStatusLine, &head.headers.text());
    state = State::kHead;
  }

  Result<std::size_t> Feed(std::string_view bytes) {
    std::size_t taken = 0;
    while (taken < bytes.size() && state != State::kComplete) {
      const std::string_view rest = bytes.substr(taken);
      const Result<std::size_t> step = state == State::kHead ? FeedHead(rest) : FeedBody(rest);
      if (!step) return step;
      taken += *step;
    }
    return taken;
  }

  Result<std::size_t> FeedHead(std::string_view bytes) {
    Result<std::size_t> taken = lines.Feed(bytes);
    if (!taken || !lines.complete()) return taken;
    const Result<std::size_t> parsed = grammar.Execute(lines.text());
    if (!parsed) return parsed.error();
    if (head.status == 0) return BadRequest("the head ends before its empty line");
    if (head.status == 101) return BadRequest("the protocol is changed, which nobody has asked for");
    if (head.status < 200) {
      Next();
    } else if (IsBodiless(head.status) || (!until_end && !framing.chunked && framing.length == 0)) {
      state = State::kComplete;
    } else {
      state = State::kBody;
    }
    return taken;
  }

  Result<void> OnHeaders(const llhttp_t& parser) {
    head.status = parser.status_code;
    keep_alive = !head.headers.HasToken("Connection", "close") &&
                 (parser.http_minor == 1 || head.headers.HasToken("Connection", "keep-alive"));
    if (IsBodiless(head.status)) return {};
    const Result<Framing> checked = CheckFraming(parser.http_minor, head.headers);
    if (!checked) return checked.error();
    framing = *checked;
    until_end = !framing.chunked && head.headers.Count("Content-Length") == 0;
    if (framing.length > limits.body_bytes) return TooLarge();
    if (!Grammar::Agrees(parser, framing)) return BadRequest("the length of the body is ambiguous");
    keep_alive = keep_alive && !until_end;
    return {};
  }

  Result<std::size_t> FeedBody(std::string_view bytes) {
    if (framing.chunked) {
      const Result<std::size_t> taken = chunks.Feed(bytes);
      if (taken && grammar.complete()) state = State::kComplete;
      return taken;
    }
    if (until_end) {
      if (bytes.size() > limits.body_bytes - body.size()) return TooLarge();
      body.Append(bytes);
      return bytes.size();
    }
    const std::string_view wanted = bytes.substr(0, framing.length - body.size());
    body.Append(wanted);
    if (body.size() == framing.length) state = State::kComplete;
    return wanted.size();
  }

  Result<void> End() {
    if (state == State::kComplete) return {};
    if (state == State::kBody && until_end) {
      state = State::kComplete;
      return {};
    }
    if (state == State::kHead) return BadRequest(lines.empty() ? "no answer" : "the answer is cut off in its head");
    const std::string of = framing.chunked ? "" : " of " + std::to_string(framing.length);
    return BadRequest("the answer is cut off after " + std::to_string(body.size()) + of + " bytes");
  }

  Error TooLarge() const { return {"the answer is larger than " + std::to_string(limits.body_bytes) + " bytes", 413}; }

  const ParserLimits limits;
  State state = State::kHead;
  LineCollector lines;  // of the head, and then of the trailers
  std::string no_target;
  ResponseHead head;
  Framing framing;
  bool until_end = false;  // of the connection: so long the body is
  bool keep_alive = true;
  Body body;
  Grammar grammar;
  ChunkReader chunks{lines, grammar, body};
};

ResponseParser::ResponseParser(const ParserLimits& limits) : impl_(std::make_unique<Impl>(limits)) {}
ResponseParser::~ResponseParser() = default;

Result<std::size_t> ResponseParser::Feed(std::string_view bytes) { return impl_->Feed(bytes); }
Result<void> ResponseParser::End() { return impl_->End(); }
bool ResponseParser::started() const { return impl_->state != Impl::State::kHead || !impl_->lines.empty(); }
bool ResponseParser::complete() const { return impl_->state == Impl::State::kComplete; }

const ResponseHead& ResponseParser::head() const {
  assert(complete());
  return impl_->head;
}

std::string& ResponseParser::body() {
  assert(complete());
  return impl_->body.Whole();
}

bool ResponseParser::keep_alive() const {
  assert(complete());
  return impl_->keep_alive;
}

void ResponseParser::Next() {
  assert(complete());
  impl_->Next();
}

Result<ResponseHead> ParseResponseHead(std::string_view head) {
  const ParserLimits limits;
  ResponseHead response;
  LineCollector lines(limits.head_bytes);
  lines.Begin(CheckStatusLine, &response.headers.text());
  const Result<std::size_t> taken = lines.Feed(head);
  if (!taken) return taken.error();
  if (!lines.complete()) return BadRequest("the head has no empty line at its end");
  if (lines.text().size() != head.size()) return BadRequest("the head is not all there is");

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
