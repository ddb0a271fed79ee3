#include "repeater/repeater.h"

#include <algorithm>
#include <utility>

namespace aphlict::repeater {

namespace {

constexpr Duration kOpenAnyway = seconds(5);

}  // namespace

Repeater::Repeater(net::Loop& loop, const config::Settings& settings, Log& log)
    : loop_(loop),
      log_(log),
      node_(loop, settings, log, *this, nullptr),
      open_anyway_(loop, [this] { OpenClients(); }) {
  for (const config::UpstreamGroup& group : settings.upstream) groups_.push_back(MakeGroup(group));
  node_.SetReady(false);
}

std::unique_ptr<UpstreamGroup> Repeater::MakeGroup(const config::UpstreamGroup& settings) {
  return std::make_unique<UpstreamGroup>(loop_, settings, node_.settings().secrets, node_.id(), log_,
                                         static_cast<FollowHandler&>(*this));
}

// A group that has changed is the one that has a URL in common with what it was: it leads to the same master.
void Repeater::OnSettings() {
  const config::Settings& settings = node_.settings();
  std::vector<std::unique_ptr<UpstreamGroup>> groups(settings.upstream.size());
  const auto keep = [&](auto is_same) {
    for (std::size_t i = 0; i < groups.size(); ++i) {
      if (groups[i]) continue;
      const auto found = std::find_if(groups_.begin(), groups_.end(), [&](const auto& group) {
        return group && is_same(group->settings(), settings.upstream[i]);
      });
      if (found != groups_.end()) groups[i] = std::move(*found);
    }
  };
  keep([](const config::UpstreamGroup& a, const config::UpstreamGroup& b) { return a == b; });
  keep([](const config::UpstreamGroup& a, const config::UpstreamGroup& b) {
    return std::find_first_of(a.urls.begin(), a.urls.end(), b.urls.begin(), b.urls.end()) != a.urls.end();
  });
  std::vector<bool> is_new;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    is_new.push_back(!groups[i]);
    if (!groups[i]) groups[i] = MakeGroup(settings.upstream[i]);
  }
  groups_.swap(groups);
  for (const auto& group : groups) {
    if (!group) continue;
    log_.Info("upstream_ended",
              {{"url", group->status(node_.history()).url}, {"reason", "it is no longer configured"}});
    group->Stop("it is no longer configured");
  }
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    if (is_new[i]) {
      groups_[i]->Start(node_.certificates().outgoing());
    } else {
      groups_[i]->Change(settings.upstream[i], settings.secrets, node_.certificates().outgoing());
    }
  }
  OnStateChange();
}

Result<void> Repeater::Start() {
  open_anyway_.Start(kOpenAnyway);
  for (auto& group : groups_) group->Start(node_.certificates().outgoing());
  return {};
}

void Repeater::Stop() {
  open_anyway_.Stop();
  for (auto& group : groups_) group->Stop("the repeater stops");
}

void Repeater::OpenClients() {
  open_anyway_.Stop();
  if (auto opened = node_.OpenClients(); !opened) {
    // The port was taken at the start; only another process that shares it can have come between.
    log_.Error("client_port_failed", {{"reason", opened.error().text}});
    open_anyway_.Start(kOpenAnyway);
  }
}

feed::Hello Repeater::MakeHello(const UpstreamGroup& group) {
  feed::Hello hello;
  hello.node = node_.id();
  hello.name = node_.settings().name;
  hello.version = APHLICT_RELAY_VERSION;
  hello.url = node_.settings().public_url;
  hello.resumes = group.ever_synchronised();
  hello.cursor = node_.history().cursor();
  if (!group.settings().instances.empty()) hello.instances = group.settings().instances;
  return hello;
}

// A group that is followed for the first time begins with what the upstream has. One that was followed before has
// missed what an epoch had before that, and is about to be told so.
void Repeater::OnEpochs(const UpstreamGroup& group, const feed::Welcome& welcome) {
  for (const auto& [epoch, range] : welcome.epochs) {
    node_.history().Mention(epoch, group.ever_synchronised() ? 1 : range.floor, Now());
  }
}

void Repeater::OnMessage(history::Message message) {
  // One that this node has dealt with, and gets again by another way, says nothing about its uniqueID.
  const history::EpochState* known = node_.history().Find(message.epoch());
  if (known != nullptr && message.sequence() <= known->newest) return;
  const bool repeat = repeats_.Seen(repeats_.KeyOf(message.instance(), message.unique_id()), Now());
  if (repeat) ++repeats_dropped_;
  if (log_.enabled(LogLevel::kDebug)) {
    log_.Debug("message", {{"epoch", message.epoch()},
                           {"sequence", message.sequence()},
                           {"instance", message.instance()},
                           {"repeat", repeat ? "yes" : "no"}});
  }
  if (!node_.Accept(std::move(message), repeat)) {
    std::int64_t suppressed = 0;
    if (dropped_limiter_.Allow(std::chrono::floor<seconds>(Now().time_since_epoch()).count(), &suppressed)) {
      log_.Error("message_dropped", {{"reason", "too many instances are in use"}, {"suppressed", suppressed}});
    }
  }
}

void Repeater::OnGap(const history::Gap& gap) {
  if (!node_.history().AddGap(gap, Now())) return;
  ++gaps_;
  log_.Error("gap", {{"epoch", gap.epoch}, {"from", gap.from}, {"to", gap.to}});
}

void Repeater::OnHeartbeat(const feed::Heartbeat& heartbeat) {
  for (const auto& [epoch, sequence] : heartbeat.cursor) node_.history().Advance(epoch, sequence, Now());
}

void Repeater::OnStateChange() {
  std::vector<std::string> direct;
  std::vector<std::string> above;
  for (const auto& group : groups_) {
    if (!group->connected()) continue;
    direct.push_back(group->upstream_node());
    above.push_back(group->upstream_node());
    above.insert(above.end(), group->above().begin(), group->above().end());
  }
  std::sort(above.begin(), above.end());
  above.erase(std::unique(above.begin(), above.end()), above.end());
  if (above != above_ || direct != node_.tree().own().above) {
    above_ = above;
    node_.SetAbove(std::move(direct), std::move(above));
  }
  // Losing a master later makes the node neither unready nor unhealthy for the clients that it holds.
  const bool ready =
      std::all_of(groups_.begin(), groups_.end(), [](const auto& group) { return group->ever_synchronised(); });
  if (ready) {
    node_.SetReady(true);
    OpenClients();
  }
  Report();
}

void Repeater::Report() {
  node_.RefreshTree();
  for (auto& group : groups_) group->Report(node_.tree());
}

Time Repeater::heard() const {
  Time heard = Now();
  for (const auto& group : groups_) heard = std::min(heard, group->last_heartbeat());
  return heard;
}

std::vector<admin::UpstreamStatus> Repeater::upstreams() const {
  std::vector<admin::UpstreamStatus> all;
  for (const auto& group : groups_) all.push_back(group->status(node_.history()));
  return all;
}

}  // namespace aphlict::repeater
