#include "common/node/node.h"

#include <sys/resource.h>
#include <sysexits.h>

#include <algorithm>
#include <utility>

#include "common/admin/metrics.h"
#include "common/admin/status.h"
#include "common/config/load.h"

namespace aphlict::node {

namespace {

constexpr Duration kTickInterval = seconds(1);
constexpr Duration kDrainCheckInterval = milliseconds(20);
// After a drain's time, for handshakes to end and for repeaters to take what they are sent.
constexpr Duration kLastTime = seconds(3);

// Descriptors for everything but clients: listeners, logs, upstreams, a few hundred repeaters and operators.
constexpr std::size_t kReservedDescriptors = 256;
constexpr std::size_t kAdminConnections = 1024;

std::size_t DescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  return limit.rlim_cur;
}

server::HttpLimits HttpLimitsOf(const config::Limits& limits, std::size_t connections) {
  server::HttpLimits http;
  http.parser.head_bytes = limits.head_bytes;
  http.parser.headers = limits.head_fields;
  http.parser.body_bytes = 64 * 1024;  // read only to be answered that it is not wanted
  http.head_time = limits.head_time;
  http.connections = connections;
  return http;
}

std::unique_ptr<admin::Admin> MakeAdmin(net::Loop& loop, const config::Settings& settings,
                                        const admin::StatusSource& status, admin::PublishHandler* publish, Log& log) {
  const config::Limits& limits = settings.limits;
  admin::Admin::Options options;
  options.instance_bytes = limits.instance_bytes;
  options.secrets = settings.admin_secrets;
  options.http = HttpLimitsOf(limits, kAdminConnections);
  options.http.parser.body_bytes = limits.publish_bytes;
  return std::make_unique<admin::Admin>(loop, options, status, publish, log);
}

clients::ClientLimits ClientLimitsOf(const config::Limits& limits) {
  const std::size_t descriptors = DescriptorLimit();
  const std::size_t most =
      limits.clients != 0 ? limits.clients : std::max(descriptors, 2 * kReservedDescriptors) - kReservedDescriptors;
  clients::ClientLimits options;
  options.json_depth = limits.json_depth;
  options.instance_bytes = limits.instance_bytes;
  options.subscriptions = limits.client_subscriptions;
  options.subscription_bytes = limits.client_subscription_bytes;
  options.commands = {limits.command_bytes, limits.command_fragments};
  options.command_time = limits.command_time;
  options.stalled_bytes = limits.client_stalled_bytes;
  options.stalled_time = limits.client_stalled_time;
  options.unsent_bytes = limits.client_unsent_bytes;
  options.ping_interval = limits.client_ping_interval;
  options.http = HttpLimitsOf(limits, most);
  options.http.per_address = limits.connections_per_address;
  return options;
}

bool Has(const config::Settings& settings, config::ServerType type) {
  return std::any_of(settings.servers.begin(), settings.servers.end(),
                     [&](const config::Server& server) { return server.type == type; });
}

}  // namespace

Node::Node(net::Loop& loop, const config::Settings& settings, Log& log, Role& role, admin::PublishHandler* publish)
    : loop_(loop),
      settings_(settings),
      log_(log),
      role_(role),
      id_(RandomId()),
      started_(Now()),
      certificates_(loop, log),
      history_({settings.limits.history_time, settings.limits.history_bytes, 64}),
      instances_(settings.limits.instances),
      tree_(settings.limits.instances),
      admin_(MakeAdmin(loop, settings, *this, publish, log)),
      tick_(loop, [this] { Tick(); }),
      drain_check_(loop, [this] { CheckDrained(); }) {
  history_.SetObserver(this);
  tree_.SetOwn({id_, settings.name, APHLICT_RELAY_VERSION, settings.public_url, "", {}, {}});
  if (Has(settings, config::ServerType::kRepeater)) {
    feed::Downstreams::Options options;
    options.node = id_;
    options.name = settings.name;
    options.version = APHLICT_RELAY_VERSION;
    options.most = settings.limits.repeaters;
    options.secrets = settings.secrets;
    options.http = HttpLimitsOf(settings.limits, settings.limits.repeaters + 64);
    downstreams_ = std::make_unique<feed::Downstreams>(loop, options, history_, tree_, log);
    // At the turn's end rather than at once: many repeaters may come or go in one turn.
    downstreams_->SetOnAhead([this](const history::Epoch& epoch) { role_.OnAhead(epoch); });
    downstreams_->SetOnImportantChange([this] { report_now_ = true; });
  }
  if (Has(settings, config::ServerType::kClient)) {
    clients_ = std::make_unique<clients::Clients>(loop, ClientLimitsOf(settings.limits), history_, instances_, log);
  }
  loop.SetTurnEnd([this] { EndTurn(); });
}

