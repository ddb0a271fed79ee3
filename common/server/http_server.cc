#include "common/server/http_server.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/server/forwarded.h"

namespace aphlict::server {

namespace {

std::int64_t Seconds(Time time) { return std::chrono::floor<seconds>(time.time_since_epoch()).count(); }

constexpr Duration kSweepInterval = milliseconds(500);
constexpr Duration kWriteTime = seconds(10);  // without progress, for an answer to be taken

// Who has begun its way in goes before whoever has just come, or each step of a handshake would wait behind everybody's
// first one. It takes two steps more, so that with so many in a row nobody waits for long; and whoever drips handshakes
// keeps nobody out.
constexpr std::size_t kEnterAtATime = 4;

// Connections that are over their address's bound and still wait to be told so. More are closed without a word: they
// hold descriptors that nobody counts.
constexpr std::size_t kMostGoodbyes = 128;

// Of what the parser finds, by the status that it is answered with.
Refusal RefusalOf(int status) {
  if (status == 413 || status == 431) return Refusal::kTooLarge;
  return Refusal::kMalformed;
}

}  // namespace

// One connection, from its first byte to its last answer. Owned by the server, by id.
class HttpServer::Connection : public net::StreamHandler {
 public:
  Connection(HttpServer& server, ConnectionId id, std::size_t port, net::StreamPtr stream)
      : server_(server),
        id_(id),
        port_(port),
        stream_(std::move(stream)),
        parser_(server.limits_.parser),
        since_(Now()) {
    stream_->SetHandler(this);
  }

  ConnectionId id() const { return id_; }
  std::size_t port() const { return port_; }
  const net::Stream* stream() const { return stream_.get(); }
  bool arriving() const { return requests_ == 0; }
  // Whether the other end is a trusted proxy, which tells in each request whom it speaks for.
  void SetForwarded() { forwarded_ = true; }

  void OnHandshake() override {
    ArriveNowOrLater({});
    BoundUnfinished();
  }

  void OnBytes(std::string_view bytes) override {
    if (in_handshake_) return static_cast<void>(unread_.append(bytes));
    if (arriving()) {
      ArriveNowOrLater(bytes);
    } else {
      Take(bytes);
    }
    BoundUnfinished();
  }

  void ArriveNowOrLater(std::string_view bytes) {
    // Those that wait already go first.
    if (server_.entering_.empty() && server_.postponed_.empty() && server_.HasTime()) return Arrive(bytes);
    unread_.append(bytes);
    Postpone();
  }

  // Deals with the first bytes, or the next of a handshake or of the first request.
  void Arrive(std::string_view bytes) {
    entering_ = true;
    const Time begun = Now();
    in_handshake_ = true;
    stream_->ContinueHandshake();
    in_handshake_ = false;
    server_.Spend(Now() - begun);
    if (stream_) Take(bytes);
    if (stream_ && read_ended_ && !waiting_ && !postponed_at_ && stream_->unsent() == 0) Finish();
  }

  // Until the turn has time for it, or a later one.
  void Postpone() {
    if (postponed_at_) return;
    postponed_at_ = Now();
    (entering_ && arriving() ? server_.entering_ : server_.postponed_).push_back(id_);
    stream_->PauseReading();
  }

  void Continue() {
    since_ += Now() - *std::exchange(postponed_at_, {});  // meanwhile, it was the server that kept it waiting
    Arrive({});
    if (stream_ && !waiting_ && !postponed_at_) stream_->ResumeReading();
    BoundUnfinished();
  }

  void OnReadEnd() override {
    read_ended_ = true;
    // What has come before it may not have been looked at yet.
    if (!waiting_ && !postponed_at_ && !in_handshake_ && stream_->unsent() == 0) Finish();
  }

  void OnEnd(const std::string& reason) override {
    if (stream_->handshaking()) CountTlsFailure(reason);
    Finish();
  }

  // `bytes(close, head_request)` makes the answer's.
  template <class Bytes>
  void Respond(Bytes bytes) {
    if (!waiting_) return;
    waiting_ = false;
    const bool close = !parser_.head().keep_alive || read_ended_ || !listening();
    stream_->Write(bytes(close, parser_.head().method == "HEAD"));
    parser_.Next();
    since_ = server_.loop_.turn_began();
    if (close) return Finish();
    stream_->ResumeReading();
    if (processing_) return;
    if (!unread_.empty()) Take({});
    CountUnfinished();
  }

