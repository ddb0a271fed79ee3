#include "common/commands/http_call.h"

#include <utility>

#include "common/commands/table.h"

namespace aphlict::commands {

namespace {

std::string Serialize(const HttpRequest& request) {
  std::string text = request.method + " " + request.url.path + " HTTP/1.1\r\nHost: " + request.url.authority() +
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
      parser_({.body_bytes = kMostBytes}),
      timeout_(timeout),
      deadline_(loop,
                [this] {
                  Fail(stream_ ? "no whole answer within " + Took(timeout_) : "no connection within " + Took(timeout_));
                }),
      dialer_(loop, request_.url.host, request_.url.port, request_.url.secure() ? tls : nullptr,
              [this](Result<net::StreamPtr> stream) { OnStream(std::move(stream)); }) {
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
  if (auto taken = parser_.Feed(bytes); !taken) return Fail("the answer is not HTTP: " + taken.error().text);
  if (parser_.complete()) Finish();
}

void HttpCall::OnEnd(const std::string& reason) { Ended(reason, false); }

void HttpCall::OnReadEnd() { Ended("end of stream", true); }

// `whole`: the other end has closed its side in good order, and not broken off.
void HttpCall::Ended(const std::string& reason, bool whole) {
  if (over_) return;
  const auto ended = parser_.End();
  if (ended && whole) return Finish();
  Fail((ended ? "the answer is cut off" : ended.error().text) + ": " + reason);
}

void HttpCall::Finish() {
  over_ = true;
  deadline_.Stop();
  done_(HttpAnswer{parser_.head(), std::move(parser_.body()), Now() - sent_});
}

void HttpCall::Fail(const std::string& reason) {
  if (std::exchange(over_, true)) return;
  deadline_.Stop();
  done_(Error{reason});
}

}  // namespace aphlict::commands
