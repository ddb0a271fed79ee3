// HTTP/1.1 connections on one or more listeners: requests come in whole, answers go out, now or later.
// A connection can be taken over for the WebSocket protocol.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/base/log.h"
#include "common/base/siphash.h"
#include "common/base/time.h"
#include "common/http/parser.h"
#include "common/http/response.h"
#include "common/net/listener.h"
#include "common/net/network.h"
#include "common/net/proxy_reader.h"
#include "common/net/stream.h"
#include "common/net/timer.h"
#include "common/net/tls_context.h"
#include "common/server/refusal.h"
#include "common/server/trusted_proxies.h"

namespace aphlict::server {

// Names a connection across time: an answer that comes later finds it, or finds it gone.
using ConnectionId = std::uint64_t;

// Whose head is there, and whose body is not yet.
struct RequestStart {
  ConnectionId connection;
  std::size_t port;  // which of the server's, in the order of Bind()
  const http::RequestHead& head;
};

struct Request {
  ConnectionId connection;
  const http::RequestHead& head;
  std::string& body;  // may be taken
};

// What is served. Owned by whoever makes the server, and outlives it.
class HttpHandler {
 public:
  virtual ~HttpHandler() = default;
  // Before anything behind a request's head is looked at: the place to HttpServer::Refuse() who may not ask.
  virtual void OnHead(const RequestStart& /*request*/) {}
  // A request is complete. It is answered by Respond(), now or later; until then the connection reads no more.
  // Or the connection is taken over by Upgrade().
  virtual void OnRequest(const Request& request) = 0;
};

struct HttpLimits {
  http::ParserLimits parser;
  Duration head_time = seconds(10);   // for the head; past it 408
  Duration body_time = seconds(60);   // for the body; past it 408
  Duration idle_time = seconds(120);  // between requests; past it the connection is closed
  std::size_t connections = 1024;     // upgraded ones included; what is over waits in the kernel's queue
  // Of one address (IPv6: of one /64), upgraded ones included; past it 429, and 0: no such bound. Those who come
  // through a proxy that is not trusted are all of one address.
  std::size_t per_address = 0;
  // What requests that have not come whole may take, all together. Past it those that still grow get 503, so that
  // neither many nor large ones fill the memory; one that comes in one piece is never concerned.
  std::size_t unfinished_bytes = 64 * 1024 * 1024;
  // Of a turn of the loop, for first requests and those that were sent ahead of an answer, so that neither a herd nor
  // a long list keeps it from everybody else; what is over goes on at the turn's end and in the next ones, which then
  // begin at once. Who bounds it calls ContinuePostponed().
  Duration turn_time = Duration::max();
};

struct HttpCounters {
  std::uint64_t accepted = 0;
  std::uint64_t requests = 0;
  RefusalCounts refused;
};

struct PortOptions {
  bool reuse_port = false;                               // shared with other processes of the same user
  std::shared_ptr<const net::TlsContext> tls = nullptr;  // its connections have TLS
  TrustedProxies proxies = {};
};

class HttpServer {
 public:
  // `name` is what the log calls it ("admin"). `log` and `handler` outlive the server.
  HttpServer(net::Loop& loop, std::string name, const HttpLimits& limits, Log& log, HttpHandler& handler);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // Takes one more address: the port of the next number, from 0. Errors as net::Listener::Bind, and no number is used.
  Result<net::Address> Bind(const net::Address& address, PortOptions options = {});
  // Takes back the last Bind(). REQUIRES: no turn of the loop has ended since.
  void Unbind();
  // How many have been taken.
  std::size_t ports() const { return ports_.size(); }
  // Begins to accept on all of them that do not yet, again after StopListening(), too. Errors as net::Listener::Bind
  // and Start.
  Result<void> Listen();
  // For the connections to come; those that are there stay as they are. `options.reuse_port` has no effect.
  void SetOptions(std::size_t port, PortOptions options);
  // Listens on that port no more. Its connections stay: upgraded ones as long as they like, others for one more answer.
  void ClosePort(std::size_t port);
  // The parser's for the connections to come, all others at once.
  void SetLimits(const HttpLimits& limits);
  // Takes no more connections. What is in the kernel's queues is accepted first.
  void StopListening();
  bool listening() const { return listening_; }
  // Stops listening, and closes the connections: at once, or after the answer that one waits for.
  void Shutdown();

  // Answers the request that a connection waits for. Does nothing when the connection has gone.
  void Respond(ConnectionId connection, const http::Response& response);
  void Respond(ConnectionId connection, const http::PreparedResponse& response);