  net::StreamPtr Upgrade(std::string* unread) {
    waiting_ = false;
    *unread = processing_ ? std::string(coming_) : std::move(unread_);
    return std::move(stream_);
  }

  // What it keeps of requests that have not come whole.
  void CountUnfinished() {
    const std::size_t kept = stream_ ? parser_.memory() + unread_.capacity() : 0;
    server_.unfinished_bytes_ += kept - std::exchange(counted_bytes_, kept);
  }

  void FinishUnlessWaiting() {
    if (!waiting_) Finish();
  }

  void Refuse(Refusal refusal, const Error& error, std::vector<http::Header> headers = {}) {
    if (!stream_) return;
    waiting_ = false;
    unwelcome_ = refusal == Refusal::kPerAddress;
    server_.CountRefusal(refusal, id_, server_.PeerOf(id_), error);
    http::Response response = http::ErrorResponse(error.code, error.text);
    response.headers = std::move(headers);
    const bool head_request = parser_.state() != http::RequestParser::State::kHead && parser_.head().method == "HEAD";
    stream_->Write(http::Serialize(response, true, head_request));
    Finish();
  }

  // Ends or refuses what takes longer than its state allows.
  void CheckTime(Time now) {
    if (waiting_ || postponed_at_) return;
    if (stream_->unsent() > 0) {
      if (now - stream_->last_progress() > kWriteTime) Finish();
      return;
    }
    const HttpLimits& limits = server_.limits_;
    if (stream_->handshaking()) {
      if (now - since_ <= limits.head_time) return;
      CountTlsFailure("TLS: the handshake did not end in time");
      Finish();
    } else if (!parser_.started()) {
      // A connection that has not sent anything yet is on its head's time, one between requests may idle.
      if (now - since_ <= (requests_ == 0 ? limits.head_time : limits.idle_time)) return;
      if (requests_ == 0)
        server_.CountRefusal(Refusal::kTooSlow, id_, server_.PeerOf(id_), {"nothing was sent in time", 0});
      Finish();
    } else if (parser_.state() == http::RequestParser::State::kHead) {
      if (now - since_ > limits.head_time)
        Refuse(Refusal::kTooSlow, {"the request's head did not arrive in time", 408});
    } else if (now - since_ > limits.body_time) {
      Refuse(Refusal::kTooSlow, {"the request's body did not arrive in time", 408});
    }
  }

 private:
  void BoundUnfinished() {
    CountUnfinished();
    if (server_.unfinished_bytes_ <= server_.limits_.unfinished_bytes || !stream_) return;
    if (waiting_ || stream_->handshaking() || (!parser_.started() && unread_.empty())) return;
    Refuse(Refusal::kFull, {"too many requests, or too large ones, are on their way at once", 503});
  }

  // Deals with what is unread, and with `bytes` behind it.
  void Take(std::string_view bytes) {
    if (unread_.empty()) return Process(bytes);
    std::string all = std::exchange(unread_, {});
    all.append(bytes);
    Process(all);
  }

  // What has to wait for an answer becomes unread. REQUIRES: nothing is.
  void Process(std::string_view bytes) {
    processing_ = true;
    coming_ = bytes;
    Time begun = parser_.started() ? Now() : Time{};  // when what is counted began, the last request that did so here
    const auto spend = [&](Time now) { server_.Spend(begun == Time{} ? Duration::zero() : now - begun); };
    while (stream_ && !waiting_ && !coming_.empty()) {
      if (!parser_.started()) {
        since_ = Now();
        spend(since_);
        if (std::exchange(begun, since_) != Time{} && !server_.HasTime()) {
          Postpone();
          break;
        }
      }
      const bool had_head = parser_.state() != http::RequestParser::State::kHead;
      const auto taken = parser_.Feed(coming_);
      if (!taken) {
        processing_ = false;
        return Refuse(RefusalOf(taken.error().code), taken.error());
      }
      coming_.remove_prefix(*taken);
      if (!had_head && parser_.state() != http::RequestParser::State::kHead) {
        since_ = server_.loop_.turn_began();
        if (forwarded_) CountForwarded();
        if (!stream_) break;
        server_.handler_.OnHead({id_, port_, parser_.head()});
        if (!stream_) break;
      }
      if (!had_head && parser_.state() == http::RequestParser::State::kBody && parser_.head().expects_continue) {
        stream_->Write("HTTP/1.1 100 Continue\r\n\r\n");
      }
      if (parser_.state() != http::RequestParser::State::kComplete) continue;
      ++requests_;
      ++server_.counters_.requests;
      waiting_ = true;
      stream_->PauseReading();
      server_.handler_.OnRequest({id_, parser_.head(), parser_.body()});
    }
    spend(Now());
    unread_ = coming_;
    processing_ = false;
  }

