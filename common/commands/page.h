// One WebSocket to a client port, as a page has it: it subscribes, asks for a replay, pings, and is told of messages.
// Where to, and what after it is lost, is its owner's business.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/time.h"
#include "common/http/head.h"
#include "common/net/dialer.h"
#include "common/net/loop.h"
#include "common/net/stream.h"
#include "common/net/timer.h"
#include "common/net/tls_context.h"
#include "common/server/websocket_connection.h"
#include "common/websocket/client_handshake.h"
#include "common/websocket/message_reader.h"

namespace aphlict::commands {

// What happens to a page. No call may destroy it at once; Loop::DeleteLater() does.
class PageHandler {
 public:
  virtual ~PageHandler() = default;
  // The node has dealt with the subscriptions: what is published from now on comes.
  virtual void OnSubscribed() = 0;
  // Borrowed for the call. Pongs are not told.
  virtual void OnMessage(std::string_view message) = 0;
  // It could not connect, or was lost. The last call, and not made after Close().
  virtual void OnLost(const std::string& reason) = 0;
};

class Page : private net::StreamHandler, private server::WebSocketHandler {
 public:
  struct Options {
    http::Url url;  // with the instance, see WithInstance()
    std::vector<std::string> phids;
    std::string origin;                // who it says to be; empty: nobody
    std::optional<Time> replay_since;  // nothing: there is no replay
    Duration timeout = seconds(10);    // until it has subscribed
  };

  // `tls` and `handler` outlive the page.
  Page(net::Loop& loop, Options options, const net::TlsContext* tls, PageHandler& handler);

  void Close();
  bool subscribed() const { return subscribed_; }
  // REQUIRES: it has subscribed.
  Time last_heard() const { return connection_->last_heard(); }

 private:
  void OnStream(Result<net::StreamPtr> stream);
  void OnBytes(std::string_view bytes) override;
  void OnEnd(const std::string& reason) override;
  void OnMessage(websocket::Opcode opcode, std::string_view payload) override;
  void OnClosed(std::uint16_t code, const std::string& reason) override;
  void Send(std::string_view command, const std::string& data);
  void CheckTime();
  void Lose(const std::string& reason);

  Options options_;
  PageHandler& handler_;
  websocket::ReaderPool readers_;
  websocket::ClientHandshake handshake_;
  net::StreamPtr stream_;  // until the handshake is done
  std::optional<server::WebSocketConnection> connection_;
  Time started_;
  Time pinged_{};
  bool subscribed_ = false;
  bool lost_ = false;
  net::Timer timer_;
  net::Dialer dialer_;
};

// The URL that pages of an instance use: `~name/` behind the path. Errors: a name that cannot stand in a path.
Result<http::Url> WithInstance(const http::Url& url, const std::string& instance);

}  // namespace aphlict::commands
