// One browser: its WebSocket, its subscriptions, and a replay under way.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/fetch_ahead.h"
#include "common/base/time.h"
#include "common/clients/client_end.h"
#include "common/clients/command.h"
#include "common/clients/replay.h"
#include "common/clients/subscriptions.h"
#include "common/history/instances.h"
#include "common/server/websocket_connection.h"

namespace aphlict::clients {

class Clients;

// The subscriptions of an instance, and the instance.
struct Audience {
  history::Instance* instance;
  SubscriptionIndex index;
  std::size_t clients = 0;
};

// Owned by Clients, which is told of everything that concerns more than this one.
class Client : public Subscriber, private server::WebSocketHandler {
 public:
  Client(Clients& owner, std::uint64_t id, Audience& audience, net::StreamPtr stream);

  void Receive(std::string_view bytes) { connection_.Receive(bytes); }

  // Sends a message's frame, unless the client is about to be forgotten, or a replay is under way, which will come to
  // it in its order. Returns false when the client has more unsent than it may, and must be cut.
  bool Deliver(const SharedBytes& frame);

  // Does some of what takes long: a command with very many PHIDs and those behind it, a replay. Returns whether there
  // is more to do now; what waits for the socket is scheduled again when that has room.
  bool ContinueWork();

  // Looks whether the client keeps up, answers, and finishes what it begins. Returns why it is to be cut, if it is.
  // `heard`: until when what has come was read (Loop::heard_until()).
  std::optional<ClientEnd> Check(Time now, Time heard);

  // Fetch into the cache what Deliver() and Check() look at (FetchAhead): the client, and its stream. What a delivery
  // needs of the client lies in two lines, of which the index fetches the other.
  void PrefetchForDelivery() const { connection_.Prefetch(); }
  void PrefetchForCheck() const {
    FetchLine(&place);
    connection_.Prefetch();
    FetchLine(&last_ping_);
    FetchLine(&unanswered_pings_);
  }
  void PrefetchStream() const { connection_.PrefetchStream(); }

  void Close(std::uint16_t code, std::string_view reason) { connection_.Close(code, reason); }
  // Forgets the commands that wait.
  void DropBacklog();

  std::uint64_t id() const { return id_; }
  Audience& audience() const { return audience_; }
  net::Address peer_address() const { return connection_.peer(); }
  std::string peer() const { return connection_.peer().ToString(); }
  std::size_t unsent() const { return connection_.unsent(); }

  // Its place in the owner's list, which the owner keeps.
  std::uint32_t place = 0;

 private:
  // Commands that wait for the first of them, which takes long.
  struct Backlog {
    std::deque<Command> commands;
    std::size_t bytes = 0;  // in Clients::backlog_bytes_
  };
  struct Replays {
    Replay now;
    std::vector<ReplayRequest> waiting;  // those that were asked for meanwhile
  };

  void OnMessage(websocket::Opcode opcode, std::string_view payload) override;
  void OnClosed(std::uint16_t code, const std::string& reason) override;
  void OnDrained() override;
  // Each returns whether it is done; else the command has become what is left of it.
  bool Execute(Command& command);
  bool Execute(Subscribe& subscribe);
  bool Execute(Unsubscribe& unsubscribe);
  bool Execute(const ReplayRequest& request);
  bool Execute(const Ping& ping);
  void ContinueBacklog();
  bool ContinueReplay();
  Replay MakeReplay(const ReplayRequest& request) const;

  // In this order, for PrefetchForDelivery().
  Clients& owner_;
  Audience& audience_;
  std::unique_ptr<Replays> replays_;  // null when none is under way
  server::WebSocketConnection connection_;
  Time last_ping_{};
  std::uint8_t unanswered_pings_ = 0;  // since something was last heard
  std::uint64_t id_;
  std::unique_ptr<Backlog> backlog_;  // null when no command waits
};

}  // namespace aphlict::clients