  void CountTlsFailure(const std::string& reason) {
    server_.CountRefusal(Refusal::kTls, id_, server_.PeerOf(id_), {reason, 0});
  }

  void CountForwarded();
  // Whether the port that it came by is still open.
  bool listening() const;

  void Finish() {
    if (!stream_) return;
    // Between requests there is nothing that a peer could fail to see.
    const bool idle = !parser_.started() && unread_.empty() && stream_->unsent() == 0;
    if (idle || (unwelcome_ && server_.loop_.lingering() >= kMostGoodbyes)) {
      stream_.reset();
    } else {
      server_.loop_.Linger(std::move(stream_));
    }
    server_.Remove(*this);
  }

  HttpServer& server_;
  ConnectionId id_;
  std::size_t port_;
  net::StreamPtr stream_;  // null once finished or upgraded
  http::RequestParser parser_;
  std::string unread_;             // waits for an answer, or for its first turn
  std::string_view coming_;        // what Process() has not come to yet
  Time since_;                     // when the present part of a request began
  std::size_t counted_bytes_ = 0;  // in HttpServer::unfinished_bytes_
  std::uint64_t requests_ = 0;
  bool unwelcome_ = false;  // one too many of its address
  bool forwarded_ = false;
  std::optional<net::Address> by_proxy_;  // the proxy, as far as it is known: the address before X-Forwarded-For
  bool waiting_ = false;                  // for the answer to a complete request
  bool entering_ = false;                 // Arrive() has been called
  std::optional<Time> postponed_at_;      // since when it is in HttpServer::postponed_ or entering_
  bool processing_ = false;               // Process() is on the stack
  bool read_ended_ = false;
  bool in_handshake_ = false;  // Stream::ContinueHandshake() is on the stack
};

// An address that the server listens on, or can again.
class HttpServer::Port : private net::ListenerHandler {
 public:
  Port(HttpServer& server, std::size_t index, PortOptions options)
      : server_(server), index_(index), options_(std::move(options)) {}

  // Errors as net::Listener::Bind.
  Result<void> Bind(const net::Address& address) {
    auto listener = net::Listener::Bind(server_.loop_, address, options_.reuse_port, this);
    if (!listener) return listener.error();
    listener_ = std::move(*listener);
    address_ = listener_->local_address();
    return {};
  }

  void Close() { listener_.reset(); }
  // What waits in the kernel's queue is accepted first.
  void CloseForGood() {
    if (listener_) listener_->AcceptAll();
    listener_.reset();
    closed_ = true;
  }

  // Whether it never listens again.
  bool closed() const { return closed_; }

  const net::Address& address() const { return address_; }
  net::Listener* listener() { return listener_.get(); }

  std::size_t index() const { return index_; }
  const PortOptions& options() const { return options_; }
  void SetOptions(PortOptions options) {
    options.reuse_port = options_.reuse_port;
    options_ = std::move(options);
  }

 private:
  void OnConnection(int descriptor) override { server_.OnConnection(*this, descriptor); }

  void OnAcceptError(const std::string& reason) override {
    server_.log_.Error("accept_failed",
                       {{"listener", server_.name_}, {"reason", reason}, {"connections", server_.connections()}});
  }

