#include "common/node/node.h"

#include <sys/resource.h>
#include <sysexits.h>

#include <algorithm>
#include <utility>

#include "common/admin/metrics.h"
#include "common/admin/status.h"
#include "common/config/changes.h"
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
  http.unfinished_bytes = limits.unfinished_bytes;
  http.head_time = limits.head_time;
  http.connections = connections;
  return http;
}

history::History::Limits HistoryLimitsOf(const config::Limits& limits) {
  history::History::Limits history;
  history.age = limits.history_time;
  history.bytes = limits.history_bytes;
  return history;
}

admin::Admin::Options AdminOptionsOf(const config::Settings& settings) {
  const config::Limits& limits = settings.limits;
  admin::Admin::Options options;
  options.instance_bytes = limits.instance_bytes;
  options.secrets = settings.admin_secrets;
  options.http = HttpLimitsOf(limits, kAdminConnections);
  options.http.parser.body_bytes = limits.publish_bytes;
  return options;
}

feed::Downstreams::Options DownstreamOptionsOf(const config::Settings& settings, const std::string& node) {
  feed::Downstreams::Options options;
  options.node = node;
  options.name = settings.name;
  options.version = APHLICT_RELAY_VERSION;
  options.most = settings.limits.repeaters;
  options.secrets = settings.secrets;
  options.http = HttpLimitsOf(settings.limits, settings.limits.repeaters + 64);
  return options;
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
  options.commands = {limits.command_bytes, limits.command_fragments, limits.unfinished_bytes};
  options.command_time = limits.command_time;
  options.stalled_bytes = limits.client_stalled_bytes;
  options.stalled_time = limits.client_stalled_time;
  options.unsent_bytes = limits.client_unsent_bytes;
  options.ping_interval = limits.client_ping_interval;
  options.http = HttpLimitsOf(limits, most);
  options.http.per_address = limits.connections_per_address;
  return options;
}

std::string Counted(std::uint64_t count, const std::string& what) {
  return std::to_string(count) + " " + what + (count == 1 ? "" : "s");
}

