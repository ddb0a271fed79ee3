#include "common/commands/http_call.h"

#include <charconv>
#include <utility>

#include "common/commands/table.h"
#include "common/http/parser.h"

namespace aphlict::commands {

namespace {

constexpr std::size_t kMostHead = 16 * 1024;

// As HTTP/1.0: the answer has no chunks then (RFC 9112 section 6.1), and ends with the connection.
std::string Serialize(const HttpRequest& request) {
  std::string text = request.method + " " + request.url.path + " HTTP/1.0\r\nHost: " + request.url.authority() +
                     "\r\nConnection: close\r\nUser-Agent: aphlict-relay/" APHLICT_RELAY_VERSION "\r\n";
  for (std::size_t i = 0; i < request.headers.size(); ++i) {
    text.append(request.headers[i].name).append(": ").append(request.headers[i].value).append("\r\n");
  }
  if (request.method != "GET") text += "Content-Length: " + std::to_string(request.body.size()) + "\r\n";
  return text + "\r\n" + request.body;
}

}  // namespace

HttpCall::HttpCall(net::Loop& loop, HttpRequest request, const net::TlsContext* tls, Duration timeout, Done done)
    : request_(std::move(request)),
      done_(std::move(done)),
      timeout_(timeout),
      deadline_(loop,
                [this] {
                  Fail(stream_ ? "no whole answer within " + Took(timeout_) : "no connection within " + Took(timeout_));
                }),
      dialer_(loop, request_.url, tls, [this](Result<net::StreamPtr> stream) { OnStream(std::move(stream)); }) {
  deadline_.Start(timeout);
}

void HttpCall::OnStream(Result<net::StreamPtr> stream) {
  if (over_) return;
  if (!stream) return Fail(stream.error().text);
  sent_ = Now();
  stream_ = std::move(*stream);
  stream_->SetHandler(this);
  stream_->Write(Serialize(request_));
}

void HttpCall::OnBytes(std::string_view bytes) {
  if (over_) return;
  received_.append(bytes);
  if (!head_) ReadHead();
  if (over_ || !head_) return;
  if (received_.size() > kMostBytes) return Fail("the answer is too long");
  if (length_ && received_.size() >= *length_) {
    received_.resize(*length_);
    Finish();
  }
}

void HttpCall::ReadHead() {
  const std::size_t end = received_.find("\r\n\r\n");
  if (end == std::string::npos) {
    if (!std::string_view("HTTP/1.").starts_with(std::string_view(received_).substr(0, 7))) {
      return Fail("the answer is not HTTP");
    }
    if (received_.size() > kMostHead) Fail("the answer's head is too long");
    return;
  }
  auto head = http::ParseResponseHead(std::string_view(received_).substr(0, end + 4));
  if (!head) return Fail("the answer is not HTTP: " + head.error().text);
  if (head->headers.Find("Transfer-Encoding")) return Fail("the answer has a Transfer-Encoding, to HTTP/1.0");
  if (const auto text = head->headers.Find("Content-Length")) {
    std::size_t length = 0;
    const auto [stop, error] = std::from_chars(text->data(), text->data() + text->size(), length);
    if (error != std::errc() || stop != text->data() + text->size() || length > kMostBytes) {
      return Fail("the answer's Content-Length is wrong or too large");
    }
    length_ = length;
  }
  head_ = std::move(*head);
  received_.erase(0, end + 4);
}

void HttpCall::OnEnd(const std::string& reason) { Ended(reason, false); }

void HttpCall::OnReadEnd() { Ended("end of stream", true); }

// `whole`: the other end has closed its side in good order, and not broken off.
void HttpCall::Ended(const std::string& reason, bool whole) {
  if (over_) return;
  if (!head_) return Fail(received_.empty() ? "no answer: " + reason : "the answer is cut off: " + reason);
  if (!length_ && whole) return Finish();
  const std::string of = length_ ? " of " + std::to_string(*length_) : "";
  Fail("the answer is cut off after " + std::to_string(received_.size()) + of + " bytes: " + reason);
}

void HttpCall::Finish() {
  over_ = true;
  deadline_.Stop();
  done_(HttpAnswer{std::move(*head_), std::move(received_), Now() - sent_});
}

void HttpCall::Fail(const std::string& reason) {
  if (std::exchange(over_, true)) return;
  deadline_.Stop();
  done_(Error{reason});
}

}  // namespace aphlict::commands
