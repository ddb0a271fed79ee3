#include "common/admin/status.h"

#include <set>
#include <unordered_map>

#include "common/json/writer.h"

namespace aphlict::admin {

namespace {

constexpr int kAphlictStatusVersion = 7;

std::int64_t Milliseconds(Duration duration) { return std::chrono::duration_cast<milliseconds>(duration).count(); }

// When the oldest message of the instance that the history still has was accepted.
const history::Message* OldestOf(const history::History& history, std::string_view instance) {
  for (std::uint64_t position = history.begin(); position < history.end(); ++position) {
    const history::Message* message = history.at(position).message();
    if (message != nullptr && message->instance() == instance) return message;
  }
  return nullptr;
}

// Reasons that have not come up are left out.
void WriteRefused(json::Writer& out, const std::vector<std::pair<std::string_view, server::RefusalCounts>>& ports) {
  out.Key("refused").StartObject();
  for (const auto& [type, counts] : ports) {
    out.Key(type).StartObject();
    for (std::size_t i = 0; i < server::kRefusals; ++i) {
      const auto refusal = static_cast<server::Refusal>(i);
      if (counts.of(refusal) > 0) out.Field(server::RefusalName(refusal), counts.of(refusal));
    }
    out.EndObject();
  }
  out.EndObject();
}

class TreeWriter {
 public:
  TreeWriter(json::Writer& out, const StatusInput& input)
      : out_(out), input_(input), followers_(input.tree.Followers()) {}

  // The nodes right below `id`, each with those below it. A node that follows several is listed below each, with
  // the same id; one that follows in a circle is listed once on each way down.
  void WriteBelow(std::string_view id) {
    out_.Key("repeaters").StartArray();
    const auto below = followers_.find(id);
    for (std::size_t i = 0; below != followers_.end() && i < below->second.size(); ++i) {
      const feed::Tree::Node* node = below->second[i];
      if (!path_.insert(node->info.id).second) continue;
      Write(*node);
      path_.erase(node->info.id);
    }
    out_.EndArray();
  }

 private:
  void Write(const feed::Tree::Node& node) {
    out_.StartObject().Field("id", node.info.id).Field("name", node.info.name);
    out_.Field("address", node.info.address).Field("url", node.info.url).Field("version", node.info.version);
    out_.Field("connected", Milliseconds(input_.now - node.since));
    out_.Field("clients", node.clients).Field("lag", LagOf(node, input_.history));
    WriteBelow(node.info.id);
    out_.EndObject();
  }

  json::Writer& out_;
  const StatusInput& input_;
  std::unordered_map<std::string_view, std::vector<const feed::Tree::Node*>> followers_;
  std::set<std::string> path_;
};

}  // namespace

std::uint64_t LagOf(const feed::Tree::Node& node, const history::History& history) {
  std::uint64_t lag = 0;
  for (const history::EpochState& state : history.epochs()) {
    const auto known = node.info.cursor.find(state.epoch);
    const history::Sequence dealt_with = known == node.info.cursor.end() ? state.base - 1 : known->second;
    if (state.newest > dealt_with) lag += state.newest - dealt_with;
  }
  return lag;
}

std::string WriteStatus(const StatusInput& input) {
  const feed::NodeInfo& own = input.tree.own();
  const feed::Counts totals = input.tree.Totals(input.instance);
  const history::Instance* instance = input.instances.Find(input.instance);
  const std::size_t in_history = instance == nullptr ? 0 : instance->history_messages;
  json::Writer out;
  out.StartObject();
  out.Field("instance", input.instance);
  out.Field("uptime", Milliseconds(input.now - input.started));
  out.Field("clients.active", totals.clients_active);
  out.Field("clients.total", totals.clients_total);
  out.Field("messages.in", instance == nullptr ? 0 : instance->messages_in);
  out.Field("messages.out", totals.messages_out);
  out.Field("version", kAphlictStatusVersion);
  out.Field("history.size", in_history);
  out.Key("history.age");
  const history::Message* oldest = in_history == 0 ? nullptr : OldestOf(input.history, input.instance);
  if (oldest == nullptr) {
    out.Null();
  } else {
    out.Int(Milliseconds(input.now - oldest->accepted()));
  }
  out.Field("fingerprint", own.id);
  out.Field("name", own.name);
  out.Field("role", input.role);
  out.Field("relay.version", own.version);
  out.Field("gaps", input.gaps);
  out.Field("repeats", input.repeats);
  WriteRefused(out, input.refused);
  out.Key("clients.closed").StartObject();
  for (const auto& [reason, count] : input.closed) {
    if (count > 0) out.Field(reason, count);
  }
  out.EndObject();
  out.Field("commands.ignored", input.commands_ignored);
  if (!input.upstreams.empty()) {
    out.Key("upstreams").StartArray();
    for (const UpstreamStatus& upstream : input.upstreams) {
      out.StartObject().Field("url", upstream.url).Field("connected", upstream.connected);
      out.Field("synchronised", upstream.synchronised);
      out.Field("id", upstream.node).Field("name", upstream.name).EndObject();
    }
    out.EndArray();
  }
  TreeWriter(out, input).WriteBelow(own.id);
  out.EndObject();
  return std::string(out.text());
}

}  // namespace aphlict::admin
