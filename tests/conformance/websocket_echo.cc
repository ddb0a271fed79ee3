// An echo server on the project's own WebSocket layer, for tests of conformance with RFC 6455:
//
//     websocket-echo ADDRESS:PORT
//
// Sends every message back as it came, text as text and binary as binary, up to 64 MiB in any number of fragments.
// Prints the address that it listens on, with the port that the kernel chose where 0 is asked for. SIGTERM and SIGINT
// end it.
#include <sysexits.h>

#include <csignal>
#include <cstdio>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>

#include "common/base/log.h"
#include "common/config/load.h"
#include "common/net/loop.h"
#include "common/server/http_server.h"
#include "common/server/websocket_connection.h"
#include "common/websocket/handshake.h"

namespace aphlict {
namespace {

constexpr std::size_t kMessageBytes = 64 * 1024 * 1024;
constexpr websocket::ReaderLimits kReaderLimits{.message_bytes = kMessageBytes, .fragments = kMessageBytes};
// With more unsent, no more is read from a connection.
constexpr std::size_t kMostUnsent = 1024 * 1024;

class EchoServer : private server::HttpHandler {
 public:
  EchoServer(net::Loop& loop, Log& log)
      : loop_(loop), readers_(websocket::Role::kServer, kReaderLimits), http_(loop, "echo", {}, log, *this) {}

  Result<net::Address> Listen(const net::Address& address) {
    auto bound = http_.Bind(address);
    if (!bound) return bound;
    if (auto listening = http_.Listen(); !listening) return listening.error();
    return bound;
  }

 private:
  class Echo : public server::WebSocketHandler {
   public:
    Echo(EchoServer& owner, server::ConnectionId id, net::StreamPtr stream)
        : owner_(owner), id_(id), connection_(std::move(stream), websocket::Role::kServer, owner.readers_, *this) {}

    void Receive(std::string_view bytes) { connection_.Receive(bytes); }

    void OnMessage(websocket::Opcode opcode, std::string_view payload) override {
      connection_.Send(opcode, payload);
      if (connection_.unsent() <= kMostUnsent) return;
      connection_.PauseReading();
      connection_.NotifyWhenDrained();
    }
    void OnDrained() override { connection_.ResumeReading(); }
    void OnClosed(std::uint16_t, const std::string&) override { owner_.Remove(id_); }

   private:
    EchoServer& owner_;
    server::ConnectionId id_;
    server::WebSocketConnection connection_;
  };

  void OnRequest(const server::Request& request) override {
    const auto accept = websocket::AcceptHandshake(request.head);
    if (!accept) {
      http::Response response = http::ErrorResponse(accept.error().code, accept.error().text);
      if (response.status == 426) response.headers.push_back({"Sec-WebSocket-Version", "13"});
      return http_.Respond(request.connection, response);
    }
    std::string unread;
    net::StreamPtr stream = http_.Upgrade(request.connection, &unread);
    stream->Write(websocket::SwitchingProtocols(*accept, ""));
    const server::ConnectionId id = request.connection;
    const auto echo = std::make_shared<Echo>(*this, id, std::move(stream));
    echoes_.emplace(id, echo);
    echo->Receive(unread);
  }

  void Remove(server::ConnectionId id) {
    loop_.DeleteLater(std::move(echoes_.extract(id).mapped()));  // it is on the stack
    http_.Release(id);
  }

  net::Loop& loop_;
  websocket::ReaderPool readers_;
  server::HttpServer http_;
  std::unordered_map<server::ConnectionId, std::shared_ptr<Echo>> echoes_;
};

int Fail(int code, const std::string& text) {
  std::fprintf(stderr, "websocket-echo: %s\n", text.c_str());
  return code;
}

int Run(std::string_view where) {
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;
  if (const std::string problem = config::ParseListenAddress(where, &host, &port); !problem.empty()) {
    return Fail(EX_USAGE, problem);
  }
  const auto address = net::Address::Parse(host, port);
  if (!address) return Fail(EX_USAGE, address.error().text);
  const auto log = Log::Open({}, {LogLevel::kError, LogFormat::kText, ""});
  if (!log) return Fail(log.error().code, log.error().text);

  net::Loop loop;
  {
    EchoServer server(loop, **log);
    const auto bound = server.Listen(*address);
    if (!bound) return Fail(bound.error().code, bound.error().text);
    std::printf("%s\n", bound->ToString().c_str());
    std::fflush(stdout);
    const net::SignalWatcher on_term(loop, SIGTERM, [&] { loop.Stop(); });
    const net::SignalWatcher on_int(loop, SIGINT, [&] { loop.Stop(); });
    loop.Run();
  }
  return EX_OK;
}

}  // namespace
}  // namespace aphlict

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  if (argc != 2) return aphlict::Fail(EX_USAGE, "usage: websocket-echo ADDRESS:PORT");
  return aphlict::Run(argv[1]);
}
