#include "common/commands/page.h"

#include <algorithm>
#include <utility>

#include "common/base/printable.h"
#include "common/commands/json_layout.h"
#include "common/commands/table.h"

namespace aphlict::commands {

namespace {

constexpr websocket::ReaderLimits kReaderLimits{64 * 1024 * 1024, 65'536};
constexpr std::string_view kPong = R"({"type":"pong"})";
constexpr Duration kPingInterval = seconds(15);  // as pages have it
constexpr Duration kSilence = seconds(45);

}  // namespace

Page::Page(net::Loop& loop, Options options, const net::TlsContext* tls, PageHandler& handler)
    : options_(std::move(options)),
      handler_(handler),
      readers_(websocket::Role::kClient, kReaderLimits, 1),
      started_(Now()),
      timer_(loop, [this] { CheckTime(); }),
      dialer_(loop, options_.url.host, options_.url.port, options_.url.secure() ? tls : nullptr,
              [this](Result<net::StreamPtr> stream) { OnStream(std::move(stream)); }) {
  timer_.Start(milliseconds(100), milliseconds(100));
}

void Page::Close() {
  lost_ = true;
  timer_.Stop();
  stream_.reset();
  if (connection_) connection_->Close(websocket::kNormalClosure, "");
}

void Page::OnStream(Result<net::StreamPtr> stream) {
  if (lost_) return;
  if (!stream) return Lose(stream.error().text);
  stream_ = std::move(*stream);
  stream_->SetHandler(this);
  http::Headers further;
  if (!options_.origin.empty()) further.Add("Origin", options_.origin);
  stream_->Write(handshake_.Request(options_.url.authority(), options_.url.path, further));
}

void Page::OnBytes(std::string_view bytes) {
  const auto unread = handshake_.Take(bytes);
  if (!unread) return;
  if (!*unread) return Lose(Printable(unread->error().text));
  connection_.emplace(std::move(stream_), websocket::Role::kClient, readers_,
                      static_cast<server::WebSocketHandler&>(*this));
  Send("subscribe", QuotedList(options_.phids));
  if (options_.replay_since) {
    const auto age = std::chrono::ceil<milliseconds>(Now() - *options_.replay_since);
    Send("replay", "{\"age\":" + std::to_string(age.count()) + "}");
  }
  Send("ping", "null");  // its pong tells that what was sent before has been dealt with
  pinged_ = Now();
  connection_->Receive(**unread);
}

void Page::Send(std::string_view command, const std::string& data) {
  connection_->Send(websocket::Opcode::kText, "{\"command\":" + Quoted(command) + ",\"data\":" + data + "}");
}

void Page::OnEnd(const std::string& reason) { Lose(reason); }

void Page::OnMessage(websocket::Opcode, std::string_view payload) {
  if (lost_) return;
  if (payload != kPong) return handler_.OnMessage(payload);
  if (!std::exchange(subscribed_, true)) handler_.OnSubscribed();
}

void Page::OnClosed(std::uint16_t code, const std::string& reason) {
  Lose("closed with " + std::to_string(code) + (reason.empty() ? "" : ": " + Printable(reason)));
}

void Page::CheckTime() {
  const Time now = Now();
  if (!subscribed_) {
    if (now - started_ >= options_.timeout) {
      Lose(std::string(connection_ ? "no answer to the subscription" : "no WebSocket") + " within " +
           Took(options_.timeout));
    }
    return;
  }
  if (now - connection_->last_heard() > kSilence) return Lose("nothing heard for 45 s");
  if (now - pinged_ >= kPingInterval) {
    pinged_ = now;
    Send("ping", "null");
  }
}

void Page::Lose(const std::string& reason) {
  if (std::exchange(lost_, true)) return;
  timer_.Stop();
  stream_.reset();
  handler_.OnLost(reason);
}

Result<http::Url> WithInstance(const http::Url& url, const std::string& instance) {
  if (instance.empty()) return url;
  const auto bad = [](char each) {
    return static_cast<unsigned char>(each) <= ' ' || each == '\x7f' ||
           std::string_view("~/?#").find(each) != std::string_view::npos;
  };
  if (std::any_of(instance.begin(), instance.end(), bad)) {
    return Error{"an instance whose name has spaces or one of ~/?# cannot be reached by a client's URL"};
  }
  http::Url with = url;
  const std::size_t query = with.path.find('?');
  std::string path = with.path.substr(0, query);
  if (path.empty() || path.back() != '/') path += '/';
  with.path = path + "~" + instance + "/" + (query == std::string::npos ? "" : with.path.substr(query));
  return with;
}

}  // namespace aphlict::commands