// Those that upstream groups ask for, each once.
std::vector<std::string> InstancesOf(const config::Settings& settings) {
  std::vector<std::string> instances;
  for (const config::UpstreamGroup& group : settings.upstream) {
    instances.insert(instances.end(), group.instances.begin(), group.instances.end());
  }
  std::sort(instances.begin(), instances.end());
  instances.erase(std::unique(instances.begin(), instances.end()), instances.end());
  return instances;
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
      history_(HistoryLimitsOf(settings.limits)),
      instances_(settings.limits.instances),
      tree_(settings.limits.instances),
      admin_(std::make_unique<admin::Admin>(loop, AdminOptionsOf(settings), static_cast<admin::StatusSource&>(*this),
                                            publish, log)),
      tick_(loop, [this] { Tick(); }),
      drain_check_(loop, [this] { CheckDrained(); }) {
  history_.SetObserver(this);
  tree_.SetOwn({id_, settings.name, APHLICT_RELAY_VERSION, settings.public_url, "", {}, {}});
  configured_instances_ = InstancesOf(settings_);
  MakeServers(settings_);
  loop.SetTurnEnd([this] { EndTurn(); });
}

Node::~Node() { loop_.SetTurnEnd(nullptr); }

void Node::MakeServers(const config::Settings& settings) {
  if (!downstreams_ && Has(settings, config::ServerType::kRepeater)) {
    downstreams_ =
        std::make_unique<feed::Downstreams>(loop_, DownstreamOptionsOf(settings, id_), history_, tree_, log_);
    // At the turn's end rather than at once: many repeaters may come or go in one turn.
    downstreams_->SetOnAhead([this](const history::Epoch& epoch) { role_.OnAhead(epoch); });
    downstreams_->SetOnImportantChange([this] { report_now_ = true; });
    downstreams_->SetAbove(above_);
  }
  if (!clients_ && Has(settings, config::ServerType::kClient)) {
    clients_ = std::make_unique<clients::Clients>(loop_, ClientLimitsOf(settings.limits), history_, instances_, log_);
    SetReady(ready_);
  }
}

server::HttpServer& Node::HttpOf(config::ServerType type) {
  switch (type) {
    case config::ServerType::kClient:
      return clients_->http();
    case config::ServerType::kRepeater:
      return downstreams_->http();
    case config::ServerType::kAdmin:
      break;
  }
  return admin_->http();
}

Result<void> Node::TakePorts() {
  if (settings_.secrets) tickets_.UseSecret(settings_.secrets->RevealFirst());
  certificates_ = std::make_unique<Certificates>(loop_, log_, tickets_);
  if (auto loaded = certificates_->Load(settings_); !loaded) return Error{loaded.error().text, EX_CONFIG};
  return BindNew(settings_, *certificates_, &listeners_);
}

Result<void> Node::Open() {
  if (auto prepared = role_.Prepare(); !prepared) return prepared;
  if (auto listening = Listen(config::ServerType::kAdmin); !listening) return listening;
  if (downstreams_) {
    if (auto listening = Listen(config::ServerType::kRepeater); !listening) return listening;
  }
  serving_ = true;
  resources_.emplace(loop_.streams());
  tick_.Start(kTickInterval, kTickInterval);
  return role_.Start();
}

Result<Node::Listener> Node::Bind(const config::Settings& settings, const config::Server& server,
                                  const Certificates& certificates) {
  const auto failed = [&](const Error& error) { return Error{server.where + ": " + error.text, error.code}; };
  auto addresses = net::ResolveNow(server.host, server.port);
  if (!addresses) return failed({addresses.error().text, EX_CONFIG});
  const net::Address& address = addresses->front();
  if (auto allowed = CheckAccess(settings, server, address); !allowed) return allowed.error();
  server::PortOptions options;
  options.reuse_port = server.type == config::ServerType::kClient && settings.reuse_port;
  const auto bound = HttpOf(server.type).Bind(address, options);
  if (!bound) return failed(bound.error());
  Listener listener{server, HttpOf(server.type).ports() - 1, *bound};
  SetUp(listener, certificates);
  return listener;
}

Result<void> Node::CheckAccess(const config::Settings& settings, const config::Server& server,
                               const net::Address& address) {
  if (address.is_loopback()) return {};
  if (config::IsOpenFeed(settings, server)) {
    return Error{server.where + ": " + config::OpenFeedProblem(address.ToString()), EX_CONFIG};
  }
  if (server.type == config::ServerType::kAdmin && !net::Address::Parse(server.host, 0)) {
    const std::string notice = config::OpenAdminNotice(address.host(), server.access);
    if (!notice.empty()) log_.Warning("configuration", {{"notice", server.where + ": " + notice}});
  }
  return {};
}

Result<void> Node::BindNew(const config::Settings& settings, const Certificates& certificates,
                           std::vector<Listener>* listeners) {
  const auto places = config::MatchServers(ServersOf(*listeners), settings.servers);
  for (std::size_t i = 0; i < places.size(); ++i) {
    if (places[i]) continue;
    const config::Server& server = settings.servers[i];
    auto listener = Bind(settings, server, certificates);
    if (!listener) return listener.error();
    listeners->push_back(std::move(*listener));
    if (!ShouldListen(server.type)) continue;
    if (auto listening = HttpOf(server.type).Listen(); !listening) {
      return Error{server.where + ": " + listening.error().text, listening.error().code};
    }
  }
  return {};
}

void Node::SetUp(const Listener& listener, const Certificates& certificates) {
  const config::Server& server = listener.server;
  server::PortOptions options;
  options.tls = server.tls.empty() ? nullptr : certificates.ForServer(server.tls);
  options.proxies = server.proxies;
  HttpOf(server.type).SetOptions(listener.port, std::move(options));
  if (server.type == config::ServerType::kAdmin) admin_->SetAccess(listener.port, server.access);
  if (server.type == config::ServerType::kClient) clients_->SetOrigins(listener.port, server.origins);
}

std::vector<config::Server> Node::ServersOf(const std::vector<Listener>& listeners) {
  std::vector<config::Server> servers;
  for (const Listener& listener : listeners) servers.push_back(listener.server);
  return servers;
}

bool Node::ShouldListen(config::ServerType type) const {
  return type == config::ServerType::kClient ? opened_ && !draining_ : serving_;
}

Result<void> Node::Listen(config::ServerType type) {
  if (auto listening = HttpOf(type).Listen(); !listening) return listening;
  for (const Listener& listener : listeners_) {
    if (listener.server.type == type) LogListening("listening", listener);
  }
  return {};
}

void Node::LogListening(std::string_view event, const Listener& listener) {
  log_.Info(event, {{"type", config::ServerTypeName(listener.server.type)}, {"address", listener.address.ToString()}});
}

Result<void> Node::OpenClients() {
  if (clients_ && !draining_ && !clients_->http().listening()) {
    if (auto listening = Listen(config::ServerType::kClient); !listening) return listening;
  }
  if (!std::exchange(opened_, true) && on_opened_) on_opened_();
  return {};
}

Result<void> Node::Apply(const config::Settings& next) {
  const auto places = config::MatchServers(ServersOf(listeners_), next.servers);
  for (std::size_t i = 0; i < places.size(); ++i) {
    if (!places[i]) continue;  // BindNew() looks at those
    if (auto allowed = CheckAccess(next, next.servers[i], listeners_[*places[i]].address); !allowed) return allowed;
  }
  // What can fail, all of which can be taken back.
  auto certificates = std::make_unique<Certificates>(loop_, log_, tickets_);
  if (auto loaded = certificates->Load(next); !loaded) return Error{loaded.error().text, EX_CONFIG};
  const bool had_downstreams = downstreams_ != nullptr;
  const bool had_clients = clients_ != nullptr;
  MakeServers(next);
  std::vector<Listener> all = listeners_;
  auto taken = BindNew(next, *certificates, &all);
  if (taken) taken = log_.SetPaths(next.log_paths);
  if (!taken) {
    for (; all.size() > listeners_.size(); all.pop_back()) HttpOf(all.back().server.type).Unbind();
    if (!had_downstreams) downstreams_.reset();
    if (!had_clients) clients_.reset();
    return taken;
  }

  const config::Settings before = std::exchange(settings_, next);
  settings_.name = before.name;  // whatever the host is called by now
  configured_instances_ = InstancesOf(settings_);
  log_.set_level(next.log_level);
  if (!SameSecrets(before.secrets, next.secrets)) {
    if (next.secrets) {
      tickets_.UseSecret(next.secrets->RevealFirst());
    } else {
      tickets_.UseRandom();
    }
  }
  TakeListeners(std::move(all), *certificates);
  certificates_ = std::move(certificates);
  certificates_->LogLoaded();
  TakeLimits();
  if (before.public_url != next.public_url) {
    feed::NodeInfo own = tree_.own();
    own.url = next.public_url;
    tree_.SetOwn(own);
    tree_.UpdateOwnAbove(own.above);  // counts as a change
  }
  role_.OnSettings();
  return {};
}

// Keeps those of `all` that the settings have. The last of them are new.
void Node::TakeListeners(std::vector<Listener> all, const Certificates& certificates) {
  const std::size_t known = std::exchange(listeners_, {}).size();
  std::vector<bool> wanted(all.size());
  const auto places = config::MatchServers(ServersOf(all), settings_.servers);
  for (std::size_t i = 0; i < places.size(); ++i) {
    Listener& listener = all[*places[i]];
    wanted[*places[i]] = true;
    listener.server = settings_.servers[i];
    SetUp(listener, certificates);
  }
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (!wanted[i]) {
      HttpOf(all[i].server.type).ClosePort(all[i].port);
      LogListening("listening_ended", all[i]);
      continue;
    }
    if (i >= known && ShouldListen(all[i].server.type)) LogListening("listening", all[i]);
    listeners_.push_back(std::move(all[i]));
  }
}