  // Answers the request that a connection has sent the head of, or waits for: {"error": text} with the status
  // `error.code` and further `headers`. It is counted under `refusal` and logged with a limit. The connection ends
  // after it, and what has come behind the head is not looked at. Does nothing when the connection has gone.
  void Refuse(ConnectionId connection, Refusal refusal, const Error& error, std::vector<http::Header> headers = {});

  // Takes the connection out of the server: its stream, and the bytes that came behind the request. It counts
  // as a connection until Release() is called with its id. Null when the connection has gone.
  net::StreamPtr Upgrade(ConnectionId connection, std::string* unread);
  void Release(ConnectionId connection);
  // Counts an upgraded connection under the address of its stream, where it is not counted under one yet: it came
  // before there was a bound on them.
  void CountUpgraded(ConnectionId connection, const net::Address& peer);

  // At the end of each turn: goes on with requests that had to wait, as far as the turn's time for them allows.
  void ContinuePostponed();

  // Who is at a connection's other end: behind a trusted proxy, whom that tells of. An empty address when it has gone;
  // of one that was upgraded, also where it is the other end of its stream.
  net::Address AddressOf(ConnectionId connection) const;
  // The same in text, or "unknown".
  std::string PeerOf(ConnectionId connection) const;
  // The address of this end of a connection, which is not the port's where that takes any, or an empty one.
  net::Address LocalAddressOf(ConnectionId connection) const;

  std::size_t connections() const { return connections_.size() + announced_.size() + upgraded_; }
  // Those that have not asked for anything yet.
  std::size_t arriving() const;
  // What requests take that have not come whole.
  std::size_t unfinished_bytes() const { return unfinished_bytes_; }
  const HttpCounters& counters() const { return counters_; }

 private:
  class Connection;
  class Port;

  // An address as it is kept while it is needed: where connections are counted by it, or a proxy has told it.
  struct KnownAddress {
    net::AddressBytes bytes;
    std::uint16_t port;
  };
  struct HashAddress {
    std::size_t operator()(const net::AddressBytes& bytes) const {
      return KeyedHash()({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    }
  };

  void OnConnection(const Port& port, int descriptor);
  Connection& Add(ConnectionId id, const Port& port, int descriptor);
  // Refuses a connection that is one too many of its address.
  void CountAddress(Connection& connection, const net::Address& address);
  // Counts anew who holds what.
  void CountAddresses();
  // Keeps the address, and counts the connection under it. Returns false when it is one too many; it counts then, too.
  bool Enter(ConnectionId id, const net::Address& address);
  void Leave(ConnectionId id);
  void OnAnnounced(ConnectionId id, const Port& port, const Result<net::ProxyHeader>& header);
  void DropAnnounced(ConnectionId id);
  // Of the turn's time for first requests and those sent ahead: takes some, and whether some is left.
  void Spend(Duration time);
  bool HasTime();
  void CountRefusal(Refusal refusal, ConnectionId id, const std::string& peer, const Error& error);
  void Remove(Connection& connection);
  void Sweep();
  void UpdateListeners();
  std::vector<ConnectionId> Ids() const;  // a copy: whoever is visited may go

  net::Loop& loop_;
  std::string name_;
  HttpLimits limits_;
  Log& log_;
  HttpHandler& handler_;
  std::vector<std::unique_ptr<Port>> ports_;
  std::unordered_map<ConnectionId, std::unique_ptr<Connection>> connections_;
  std::unordered_map<ConnectionId, std::unique_ptr<net::ProxyReader>> announced_;  // before the proxy's header
  std::unordered_map<ConnectionId, KnownAddress> addresses_;
  std::unordered_map<net::AddressBytes, std::uint32_t, HashAddress> per_address_;
  ConnectionId next_id_ = 1;
  std::size_t upgraded_ = 0;
  std::size_t unfinished_bytes_ = 0;  // over all connections
  // Those that wait for their turn: who has begun a handshake or a first request, and not ended it; and all others.
  std::deque<ConnectionId> entering_;
  std::deque<ConnectionId> postponed_;
  std::size_t entered_ = 0;                   // of the first, since one of the others had its turn
  std::uint64_t spending_turn_ = UINT64_MAX;  // the turn …
  Duration spent_{};                          // … and what was spent of its time
  bool listening_ = false;
  HttpCounters counters_;
  std::array<LogLimiter, kRefusals> log_limiters_;  // one flood does not hide another
  net::Timer sweep_;
};

}  // namespace aphlict::server
