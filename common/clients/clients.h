// All browsers of a node: the port they come in by, and the fan-out of messages to them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/base/histogram.h"
#include "common/base/log.h"
#include "common/base/time.h"
#include "common/clients/client.h"
#include "common/clients/client_end.h"
#include "common/clients/replay_index.h"
#include "common/history/history.h"
#include "common/history/instances.h"
#include "common/http/origin.h"
#include "common/net/loop.h"
#include "common/net/timer.h"
#include "common/server/http_server.h"
#include "common/websocket/message_reader.h"

namespace aphlict::clients {

struct ClientLimits {
  int json_depth = 1024;
  std::size_t instance_bytes = 128;
  std::size_t subscriptions = 65'536;
  std::size_t subscription_bytes = 4 * 1024 * 1024;
  websocket::ReaderLimits commands;
  Duration command_time = seconds(30);      // for a message to arrive whole
  std::size_t stalled_bytes = 1024 * 1024;  // unsent, and …
  Duration stalled_time = seconds(5);       // … nothing of it taken for as long
  std::size_t unsent_bytes = 8 * 1024 * 1024;
  Duration ping_interval = seconds(30);  // of silence, after which a client is pinged; cut after three
  server::HttpLimits http;               // its `connections` is the bound on clients
};

struct ClientCounters {
  static constexpr std::uint64_t kFanOutBounds[] = {0, 1, 3, 10, 30, 100, 300, 1'000, 3'000, 10'000, 30'000};
  static constexpr std::uint64_t kLatencyBounds[] = {500,       1'000,     2'000,     5'000,     10'000,
                                                     20'000,    50'000,    100'000,   200'000,   500'000,
                                                     1'000'000, 2'000'000, 5'000'000, 30'000'000};

  std::uint64_t accepted = 0;
  std::uint64_t deliveries = 0;
  std::uint64_t delivered_bytes = 0;
  ClientEndCounts ended;
  std::uint64_t ignored = 0;  // frames that were no command
  // Of each message: to how many clients it went at once. Those to whom a replay brings it are not among them.
  Histogram fan_out{kFanOutBounds};
  // Of each of these deliveries, in microseconds: from the message's acceptance by its master to the end of the turn in
  // which it was written to the sockets.
  Histogram latency{kLatencyBounds};
};

class Clients : private server::HttpHandler {
 public:
  // All references outlive it.
  Clients(net::Loop& loop, const ClientLimits& options, const history::History& history, history::Instances& instances,
          Log& log);
  ~Clients() override;

  // Where ports are taken, and listened on.
  server::HttpServer& http() { return http_; }
  // The pages that may connect to a port from now on. REQUIRES: for each that is taken, before it listens.
  void SetOrigins(std::size_t port, std::vector<http::OriginPattern> origins);
  // Bounds of clients to come and of those that are there: what one of them holds stays, also where it is more.
  void SetLimits(const ClientLimits& limits);
  // What plain GET is answered with: 501 when ready, 503 else.
  void SetReady(bool ready) { ready_ = ready; }

  // Fans out what has entered the history since the last call: each message goes to every client of its instance
  // that subscribes to any of its PHIDs, once. Called at the end of each turn.
  void Pump();

  // Closes the port (what waits in its queue is taken first), and the clients with 1001, evenly over `time`: their
  // pages come back elsewhere at once and all alike, so it is for the server to spread them.
  void BeginDrain(Duration time);
  // Closes no more of them. The ports stay closed until http().Listen().
  void EndDrain();

  // Closes the port, and every client with `code`.
  void Shutdown(std::uint16_t code, std::string_view reason);

  std::size_t size() const { return clients_.size(); }
  // Connections that may become clients: accepted, and on their handshake.
  std::size_t arriving() const { return http_.arriving(); }
  const ClientCounters& counters() const { return counters_; }

 private:
  friend class Client;

  struct FannedOut {
    Time accepted;
    std::uint64_t deliveries;
  };

  void OnHead(const server::RequestStart& request) override;
  void OnRequest(const server::Request& request) override;
  std::string PeerOf(const Client& client) const;
  void FanOut(const history::Message& message);
  // Looks how long the last turn's deliveries have taken, all of them by one reading of the clock.
  void TimeDeliveries();
  // Does some of the client's work that takes long at the end of this turn or a later one.
  void Schedule(Client& client);
  void ContinueWork();
  void DrainSome();
  void OnClosed(Client& client, std::uint16_t code, const std::string& reason);
  // Closes a client that broke a bound.
  void Cut(Client& client, ClientEnd end);
  void Ignore(const Client& client, std::string_view reason);
  void CountDelivery(const Client& client, std::size_t bytes);
  // Lets go of a client whose connection is closed.
  void Remove(Client& client);
  // Takes its subscriptions out of the index, and deletes it: at once, or at the end of this turn and later ones where
  // they are many.
  void Forget(std::unique_ptr<Client> client);
  void Sweep();

  net::Loop& loop_;
  ClientLimits options_;
  const history::History& history_;
  history::Instances& instances_;
  Log& log_;
  LogLimiter cut_limiter_;
  LogLimiter ignored_limiter_;
  SharedBytes pong_frame_;
  websocket::ReaderPool readers_;
  server::HttpServer http_;
  std::vector<std::vector<http::OriginPattern>> origins_;  // by the number of the port
  std::uint64_t live_;                 // position in the history: what lies before it has been fanned out
  std::vector<FannedOut> fanned_out_;  // what was fanned out in the turn …
  std::uint64_t fan_out_turn_ = 0;     // … of that number
  ReplayIndex replay_index_;
  std::deque<std::uint64_t> work_queue_;                  // ids of clients whose turn it is
  std::unordered_map<std::uint64_t, Client*> scheduled_;  // those in the queue
  std::size_t backlog_bytes_ = 0;                         // of commands that wait, over all clients
  std::unordered_map<const history::Instance*, std::unique_ptr<Audience>> audiences_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::vector<std::unique_ptr<Client>> forgotten_;  // they have gone, but their subscriptions are still in the index
  std::size_t sweep_at_ = 0;
  Time swept_{};
  bool ready_ = true;
  ClientCounters counters_;
  net::Timer sweep_;
  // A drain that is under way: over which time, until when, and how many there were at its beginning.
  Duration drain_time_{};
  Time drained_at_{};
  std::size_t drain_from_ = 0;
  net::Timer drain_;
};

}  // namespace aphlict::clients