void Node::TakeLimits() {
  history_.SetLimits(HistoryLimitsOf(settings_.limits));
  instances_.SetMost(settings_.limits.instances);
  tree_.SetMostInstances(settings_.limits.instances);
  admin_->SetOptions(AdminOptionsOf(settings_));
  if (downstreams_) downstreams_->SetOptions(DownstreamOptionsOf(settings_, id_));
  if (clients_) clients_->SetLimits(ClientLimitsOf(settings_.limits));
}

bool Node::Accept(history::Message message, bool repeat) {
  history::Instance* instance = instances_.Get(message.instance());
  if (instance == nullptr) return false;
  if (history_.Add(std::move(message), repeat, loop_.turn_began())) {
    ++instance->messages_in;
    ++messages_in_;
  }
  return true;
}

void Node::AcceptAgain(history::Message message) { history_.Add(std::move(message), true, loop_.turn_began()); }

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

void Node::EndDrain() {
  draining_ = false;
  drain_check_.Stop();
  admin_->RefusePublishes(false);
  SetReady(ready_);
  log_.Info("drain_ended");
  if (!clients_) return;
  clients_->EndDrain();
  ListenForClientsAgain();
}

void Node::ListenForClientsAgain() {
  if (!clients_ || !ShouldListen(config::ServerType::kClient) || clients_->http().listening()) return;
  const auto listening = Listen(config::ServerType::kClient);
  std::string problem = listening ? "" : listening.error().text;
  if (!listening && problem != client_port_problem_) log_.Error("client_port_failed", {{"reason", problem}});
  client_port_problem_ = std::move(problem);
}

