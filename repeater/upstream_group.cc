#include "repeater/upstream_group.h"

#include <algorithm>
#include <utility>

#include "common/base/backoff.h"

namespace aphlict::repeater {

namespace {

constexpr Duration kMaxDelay = seconds(2);
// Where all that can be followed refuse this node: that ends when somebody changes a configuration.
constexpr Duration kMaxRefusedDelay = seconds(30);

// A node that is level hears so once an interval; what a busy machine adds to it is no lag.
constexpr Duration kLevelTime = feed::kHeartbeatInterval + milliseconds(500);

}  // namespace

UpstreamGroup::UpstreamGroup(net::Loop& loop, const config::UpstreamGroup& settings,
                             std::shared_ptr<const Secrets> secrets, std::string node_id, Log& log,
                             FollowHandler& handler)
    : loop_(loop),
      settings_(settings),
      secrets_(std::move(secrets)),
      node_id_(std::move(node_id)),
      log_(log),
      handler_(handler),
      random_(RandomSeed()),
      resolver_(loop),
      retry_(loop, [this] { Next(); }),
      level_at_(Now()) {}

UpstreamGroup::~UpstreamGroup() = default;

void UpstreamGroup::Start(std::shared_ptr<const net::TlsContext> tls) {
  tls_ = std::move(tls);
  Schedule();
}

void UpstreamGroup::Change(const config::UpstreamGroup& settings, std::shared_ptr<const Secrets> secrets,
                           std::shared_ptr<const net::TlsContext> tls) {
  const bool same_instances = settings.instances == settings_.instances;
  const bool same = settings == settings_ && SameSecrets(secrets, secrets_);
  settings_ = settings;
  secrets_ = std::move(secrets);
  tls_ = std::move(tls);
  if (connected_) {
    const bool listed = std::find(settings_.urls.begin(), settings_.urls.end(), url_) != settings_.urls.end();
    if (listed && same_instances) return;
    const std::string reason = listed ? "other instances are to be followed" : "its URL is no longer configured";
    return Move(reason);
  }
  if (same && !retry_.active()) return;  // an attempt is under way
  resolver_.Cancel();
  if (connection_) {
    connection_->Close(websocket::kGoingAway, "the configuration has changed");
    loop_.DeleteLater(std::shared_ptr<feed::UpstreamConnection>(std::move(connection_)));
  }
  urls_.clear();
  addresses_.clear();
  failures_ = 0;
  refusals_ = 0;
  Schedule();
}

void UpstreamGroup::Stop(std::string_view reason) {
  stopped_ = true;
  retry_.Stop();
  resolver_.Cancel();
  if (connection_) {
    connection_->Close(websocket::kGoingAway, reason);
    connection_.reset();
  }
  connected_ = synchronised_ = false;
}

void UpstreamGroup::Report(const feed::Tree& tree) {
  if (!connected_) return;
  for (const std::string& report : tree.EncodeReport(connection_->report_mark())) connection_->SendStatus(report);
}

admin::UpstreamStatus UpstreamGroup::status(const history::History& history) const {
  admin::UpstreamStatus status{url_.scheme + "://" + url_.authority(), connected_, synchronised_, upstream_node(),
                               connected_ ? name_ : ""};
  status.connects = connects_;
  status.failures = failures_in_all_;
  for (const auto& [epoch, newest] : newest_above_) {
    const history::EpochState* state = history.Find(epoch);
    const history::Sequence own = state == nullptr ? 0 : state->newest;
    if (newest > own) status.lag_messages += newest - own;
  }
  const Duration lag = Now() - level_at_;
  if (!synchronised_ || lag > kLevelTime) status.lag = lag;
  return status;
}

void UpstreamGroup::Schedule() {
  if (stopped_) return;
  const Duration most = refusals_ >= settings_.urls.size() ? kMaxRefusedDelay : kMaxDelay;
  retry_.Start(BackoffDelay(failures_, most, random_));
}

// Tries the next address of a URL, the next URL, or begins a new round of all.
void UpstreamGroup::Next() {
  if (!addresses_.empty()) return TryAddress();
  if (urls_.empty()) {
    urls_ = settings_.urls;
    std::shuffle(urls_.begin(), urls_.end(), random_);
    // What was just lost comes last: from the back of the list the next is taken.
    std::stable_partition(urls_.begin(), urls_.end(),
                          [&](const http::Url& url) { return url.authority() == last_failed_; });
  }
  TryUrl();
}

void UpstreamGroup::TryUrl() {
  url_ = urls_.back();
  urls_.pop_back();
  resolver_.Resolve(url_.host, url_.port, [this](Result<std::vector<net::Address>> resolved) {
    if (!resolved) return Ended(resolved.error().text);
    addresses_ = std::move(*resolved);
    several_addresses_ = addresses_.size() > 1;
    std::shuffle(addresses_.begin(), addresses_.end(), random_);
    TryAddress();
  });
}

void UpstreamGroup::TryAddress() {
  address_ = addresses_.back();
  addresses_.pop_back();
  connection_ = std::make_unique<feed::UpstreamConnection>(loop_, url_, address_, tls_.get(), secrets_,
                                                           static_cast<feed::UpstreamHandler&>(*this));
}

void UpstreamGroup::OnWelcome(const feed::Welcome& welcome) {
  if (IsLoop(welcome.node, welcome.above)) return Leave("this node is above itself there");
  node_ = welcome.node;
  name_ = welcome.name;
  above_ = welcome.above;
  connected_ = true;
  ++connects_;
  for (const auto& [epoch, range] : welcome.epochs) newest_above_[epoch] = range.newest;
  log_.Info("upstream_connected", {{"url", url_.scheme + "://" + url_.authority()},
                                   {"address", address_.ToString()},
                                   {"id", node_},
                                   {"name", name_},
                                   {"version", welcome.version}});
  handler_.OnEpochs(*this, welcome);
  handler_.OnStateChange();
}

void UpstreamGroup::OnHeartbeat(const feed::Heartbeat& heartbeat) {
  if (!connected_) return;
  handler_.OnHeartbeat(heartbeat);
  last_heartbeat_ = Now();
  if (!heartbeat.live) return;
  level_at_ = last_heartbeat_;
  if (synchronised_) return;
  newest_above_.clear();
  synchronised_ = ever_synchronised_ = true;
  failures_ = 0;
  log_.Info("synchronised", {{"url", url_.scheme + "://" + url_.authority()}, {"id", node_}});
  handler_.OnStateChange();
}

void UpstreamGroup::OnAbove(const std::vector<std::string>& nodes) {
  if (!connected_) return;
  if (IsLoop(node_, nodes)) return Leave("this node has come to be above itself there");
  above_ = nodes;
  handler_.OnStateChange();
}

// What it has sent is kept; from another upstream, the feed goes on at exactly the next message.
void UpstreamGroup::OnDrain() {
  if (!connected_ || !has_alternative()) return;
  Move("the node above is about to stop");
}

void UpstreamGroup::OnLost(const std::string& reason) { Ended(reason); }

void UpstreamGroup::OnRefused(int status, const std::string& reason) {
  loop_.DeleteLater(std::shared_ptr<feed::UpstreamConnection>(std::move(connection_)));
  log_.Error("upstream_refused", {{"url", url_.scheme + "://" + url_.authority()},
                                  {"address", address_.ToString()},
                                  {"status", status},
                                  {"reason", reason}});
  ++failures_;
  ++failures_in_all_;
  ++refusals_;
  Schedule();
}

bool UpstreamGroup::IsLoop(const std::string& node, const std::vector<std::string>& above) const {
  return node == node_id_ || std::find(above.begin(), above.end(), node_id_) != above.end();
}

void UpstreamGroup::Leave(std::string_view reason) {
  log_.Warning("loop", {{"url", url_.scheme + "://" + url_.authority()}, {"reason", reason}});
  connection_->Close(websocket::kPolicyViolation, "loop");
  Ended(std::string(reason));
}

void UpstreamGroup::Move(const std::string& reason) {
  connection_->Close(websocket::kGoingAway, reason);
  Ended(reason, false);
}

void UpstreamGroup::Ended(const std::string& reason, bool failed) {
  if (connection_) loop_.DeleteLater(std::shared_ptr<feed::UpstreamConnection>(std::move(connection_)));
  const bool was_synchronised = synchronised_;
  const bool was_connected = std::exchange(connected_, false);
  synchronised_ = false;
  newest_above_.clear();
  failures_in_all_ += failed;
  above_.clear();
  if (was_connected) {
    addresses_.clear();
    urls_.clear();
    last_failed_ = url_.authority();
  }
  log_.Write(failed ? LogLevel::kWarning : LogLevel::kInfo, was_connected ? "upstream_lost" : "upstream_failed",
             {{"url", url_.scheme + "://" + url_.authority()}, {"address", address_.ToString()}, {"reason", reason}});
  if (!was_synchronised) ++failures_;
  refusals_ = 0;
  if (was_connected) handler_.OnStateChange();
  Schedule();
}

}  // namespace aphlict::repeater