Node::~Node() { loop_.SetTurnEnd(nullptr); }

Result<void> Node::TakePorts() {
  if (auto loaded = certificates_.Load(settings_); !loaded) return Error{loaded.error().text, EX_CONFIG};
  for (const config::Server& server : settings_.servers) {
    if (auto bound = Bind(server); !bound) return bound;
  }
  return {};
}

Result<void> Node::Open() {
  if (auto prepared = role_.Prepare(); !prepared) return prepared;
  if (auto listening = admin_->Listen(); !listening) return listening;
  LogListening(config::ServerType::kAdmin);
  if (downstreams_) {
    if (auto listening = downstreams_->Listen(); !listening) return listening;
    LogListening(config::ServerType::kRepeater);
  }
  resources_.emplace(loop_.streams());
  tick_.Start(kTickInterval, kTickInterval);
  return role_.Start();
}

Result<void> Node::Bind(const config::Server& server) {
  auto addresses = net::ResolveNow(server.host, server.port);
  if (!addresses) return Error{server.where + ": " + addresses.error().text, 78};
  const net::Address& address = addresses->front();
  server::PortOptions options;
  options.reuse_port = server.type == config::ServerType::kClient && settings_.reuse_port;
  options.tls = server.tls.empty() ? nullptr : certificates_.ForServer(server.tls);
  options.proxies = server.proxies;
  Result<net::Address> bound = net::Address();
  switch (server.type) {
    case config::ServerType::kAdmin:
      if (!address.is_loopback() && !net::Address::Parse(server.host, 0)) {
        const std::string notice = config::OpenAdminNotice(address.host(), server.access);
        if (!notice.empty()) log_.Warning("configuration", {{"notice", server.where + ": " + notice}});
      }
      bound = admin_->Bind(address, server.access, options);
      break;
    case config::ServerType::kClient:
      bound = clients_->Bind(address, server.origins, options);
      break;
    case config::ServerType::kRepeater:
      if (config::IsOpenFeed(settings_, server) && !address.is_loopback()) {
        return Error{server.where + ": " + config::OpenFeedProblem(address.ToString()), 78};
      }
      bound = downstreams_->Bind(address, options);
      break;
  }
  if (!bound) return Error{server.where + ": " + bound.error().text, bound.error().code};
  bound_.emplace_back(server.type, bound->ToString());
  return {};
}

void Node::LogListening(config::ServerType type) {
  for (const auto& [each, address] : bound_) {
    if (each == type) log_.Info("listening", {{"type", config::ServerTypeName(type)}, {"address", address}});
  }
}

Result<void> Node::OpenClients() {
  if (!clients_ || clients_->listening()) return {};
  if (auto listening = clients_->Listen(); !listening) return listening;
  LogListening(config::ServerType::kClient);
  return {};
}

bool Node::Accept(history::Message message, bool repeat) {
  history::Instance* instance = instances_.Get(message.instance());
  if (instance == nullptr) return false;
  if (history_.Add(std::move(message), repeat, Now())) {
    ++instance->messages_in;
    ++messages_in_;
  }
  return true;
}

void Node::SetReady(bool ready) {
  ready_ = ready;
  if (clients_) clients_->SetReady(ready_ && !draining_);
}

void Node::BeginDrain(std::function<void()> drained) {
  drained_ = std::move(drained);
  drain_check_.Start(Duration::zero(), kDrainCheckInterval);
  if (draining_) return;
  draining_ = true;
  drain_until_ = Now() + settings_.drain_time;
  log_.Info("drain_began", {{"clients", clients_ ? clients_->size() : 0},
                            {"repeaters", downstreams_ ? downstreams_->size() : 0},
                            {"seconds", settings_.drain_time.count()}});
  SetReady(ready_);
  admin_->RefusePublishes(true);
  if (downstreams_) downstreams_->AskToMove();
  if (clients_) clients_->BeginDrain(settings_.drain_time);
}

Result<void> Node::EndDrain() {
  draining_ = false;
  drain_check_.Stop();
  admin_->RefusePublishes(false);
  SetReady(ready_);
  log_.Info("drain_ended");
  if (!clients_) return {};
  if (auto listening = clients_->EndDrain(); !listening) return listening;
  LogListening(config::ServerType::kClient);
  return {};
}