void Node::CheckDrained() {
  if (clients_ && clients_->size() > 0) return;
  const bool waits_for_others =
      (clients_ && clients_->arriving() > 0) || (downstreams_ && !downstreams_->flushed()) || !role_.flushed();
  if (waits_for_others && Now() < drain_until_ + kLastTime) return;
  drain_check_.Stop();
  log_.Info("drained");
  if (drained_) std::exchange(drained_, nullptr)();
}

void Node::SetAbove(std::vector<std::string> direct, std::vector<std::string> all) {
  tree_.UpdateOwnAbove(std::move(direct));
  above_ = std::move(all);
  if (downstreams_) downstreams_->SetAbove(above_);
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

std::string Node::Summary() const {
  RefreshTree();
  const std::size_t own = clients_ ? clients_->size() : 0;
  std::string text = (draining_ ? "draining; " : "") + Counted(own, "client");
  if (const auto& nodes = tree_.nodes(); !nodes.empty()) {
    std::uint64_t behind = 0;
    for (const auto& [id, node] : nodes) behind = std::max(behind, admin::LagOf(history_, node));
    text += "; below, " + Counted(nodes.size(), "repeater") + " with " + Counted(tree_.TotalClients() - own, "client") +
            ", " + (behind == 0 ? "none behind" : "up to " + Counted(behind, "message") + " behind");
  }
  const auto upstreams = role_.upstreams();
  const auto cut_off = static_cast<std::size_t>(
      std::count_if(upstreams.begin(), upstreams.end(), [](const auto& each) { return !each.synchronised; }));
  for (const admin::UpstreamStatus& upstream : upstreams) {
    if (!upstream.synchronised) continue;
    text += "; follows " + upstream.url;
    if (upstream.lag > Duration::zero()) {
      text += ", not level for " + std::to_string(std::chrono::ceil<seconds>(upstream.lag).count()) + " s";
    }
  }
  if (cut_off > 0) {
    text += "; cut off from " + std::to_string(cut_off) + " of " + Counted(upstreams.size(), "upstream");
    const Time heard = role_.heard();
    if (heard != Time()) {
      text += ", for " + std::to_string(std::chrono::floor<seconds>(Now() - heard).count()) + " s";
    }
  }
  return text;
}

std::string Node::MetricsAs(admin::MetricsFormat format) const {
  RefreshTree();
  return admin::WriteMetrics(Look(), resources_->Look(loop_.streams()), format);
}

admin::State Node::state() const {
  if (draining_) return admin::State::kDraining;
  if (!ready_) return admin::State::kSynchronising;
  if (clients_ && !clients_->http().listening()) return admin::State::kNotListening;
  return admin::State::kReady;
}

admin::Snapshot Node::Look() const {
  std::vector<admin::PortStatus> ports;
  const auto add = [&](std::string_view type, const server::HttpServer& http) {
    ports.push_back({type, http.connections(), http.counters()});
  };
  add("admin", admin_->http());
  if (clients_) add("client", clients_->http());
  if (downstreams_) add("repeater", downstreams_->http());
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
          role_.peers(),
          clients_.get(),
          downstreams_.get(),
          messages_in_,
          role_.gaps(),
          role_.repeats(),
          configured_instances_};
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
  if (!history_.Trim()) loop_.TurnAgain();
  if (std::exchange(report_now_, false)) role_.Report();
  log_.Flush();
}

void Node::Tick() {
  role_.OnTick();
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
  ListenForClientsAgain();
  role_.Report();
}

}  // namespace aphlict::node
