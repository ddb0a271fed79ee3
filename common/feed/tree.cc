#include "common/feed/tree.h"

#include <algorithm>
#include <optional>
#include <tuple>
#include <utility>

#include "common/json/writer.h"

namespace aphlict::feed {

namespace {

constexpr std::size_t kMaxNodes = 16'384;
constexpr std::size_t kMaxDeparted = 1024;
constexpr std::size_t kReportBytes = 64 * 1024;  // beyond which a report's next part begins
constexpr int kEvictedAtOnce = 4;                // more than can come at once, so that a lower bound is reached

// Reads the four numbers of an instance in a report: revision, active, total, out.
bool ReadCounts(const json::Value& value, std::uint64_t* revision, Counts* counts) {
  std::uint64_t* const targets[] = {revision, &counts->clients_active, &counts->clients_total, &counts->messages_out};
  if (value.elements().size() != std::size(targets)) return false;
  for (std::size_t i = 0; i < std::size(targets); ++i) {
    const auto number = value.elements()[i].integer();
    if (!number || *number < 0) return false;
    *targets[i] = static_cast<std::uint64_t>(*number);
  }
  return true;
}

}  // namespace

void Tree::SetOwn(NodeInfo info) {
  own_.info = std::move(info);
  own_.changed = ++change_;
}

void Tree::UpdateOwn(std::string_view instance, const Counts& counts) {
  Update(own_, std::string(instance), counts, ++own_.revision);
}

void Tree::UpdateOwnCursor(history::Cursor cursor) {
  if (cursor == own_.info.cursor) return;
  own_.info.cursor = std::move(cursor);
  own_.changed = ++change_;
  ++own_.revision;
}

void Tree::UpdateOwnAbove(std::vector<std::string> above) {
  own_.info.above = std::move(above);
  own_.changed = ++change_;
  ++own_.revision;
}

void Tree::UpdateOwnFigures(std::string_view text) {
  if (text == own_.figures.text) return;
  SetFigures(own_, Figures::Parse(text));
  own_.changed = ++change_;
  ++own_.revision;
}

void Tree::SetFigures(Node& node, Figures figures) {
  figure_totals_ -= node.figures.sums;
  figure_totals_ += figures.sums;
  node.figures = std::move(figures);
}

void Tree::Update(Node& node, const std::string& instance, const Counts& counts, std::uint64_t revision) {
  auto& known = node.instances[instance];
  if (known.changed != 0 && revision <= known.revision) return;  // an older report, by another way
  Counts& total = totals_[instance];
  // Unsigned arithmetic: a difference below zero wraps round, and the sum comes out right.
  total.clients_active += counts.clients_active - known.counts.clients_active;
  total.clients_total += counts.clients_total - known.counts.clients_total;
  total.messages_out += counts.messages_out - known.counts.messages_out;
  total_clients_ += counts.clients_active - known.counts.clients_active;
  node.clients += counts.clients_active - known.counts.clients_active;
  node.by_change.erase(known.changed);
  node.idle.erase(known.changed);
  known.counts = counts;
  known.revision = revision;
  known.changed = node.changed = ++change_;
  node.by_change.emplace(known.changed, instance);
  if (counts.clients_active == 0) node.idle.insert(known.changed);
  // Names that browsers chose must not fill the memory: those without clients make room.
  for (int i = 0; i < kEvictedAtOnce && node.instances.size() > most_instances_ && !node.idle.empty(); ++i) {
    const auto oldest = node.by_change.extract(*node.idle.begin());
    node.idle.erase(node.idle.begin());
    node.instances.erase(oldest.mapped());
    DropTotalUnlessShared(oldest.mapped());
  }
}

// A name that a browser chose, and that nobody counts in any more, goes with its sum.
void Tree::DropTotalUnlessShared(const std::string& instance) {
  const auto counts = [&](const Node& node) { return node.instances.count(instance) != 0; };
  if (counts(own_) ||
      std::any_of(nodes_.begin(), nodes_.end(), [&](const auto& each) { return counts(each.second); })) {
    return;
  }
  totals_.erase(instance);
}

Result<void> Tree::Apply(SourceId source, std::string_view address, const json::Value& report, Time now) {
  for (const json::Value& object : report["nodes"].elements()) {
    if (auto applied = ApplyNode(source, address, object, now); !applied) return applied;
  }
  for (const json::Value& id : report["gone"].elements()) Leave(source, id.string());
  return {};
}

Result<void> Tree::ApplyNode(SourceId source, std::string_view address, const json::Value& object, Time now) {
  const std::string& id = object["id"].string();
  const auto revision = object["revision"].integer();
  if (id.empty() || !revision || *revision < 0) return Error{"a node in a status report without id or revision"};
  if (id == own_.info.id) return {};  // a loop, which is about to be left
  auto found = nodes_.find(id);
  if (found == nodes_.end()) {
    if (nodes_.size() >= kMaxNodes) return Error{"more than 16384 nodes in the tree"};
    if (auto back = departed_.extract(id)) {
      std::erase(departed_order_, id);
      found = nodes_.insert(std::move(back)).position;
    } else {
      found = nodes_.emplace(id, Node{}).first;
    }
    found->second.since = now;
  }
  Node& node = found->second;
  node.sources.insert(source);
  node.changed = ++change_;
  if (const auto number = static_cast<std::uint64_t>(*revision); number >= node.revision) {
    node.revision = number;
    node.info.id = id;
    // What a report leaves out stays as the one before said.
    const auto take = [&object](std::string_view key, std::string* text) {
      if (object[key].is_string()) *text = object[key].string();
    };
    take("name", &node.info.name);
    take("version", &node.info.version);
    take("url", &node.info.url);
    // A node does not know its own address: whoever it is connected to fills it in.
    node.info.address = object["address"].is_string() ? object["address"].string() : std::string(address);
    node.info.above.clear();
    for (const json::Value& above : object["above"].elements()) node.info.above.push_back(above.string());
    node.info.cursor.clear();
    for (const auto& [epoch, sequence] : object["cursor"].members()) {
      node.info.cursor[epoch] =
          static_cast<history::Sequence>(std::max<std::int64_t>(0, sequence.integer().value_or(0)));
    }
    // Where nothing of them fits, those that are known stay: sums do not go down for it.
    if (const json::Value& figures = object["figures"]; figures.is_object()) {
      Figures taken = Figures::Of(figures);
      if (taken.text != Figures().text || figures.members().empty()) SetFigures(node, std::move(taken));
    }
  }
  for (const auto& [instance, value] : object["instances"].members()) {
    Counts counts;
    std::uint64_t instance_revision = 0;
    if (!ReadCounts(value, &instance_revision, &counts))
      return Error{"counts in a status report that are not four numbers"};
    Update(node, instance, counts, instance_revision);
  }
  return {};
}

void Tree::Drop(SourceId source) {
  std::vector<std::string> ids;
  for (const auto& [id, node] : nodes_) {
    if (node.sources.count(source) != 0) ids.push_back(id);
  }
  for (const auto& id : ids) Leave(source, id);
}

void Tree::Leave(SourceId source, const std::string& id) {
  const auto found = nodes_.find(id);
  if (found == nodes_.end()) return;
  Node& node = found->second;
  node.sources.erase(source);
  if (!node.sources.empty()) return;
  for (auto& [instance, known] : node.instances) {
    totals_[instance].clients_active -= known.counts.clients_active;
    total_clients_ -= known.counts.clients_active;
    known.counts.clients_active = 0;
    known.revision = 0;  // whatever it reports when it comes back is news
    node.idle.insert(known.changed);
  }
  node.clients = 0;
  departures_.emplace_back(++change_, id);
  if (departures_.size() > kMaxDeparted) departures_.pop_front();
  departed_order_.push_back(id);
  departed_.insert(nodes_.extract(found));
  if (departed_order_.size() > kMaxDeparted) {
    departed_.erase(departed_order_.front());
    departed_order_.pop_front();
  }
}

std::vector<std::string> Tree::EncodeReport(std::uint64_t* mark) const {
  std::vector<std::string> parts;
  std::optional<json::Writer> out;
  const auto begin = [&] { out.emplace().StartObject().Field("type", "status").Key("nodes").StartArray(); };
  const auto write = [&](const Node& node) {
    if (node.changed <= *mark && *mark != 0) return;
    out->StartObject().Field("id", node.info.id).Field("revision", node.revision);
    out->Field("name", node.info.name).Field("version", node.info.version).Field("url", node.info.url);
    if (!node.info.address.empty()) out->Field("address", node.info.address);
    out->Key("above").StartArray();
    for (const auto& id : node.info.above) out->String(id);
    out->EndArray().Key("cursor").StartObject();
    for (const auto& [epoch, sequence] : node.info.cursor) out->Field(epoch, sequence);
    out->EndObject().Key("figures").Json(node.figures.text).Key("instances").StartObject();
    for (auto each = node.by_change.upper_bound(*mark); each != node.by_change.end(); ++each) {
      const auto& known = node.instances.at(each->second);
      out->Key(each->second).StartArray().Uint(known.revision).Uint(known.counts.clients_active);
      out->Uint(known.counts.clients_total).Uint(known.counts.messages_out).EndArray();
    }
    out->EndObject().EndObject();
  };
  begin();
  write(own_);
  for (const auto& [id, node] : nodes_) {
    if (out->text().size() > kReportBytes) {
      out->EndArray().EndObject();
      parts.emplace_back(out->text());
      begin();
    }
    write(node);
  }
  out->EndArray().Key("gone").StartArray();
  for (const auto& [change, id] : departures_) {
    if (change > *mark && *mark != 0 && nodes_.count(id) == 0) out->String(id);  // else it is back
  }
  out->EndArray().EndObject();
  *mark = change_;
  parts.emplace_back(out->text());
  return parts;
}

Counts Tree::Totals(std::string_view instance) const {
  const auto found = totals_.find(std::string(instance));
  return found == totals_.end() ? Counts{} : found->second;
}

std::unordered_map<std::string_view, std::vector<const Tree::Node*>> Tree::Followers() const {
  std::unordered_map<std::string_view, std::vector<const Node*>> followers;
  for (const auto& [_, node] : nodes_) {
    for (const auto& id : node.info.above) followers[id].push_back(&node);
  }
  for (auto& [_, nodes] : followers) {
    std::sort(nodes.begin(), nodes.end(), [](const Node* a, const Node* b) {
      return std::tie(a->info.name, a->info.id) < std::tie(b->info.name, b->info.id);
    });
  }
  return followers;
}

}  // namespace aphlict::feed