void Node::CheckDrained() {
  if (clients_ && clients_->size() > 0) return;
  const bool waits_for_others = (clients_ && clients_->arriving() > 0) || (downstreams_ && !downstreams_->flushed());
  if (waits_for_others && Now() < drain_until_ + kLastTime) return;
  drain_check_.Stop();
  log_.Info("drained");
  if (drained_) std::exchange(drained_, nullptr)();
}

void Node::SetAbove(std::vector<std::string> direct, std::vector<std::string> all) {
  tree_.UpdateOwnAbove(std::move(direct));
  if (downstreams_) downstreams_->SetAbove(std::move(all));
}

void Node::Stop() {
  EndTurn();
  tick_.Stop();
  drain_check_.Stop();
  admin_->Shutdown();
  if (downstreams_) downstreams_->Shutdown(websocket::kGoingAway, "the node stops");
  if (clients_) clients_->Shutdown(websocket::kGoingAway, "the server stops");
  role_.Stop();
}

void Node::RefreshTree() const {
  for (const history::Instance* instance : instances_.TakeChanged()) {
    tree_.UpdateOwn(instance->name, {instance->clients_active, instance->clients_total, instance->messages_out});
  }
  tree_.UpdateOwnCursor(history_.cursor());
  tree_.UpdateOwnFigures(admin::WriteFigures(Look()));
}

std::string Node::StatusOf(std::string_view instance) const {
  RefreshTree();
  return admin::WriteStatus(Look(), instance);
}

std::string Node::MetricsAs(admin::MetricsFormat format) const {
  RefreshTree();
  return admin::WriteMetrics(Look(), resources_->Look(loop_.streams()), format);
}

admin::State Node::state() const {
  if (draining_) return admin::State::kDraining;
  if (!ready_) return admin::State::kSynchronising;
  if (clients_ && !clients_->listening()) return admin::State::kNotListening;
  return admin::State::kReady;
}

admin::Snapshot Node::Look() const {
  std::vector<admin::PortStatus> ports = {{"admin", admin_->connections(), admin_->http_counters()}};
  if (clients_) ports.push_back({"client", clients_->connections(), clients_->http_counters()});
  if (downstreams_) ports.push_back({"repeater", downstreams_->connections(), downstreams_->http_counters()});
  std::vector<std::string> instances;
  for (const config::UpstreamGroup& group : settings_.upstream) {
    instances.insert(instances.end(), group.instances.begin(), group.instances.end());
  }
  std::sort(instances.begin(), instances.end());
  instances.erase(std::unique(instances.begin(), instances.end()), instances.end());
  return {role_.name(),
          state(),
          started_,
          Now(),
          history_,
          instances_,
          tree_,
          loop_,
          std::move(ports),
          admin_->publishes(),
          role_.upstreams(),
          clients_.get(),
          downstreams_.get(),
          messages_in_,
          role_.gaps(),
          role_.repeats(),
          std::move(instances)};
}

void Node::OnEnter(const history::Message& message) {
  history::Instance* instance = instances_.Get(message.instance());
  if (instance == nullptr) return;
  const std::uint64_t position = history_.end();
  if (instance->history_messages++ == 0) {
    instance->oldest_at = position;
  } else {
    history_.Link(instance->newest_at, position);
  }
  instance->newest_at = position;
}

void Node::OnLeave(const history::Message& message) {
  history::Instance* instance = instances_.Get(message.instance());
  if (instance == nullptr) return;
  --instance->history_messages;
  instance->oldest_at = history_.at(history_.begin()).next;
}

void Node::EndTurn() {
  do {
    role_.Commit();
    // Repeaters first: a whole fan-out of theirs waits for it.
    if (downstreams_) downstreams_->Pump();
    if (clients_) clients_->Pump();
  } while (role_.Answer());
  history_.Trim();
  if (std::exchange(report_now_, false)) role_.Report();
  log_.Flush();
}

void Node::Tick() {
  history_.Expire(Now(), role_.own_epoch(), role_.heard());
  // A node that is further down says so in its status.
  const std::string own_epoch = role_.own_epoch();
  if (const history::EpochState* state = history_.Find(own_epoch)) {
    const auto& nodes = tree_.nodes();
    if (std::any_of(nodes.begin(), nodes.end(), [&](const auto& each) {
          const auto known = each.second.info.cursor.find(own_epoch);
          return known != each.second.info.cursor.end() && known->second > state->newest;
        })) {
      role_.OnAhead(own_epoch);
    }
  }
  RefreshTree();
  role_.Report();
}

}  // namespace aphlict::node
