#include "common/clients/clients.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "common/base/fetch_ahead.h"
#include "common/websocket/handshake.h"

namespace aphlict::clients {

namespace {

// The sweep looks at each client every two seconds, a part of them at a time: oftener, it is a good part of what
// clients cost that do nothing but ping (docs/performance.md).
constexpr Duration kSweepInterval = milliseconds(200);
constexpr std::size_t kSweepParts = 10;
constexpr Duration kStandstill = seconds(1);

constexpr Duration kDrainInterval = milliseconds(50);

// Of a turn, for replays, long lists of PHIDs, and the subscriptions of those that have gone: the others' messages and
// handshakes come in between. What is left over goes on in the next turn, which begins at once.
constexpr Duration kWorkTime = microseconds(500);
// Subscriptions. More than come in at once, so that those who come and go do not pile up.
constexpr std::size_t kForgottenAtOnce = 1024;
// And for handshakes.
constexpr Duration kRequestTime = milliseconds(1);

server::HttpLimits WithTurnTime(server::HttpLimits limits) {
  limits.turn_time = kRequestTime;
  return limits;
}

std::int64_t Seconds(Time time) { return std::chrono::floor<seconds>(time.time_since_epoch()).count(); }

}  // namespace

ClientEnd EndOfCode(std::uint16_t code) {
  switch (code) {
    case websocket::kAbnormalClosure:
      return ClientEnd::kLost;
    case websocket::kProtocolError:
      return ClientEnd::kProtocolError;
    case websocket::kInvalidPayload:
      return ClientEnd::kNotUtf8;
    case websocket::kMessageTooBig:
      return ClientEnd::kTooLarge;
    case websocket::kPolicyViolation:
      return ClientEnd::kFragments;
    case websocket::kTryAgainLater:
      return ClientEnd::kUnfinished;
    default:
      return ClientEnd::kLeft;
  }
}

Clients::Clients(net::Loop& loop, const ClientLimits& options, const history::History& history,
                 history::Instances& instances, Log& log)
    : loop_(loop),
      options_(options),
      history_(history),
      instances_(instances),
      log_(log),
      pong_frame_(websocket::EncodeFrame(websocket::Opcode::kText, R"({"type":"pong"})")),
      readers_(websocket::Role::kServer, options.commands),
      http_(loop, "client", WithTurnTime(options.http), log, *this),
      live_(history.end()),
      sweep_(loop, [this] { Sweep(); }),
      drain_(loop, [this] { DrainSome(); }) {
  sweep_.Start(kSweepInterval, kSweepInterval);
  sweep_.Unref();
}

Clients::~Clients() {
  for (const auto* clients : {&clients_, &forgotten_}) {
    for (const auto& client : *clients) client->audience().index.UnsubscribeAll(*client);
  }
}

void Clients::SetOrigins(std::size_t port, std::vector<http::OriginPattern> origins) {
  if (origins_.size() <= port) origins_.resize(port + 1);
  origins_[port] = std::move(origins);
}

void Clients::SetLimits(const ClientLimits& limits) {
  const bool counts_now = options_.http.per_address == 0 && limits.http.per_address != 0;
  options_ = limits;
  readers_.SetLimits(limits.commands);
  http_.SetLimits(WithTurnTime(limits.http));
  for (std::size_t i = 0; counts_now && i < clients_.size(); ++i) {
    http_.CountUpgraded(clients_[i]->id(), clients_[i]->peer_address());
  }
}

void Clients::Pump() {
  TimeDeliveries();
  replay_index_.DropBefore(history_.begin());
  for (; live_ < history_.end(); ++live_) {
    const history::Entry& entry = history_.at(live_);
    if (entry.message() == nullptr || entry.repeat) continue;
    replay_index_.Add(live_, *entry.message());
    FanOut(*entry.message());
  }
  if (!work_queue_.empty() || !forgotten_.empty()) ContinueWork();
  http_.ContinuePostponed();
}

void Clients::Schedule(Client& client) {
  if (scheduled_.emplace(client.id(), &client).second) work_queue_.push_back(client.id());
}

void Clients::ContinueWork() {
  const auto any = [this] { return !work_queue_.empty() || !forgotten_.empty(); };
  const Time until = Now() + kWorkTime;
  do {
    if (!work_queue_.empty()) {
      const auto next = scheduled_.extract(work_queue_.front());
      work_queue_.pop_front();
      // Else it has left.
      if (next && next.mapped()->ContinueWork()) Schedule(*next.mapped());
    }
    if (!forgotten_.empty()) {
      std::unique_ptr<Client> client = std::move(forgotten_.back());
      forgotten_.pop_back();
      Forget(std::move(client));
    }
  } while (any() && Now() < until);
  if (any()) loop_.TurnAgain();
}

void Clients::BeginDrain(Duration time) {
  http_.StopListening();
  drain_time_ = time;
  drained_at_ = Now() + time;
  drain_from_ = http_.connections();  // those on their way to being clients count, too
  drain_.Start(Duration::zero(), kDrainInterval);
}

void Clients::EndDrain() { drain_.Stop(); }

void Clients::DrainSome() {
  const Duration left = std::max<Duration>(drained_at_ - Now(), Duration::zero());
  const double share = drain_time_ > Duration::zero() ? std::chrono::duration<double>(left) / drain_time_ : 0;
  const auto stay = static_cast<std::size_t>(std::ceil(static_cast<double>(drain_from_) * share));
  while (clients_.size() > stay) {
    const ClientEndInfo& info = InfoOf(ClientEnd::kDrained);
    counters_.ended.Add(ClientEnd::kDrained);
    clients_.back()->Close(info.code, info.text);
    Remove(*clients_.back());
  }
}

void Clients::TimeDeliveries() {
  if (fanned_out_.empty() || fan_out_turn_ == loop_.turn()) return;
  for (const auto& [accepted, deliveries] : fanned_out_) {
    counters_.latency.Add(loop_.last_written() - accepted, deliveries);
  }
  fanned_out_.clear();
}

void Clients::FanOut(const history::Message& message) {
  const auto audience = audiences_.find(instances_.Find(message.instance()));
  const std::uint64_t before = counters_.deliveries;
  std::vector<Client*> over;  // cut afterwards: the index must not change under the walk
  if (audience != audiences_.end()) {
    const SharedBytes frame = message.client_frame();
    audience->second->index.ForEachMatch(
        message,
        [&](Subscriber& subscriber) {
          auto& client = static_cast<Client&>(subscriber);
          if (!client.Deliver(frame)) over.push_back(&client);
        },
        [](const Subscriber& subscriber) { static_cast<const Client&>(subscriber).PrefetchForDelivery(); },
        [](const Subscriber& subscriber) { static_cast<const Client&>(subscriber).PrefetchStream(); });
  }
  const std::uint64_t deliveries = counters_.deliveries - before;
  counters_.fan_out.Add(deliveries);
  if (deliveries > 0) fanned_out_.push_back({message.accepted(), deliveries});
  fan_out_turn_ = loop_.turn();
  if (log_.enabled(LogLevel::kDebug)) {
    log_.Debug("fan_out", {{"epoch", message.epoch()},
                           {"sequence", message.sequence()},
                           {"instance", message.instance()},
                           {"clients", deliveries}});
  }
  for (Client* client : over) {
    Cut(*client, ClientEnd::kUnsent);
  }
}

void Clients::Shutdown(std::uint16_t code, std::string_view reason) {
  drain_.Stop();
  http_.Shutdown();
  while (!clients_.empty()) {
    clients_.back()->Close(code, reason);
    Remove(*clients_.back());
  }
}

void Clients::OnHead(const server::RequestStart& request) {
  const std::vector<http::OriginPattern>& origins = origins_[request.port];
  if (origins.empty() || !websocket::IsUpgrade(request.head)) return;
  const auto [count, origin] = request.head.headers.FindAll("Origin");
  if (count == 1 && http::AnyMatches(origins, origin)) return;
  const std::string who = count > 0 ? "pages of \"" + std::string(origin) + "\"" : "whoever names no Origin";
  http_.Refuse(request.connection, server::Refusal::kOrigin, {who + " may not connect here (origins)", 403});
}

void Clients::OnRequest(const server::Request& request) {
  const http::RequestHead& head = request.head;
  if (!websocket::IsUpgrade(head)) {
    http::Response response;
    response.status = ready_ ? 501 : 503;
    response.body = ready_ ? "HTTP/501 Use Websockets\n" : "HTTP/503 Not synchronised yet\n";
    return http_.Respond(request.connection, response);
  }
  const auto refuse = [&](const Error& error, server::Refusal refusal) {
    std::vector<http::Header> headers;
    if (error.code == 426) headers.push_back({"Sec-WebSocket-Version", "13"});
    if (error.code == 405) headers.push_back({"Allow", "GET"});
    http_.Refuse(request.connection, refusal, error, std::move(headers));
  };
  const auto accept = websocket::AcceptHandshake(head);
  if (!accept) return refuse(accept.error(), server::Refusal::kHandshake);
  const std::string name = InstanceOfPath(head.path());
  if (name.size() > options_.instance_bytes) {
    return refuse({"the instance's name is too long", 400}, server::Refusal::kTooLarge);
  }
  history::Instance* instance = instances_.Get(name);
  if (instance == nullptr) return refuse({"too many instances are in use", 503}, server::Refusal::kFull);

  auto& audience = audiences_[instance];
  if (!audience) audience = std::make_unique<Audience>(Audience{instance, {}, 0});
  std::string unread;
  net::StreamPtr stream = http_.Upgrade(request.connection, &unread);
  stream->Yield();
  stream->Write(websocket::SwitchingProtocols(*accept, ""));
  clients_.push_back(std::make_unique<Client>(*this, request.connection, *audience, std::move(stream)));
  Client& client = *clients_.back();
  client.place = static_cast<std::uint32_t>(clients_.size() - 1);
  ++audience->clients;
  ++counters_.accepted;
  ++instance->clients_active;
  ++instance->clients_total;
  instances_.MarkChanged(*instance);
  if (log_.enabled(LogLevel::kDebug)) {
    log_.Debug("client_connected", {{"client", client.id()}, {"peer", PeerOf(client)}, {"instance", instance->name}});
  }
  client.Receive(unread);
}

std::string Clients::PeerOf(const Client& client) const {
  return http_.AddressOf(client.id()).length() == 0 ? client.peer() : http_.PeerOf(client.id());
}

void Clients::OnClosed(Client& client, std::uint16_t code, const std::string& reason) {
  counters_.ended.Add(EndOfCode(code));
  log_.Debug("client_closed", {{"client", client.id()}, {"code", code}, {"reason", reason}});
  Remove(client);
}

void Clients::Cut(Client& client, ClientEnd end) {
  const ClientEndInfo& info = InfoOf(end);
  counters_.ended.Add(end);
  std::int64_t suppressed = 0;
  if (cut_limiter_.Allow(Seconds(Now()), &suppressed)) {
    log_.Warning("client_cut", {{"client", client.id()},
                                {"peer", PeerOf(client)},
                                {"instance", client.audience().instance->name},
                                {"code", info.code},
                                {"reason", info.text},
                                {"unsent", client.unsent()},
                                {"suppressed", suppressed}});
  }
  client.Close(info.code, info.text);
  Remove(client);
}

void Clients::Ignore(const Client& client, std::string_view reason) {
  ++counters_.ignored;
  std::int64_t suppressed = 0;
  if (ignored_limiter_.Allow(Seconds(Now()), &suppressed)) {
    log_.Warning("command_ignored", {{"client", client.id()},
                                     {"instance", client.audience().instance->name},
                                     {"reason", reason},
                                     {"suppressed", suppressed}});
  }
}

void Clients::CountDelivery(const Client& client, std::size_t bytes) {
  ++counters_.deliveries;
  counters_.delivered_bytes += bytes;
  history::Instance& instance = *client.audience().instance;
  ++instance.messages_out;
  instances_.MarkChanged(instance);
}

void Clients::Remove(Client& client) {
  scheduled_.erase(client.id());
  client.DropBacklog();
  history::Instance& instance = *client.audience().instance;
  --instance.clients_active;
  ++instance.clients_leaving;
  instances_.MarkChanged(instance);
  const server::ConnectionId id = client.id();
  const std::uint32_t place = client.place;
  Forget(std::move(clients_[place]));
  if (place + 1 < clients_.size()) {
    clients_[place] = std::move(clients_.back());
    clients_[place]->place = place;
  }
  clients_.pop_back();
  http_.Release(id);
}

void Clients::Forget(std::unique_ptr<Client> client) {
  Audience& audience = client->audience();
  if (!audience.index.UnsubscribeSome(*client, kForgottenAtOnce)) return forgotten_.push_back(std::move(client));
  --audience.instance->clients_leaving;
  loop_.DeleteLater(std::shared_ptr<Client>(std::move(client)));  // it may be on the stack
  if (--audience.clients > 0) return;
  const auto found = audiences_.find(audience.instance);
  loop_.DeleteLater(std::shared_ptr<Audience>(std::move(found->second)));  // after the client, which refers to it
  audiences_.erase(found);
}

void Clients::Sweep() {
  const Time now = Now();
  // After a standstill of this process, what has come meanwhile is read first.
  if (now - std::exchange(swept_, now) > kStandstill) return;
  const Time heard = loop_.heard_until();
  const std::size_t part = (clients_.size() + kSweepParts - 1) / kSweepParts;
  for (std::size_t i = 0; i < part && !clients_.empty(); ++i) {
    if (sweep_at_ >= clients_.size()) sweep_at_ = 0;
    FetchAhead(
        sweep_at_, clients_.size(), [this](std::size_t at) { clients_[at]->PrefetchForCheck(); },
        [this](std::size_t at) { clients_[at]->PrefetchStream(); });
    Client& client = *clients_[sweep_at_];
    if (const auto end = client.Check(now, heard)) {
      Cut(client, *end);  // another takes its place
    } else {
      ++sweep_at_;
    }
  }
}

}  // namespace aphlict::clients