  HttpServer& server_;
  std::size_t index_;  // in HttpServer::ports_
  net::Address address_;
  PortOptions options_;
  std::unique_ptr<net::Listener> listener_;  // null while the server does not listen
  bool closed_ = false;
};

bool HttpServer::Connection::listening() const { return server_.listening() && !server_.ports_[port_]->closed(); }

void HttpServer::Connection::CountForwarded() {
  if (!by_proxy_) by_proxy_ = server_.AddressOf(id_);
  const std::vector<net::Network>& trusted = server_.ports_[port_]->options().proxies.networks;
  server_.CountAddress(*this, ForwardedFor(parser_.head().headers, *by_proxy_, trusted));
}

HttpServer::HttpServer(net::Loop& loop, std::string name, const HttpLimits& limits, Log& log, HttpHandler& handler)
    : loop_(loop), name_(std::move(name)), limits_(limits), log_(log), handler_(handler), sweep_(loop, [this] {
        Sweep();
      }) {
  sweep_.Start(kSweepInterval, kSweepInterval);
  sweep_.Unref();
}

HttpServer::~HttpServer() = default;

Result<net::Address> HttpServer::Bind(const net::Address& address, PortOptions options) {
  auto port = std::make_unique<Port>(*this, ports_.size(), std::move(options));
  if (auto bound = port->Bind(address); !bound) return bound.error();
  ports_.push_back(std::move(port));
  return ports_.back()->address();
}

void HttpServer::Unbind() { ports_.pop_back(); }

Result<void> HttpServer::Listen() {
  for (const auto& port : ports_) {
    if (port->listener() != nullptr || port->closed()) continue;
    if (auto bound = port->Bind(port->address()); !bound) return bound;
  }
  for (const auto& port : ports_) {
    if (port->closed() || port->listener()->started()) continue;
    if (auto started = port->listener()->Start(); !started) return started;
  }
  listening_ = true;
  UpdateListeners();
  return {};
}

void HttpServer::SetOptions(std::size_t port, PortOptions options) { ports_[port]->SetOptions(std::move(options)); }

void HttpServer::ClosePort(std::size_t port) { ports_[port]->CloseForGood(); }

void HttpServer::SetLimits(const HttpLimits& limits) {
  const bool counted = limits_.per_address != 0;
  limits_ = limits;
  if (counted != (limits_.per_address != 0)) CountAddresses();
  UpdateListeners();
}

void HttpServer::StopListening() {
  listening_ = false;
  for (const auto& port : ports_) {
    if (port->listener() != nullptr) port->listener()->AcceptAll();
  }
  for (const auto& port : ports_) port->Close();
}

void HttpServer::Shutdown() {
  StopListening();
  while (!announced_.empty()) DropAnnounced(announced_.begin()->first);
  for (const ConnectionId id : Ids()) {
    if (const auto found = connections_.find(id); found != connections_.end()) found->second->FinishUnlessWaiting();
  }
}

void HttpServer::Respond(ConnectionId connection, const http::Response& response) {
  if (const auto found = connections_.find(connection); found != connections_.end()) {
    found->second->Respond([&](bool close, bool head_request) {
      return SharedBytes::Copy(http::Serialize(response, close, head_request));
    });
  }
}

void HttpServer::Respond(ConnectionId connection, const http::PreparedResponse& response) {
  if (const auto found = connections_.find(connection); found != connections_.end()) {
    found->second->Respond([&](bool close, bool head_request) { return response.Bytes(close, head_request); });
  }
}

void HttpServer::Refuse(ConnectionId connection, Refusal refusal, const Error& error,
                        std::vector<http::Header> headers) {
  if (const auto found = connections_.find(connection); found != connections_.end()) {
    found->second->Refuse(refusal, error, std::move(headers));
  }
}

net::StreamPtr HttpServer::Upgrade(ConnectionId connection, std::string* unread) {
  const auto found = connections_.find(connection);
  if (found == connections_.end()) return nullptr;
  net::StreamPtr stream = found->second->Upgrade(unread);
  found->second->CountUnfinished();
  ++upgraded_;  // first: in between, there must not seem to be room for one more
  loop_.DeleteLater(std::shared_ptr<Connection>(std::move(found->second)));  // it may be on the stack
  connections_.erase(found);
  stream->SetHandler(nullptr);
  stream->ResumeReading();
  return stream;
}

void HttpServer::Release(ConnectionId connection) {
  --upgraded_;
  Leave(connection);
  UpdateListeners();
}

void HttpServer::Spend(Duration time) {
  if (std::exchange(spending_turn_, loop_.turn()) != loop_.turn()) spent_ = Duration::zero();
  spent_ += time;
}

bool HttpServer::HasTime() {
  Spend(Duration::zero());
  return spent_ < limits_.turn_time;
}

void HttpServer::ContinuePostponed() {
  const auto any = [this] { return !entering_.empty() || !postponed_.empty(); };
  while (any() && HasTime()) {
    const bool enters = !entering_.empty() && (postponed_.empty() || entered_ < kEnterAtATime);
    entered_ = enters ? entered_ + 1 : 0;
    std::deque<ConnectionId>& queue = enters ? entering_ : postponed_;
    const auto found = connections_.find(queue.front());
    queue.pop_front();
    if (found != connections_.end()) found->second->Continue();
  }
  if (any()) loop_.TurnAgain();
}

net::Address HttpServer::AddressOf(ConnectionId connection) const {
  if (const auto known = addresses_.find(connection); known != addresses_.end()) {
    return net::AddressOf(known->second.bytes, known->second.port);
  }
  const auto found = connections_.find(connection);
  return found == connections_.end() ? net::Address() : found->second->stream()->peer();
}

std::string HttpServer::PeerOf(ConnectionId connection) const {
  const net::Address address = AddressOf(connection);
  return address.port() == 0 ? address.host() : address.ToString();  // X-Forwarded-For has no port
}

net::Address HttpServer::LocalAddressOf(ConnectionId connection) const {
  const auto found = connections_.find(connection);
  if (found == connections_.end()) return {};
  const net::Address& bound = ports_[found->second->port()]->address();
  return bound.is_wildcard() ? found->second->stream()->local() : bound;
}

void HttpServer::OnConnection(const Port& port, int descriptor) {
  ++counters_.accepted;
  const ConnectionId id = next_id_++;
  const bool trusts = !port.options().proxies.networks.empty();
  if (!trusts && limits_.per_address == 0) {
    Add(id, port, descriptor);
  } else if (const net::Address peer = net::PeerOf(descriptor);
             !net::AnyContains(port.options().proxies.networks, peer)) {
    CountAddress(Add(id, port, descriptor), peer);
  } else if (!port.options().proxies.proxy_protocol) {
    Add(id, port, descriptor).SetForwarded();
  } else {
    announced_.emplace(id, std::make_unique<net::ProxyReader>(loop_, descriptor, [this, id, &port](const auto& header) {
                         OnAnnounced(id, port, header);
                       }));
  }
  UpdateListeners();
}

HttpServer::Connection& HttpServer::Add(ConnectionId id, const Port& port, int descriptor) {
  auto connection = std::make_unique<Connection>(*this, id, port.index(),
                                                 net::Stream::Adopt(loop_, descriptor, port.options().tls.get()));
  return *connections_.emplace(id, std::move(connection)).first->second;
}

void HttpServer::OnAnnounced(ConnectionId id, const Port& port, const Result<net::ProxyHeader>& header) {
  net::ProxyReader& reader = *announced_.at(id);
  const net::Address proxy = reader.peer();
  if (!header) {
    if (header.error().code == 0) CountRefusal(Refusal::kProxyHeader, id, proxy.ToString(), {header.error().text, 0});
    return DropAnnounced(id);
  }
  const net::Address address = header->source.value_or(proxy);
  Connection& connection = Add(id, port, reader.Take());
  DropAnnounced(id);
  // The address that one proxy has told may be that of the next.
  if (net::AnyContains(port.options().proxies.networks, address)) connection.SetForwarded();
  CountAddress(connection, address);
}

void HttpServer::DropAnnounced(ConnectionId id) {
  const auto found = announced_.find(id);
  loop_.DeleteLater(std::shared_ptr<net::ProxyReader>(std::move(found->second)));  // it may be on the stack
  announced_.erase(found);
  UpdateListeners();
}

void HttpServer::CountAddress(Connection& connection, const net::Address& address) {
  if (Enter(connection.id(), address)) return;
  connection.Refuse(Refusal::kPerAddress, {"too many connections of this address (connections.per.address)", 429});
}

bool HttpServer::Enter(ConnectionId id, const net::Address& address) {
  Leave(id);
  addresses_[id] = {net::BytesOf(address), address.port()};
  if (limits_.per_address == 0) return true;
  return ++per_address_[net::HolderOf(address)] <= limits_.per_address;
}

void HttpServer::CountAddresses() {
  per_address_.clear();
  if (limits_.per_address == 0) return;
  for (const auto& [id, connection] : connections_) {
    const net::Address& peer = connection->stream()->peer();
    addresses_.try_emplace(id, KnownAddress{net::BytesOf(peer), peer.port()});
  }
  for (const auto& [id, known] : addresses_) ++per_address_[net::HolderOf(net::AddressOf(known.bytes, 0))];
}

void HttpServer::CountUpgraded(ConnectionId connection, const net::Address& peer) {
  if (limits_.per_address == 0) return;
  const bool is_new = addresses_.try_emplace(connection, KnownAddress{net::BytesOf(peer), peer.port()}).second;
  if (is_new) ++per_address_[net::HolderOf(peer)];
}

void HttpServer::Leave(ConnectionId id) {
  const auto known = addresses_.find(id);
  if (known == addresses_.end()) return;
  const auto count = per_address_.find(net::HolderOf(net::AddressOf(known->second.bytes, 0)));
  if (count != per_address_.end() && --count->second == 0) per_address_.erase(count);
  addresses_.erase(known);
}

void HttpServer::CountRefusal(Refusal refusal, ConnectionId id, const std::string& peer, const Error& error) {
  counters_.refused.Add(refusal);
  std::int64_t suppressed = 0;
  if (!log_limiters_[static_cast<std::size_t>(refusal)].Allow(Seconds(Now()), &suppressed)) return;
  log_.Warning("request_refused", {{"listener", name_},
                                   {"peer", peer},
                                   {"connection", id},
                                   {"status", error.code},
                                   {"kind", RefusalName(refusal)},
                                   {"reason", error.text},
                                   {"suppressed", suppressed}});
}

void HttpServer::Remove(Connection& connection) {
  const auto found = connections_.find(connection.id());
  connection.CountUnfinished();
  loop_.DeleteLater(std::shared_ptr<Connection>(std::move(found->second)));  // it may be on the stack
  connections_.erase(found);
  Leave(connection.id());
  UpdateListeners();
}

void HttpServer::Sweep() {
  const Time now = Now();
  std::vector<ConnectionId> silent;
  for (const auto& [id, reader] : announced_) {
    if (now - reader->since() > limits_.head_time) silent.push_back(id);
  }
  for (const ConnectionId id : silent) {
    CountRefusal(Refusal::kTooSlow, id, announced_.at(id)->peer().ToString(),
                 {"the PROXY header did not arrive in time", 0});
    DropAnnounced(id);
  }
  for (const ConnectionId id : Ids()) {
    if (const auto found = connections_.find(id); found != connections_.end()) found->second->CheckTime(now);
  }
}

std::size_t HttpServer::arriving() const {
  return announced_.size() +
         static_cast<std::size_t>(std::count_if(connections_.begin(), connections_.end(),
                                                [](const auto& each) { return each.second->arriving(); }));
}

std::vector<ConnectionId> HttpServer::Ids() const {
  std::vector<ConnectionId> ids;
  ids.reserve(connections_.size());
  for (const auto& [id, connection] : connections_) ids.push_back(id);
  return ids;
}

void HttpServer::UpdateListeners() {
  const bool full = connections() >= limits_.connections;
  for (auto& port : ports_) {
    net::Listener* const listener = port->listener();
    if (listener == nullptr) continue;
    if (full && !listener->paused()) {
      listener->Pause();
      log_.Warning("listener_full", {{"listener", name_}, {"connections", connections()}});
    } else if (!full && listener->paused() && !listener->retrying()) {
      listener->Resume();
    }
  }
}

}  // namespace aphlict::server
