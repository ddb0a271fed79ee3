// The following end of the feed: one connection to one node above, from resolving its name to losing it.
// Which node, and what after it is lost, is decided elsewhere (repeater/upstream_group.h).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/secret.h"
#include "common/base/time.h"
#include "common/feed/control.h"
#include "common/history/message.h"
#include "common/http/head.h"
#include "common/net/address.h"
#include "common/net/loop.h"
#include "common/net/stream.h"
#include "common/net/timer.h"
#include "common/net/tls_context.h"
#include "common/server/websocket_connection.h"
#include "common/websocket/client_handshake.h"

namespace aphlict::feed {

// What a connection to a node above brings. No call may destroy the connection at once; Loop::DeleteLater() does.
class UpstreamHandler {
 public:
  virtual ~UpstreamHandler() = default;
  // The hello to send, asked for when the connection is there.
  virtual Hello MakeHello() = 0;
  virtual void OnWelcome(const Welcome& welcome) = 0;
  virtual void OnMessage(history::Message message) = 0;
  virtual void OnGap(const history::Gap& gap) = 0;
  virtual void OnHeartbeat(const Heartbeat& heartbeat) = 0;
  virtual void OnAbove(const std::vector<std::string>& nodes) = 0;
  // The node above is about to go.
  virtual void OnDrain() = 0;
  // It failed, or was lost. Not called after Close().
  virtual void OnLost(const std::string& reason) = 0;
  // In place of OnLost(): the node above does not let this one in (401 or 403). That stays so until somebody changes a
  // configuration.
  virtual void OnRefused(int status, const std::string& reason) = 0;
};

class UpstreamConnection : private net::StreamHandler, private server::WebSocketHandler {
 public:
  // Begins to connect to `address`, which is one of `url`'s. A URL without a path means /feed/; one with a path is
  // for a proxy that has the feed elsewhere. `tls` is used where the URL asks for it, and may be null elsewhere.
  // `secrets`: the first of them is presented; null: none. `handler` outlives the connection.
  UpstreamConnection(net::Loop& loop, const http::Url& url, const net::Address& address, const net::TlsContext* tls,
                     std::shared_ptr<const Secrets> secrets, UpstreamHandler& handler);
  ~UpstreamConnection() override;

  void SendStatus(std::string_view report);
  // Whether a welcome has come.
  // Until the end of the turn's processing nothing else is told.
  void Close(std::uint16_t code, std::string_view reason);
  // How far Tree::EncodeReport has come on this connection.
  std::uint64_t* report_mark() { return &report_mark_; }

 private:
  void OnConnected() override;
  void OnBytes(std::string_view bytes) override;
  void OnEnd(const std::string& reason) override;
  void OnMessage(websocket::Opcode opcode, std::string_view payload) override;
  void OnClosed(std::uint16_t code, const std::string& reason) override;
  void ReadClockOf(ClockReading remote);
  void OnControl(std::string_view payload);
  void CheckTime();
  void Fail(std::string_view reason);
  void Lose(const std::string& reason);
  // Returns whether there was anything to let go of: the handler is told once.
  bool LetGo();

  net::Loop& loop_;
  http::Url url_;
  std::shared_ptr<const Secrets> secrets_;
  UpstreamHandler& handler_;
  websocket::ReaderPool readers_;
  net::StreamPtr stream_;  // until the handshake is done
  std::optional<server::WebSocketConnection> connection_;
  websocket::ClientHandshake handshake_;
  std::string not_connected_;                 // why there is no stream, from the start
  std::optional<Duration> clock_difference_;  // the smallest seen: local minus remote
  std::uint64_t report_mark_ = 0;
  Time started_;
  bool welcomed_ = false;
  bool lost_ = false;
  net::Timer timer_;
};

}  // namespace aphlict::feed
