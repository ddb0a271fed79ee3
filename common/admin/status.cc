#include "common/admin/status.h"

#include <set>
#include <unordered_map>

#include "common/json/writer.h"

namespace aphlict::admin {

namespace {

constexpr int kAphlictStatusVersion = 7;

std::int64_t Milliseconds(Duration duration) { return std::chrono::duration_cast<milliseconds>(duration).count(); }

// Reasons that have not come up are left out.
void WriteRefused(json::Writer& out, const std::vector<PortStatus>& ports) {
  out.Key("refused").StartObject();
  for (const PortStatus& port : ports) {
    out.Key(port.type).StartObject();
    port.counters.refused.ForEach([&](server::Refusal refusal, std::uint64_t count) {
      if (count > 0) out.Field(server::RefusalName(refusal), count);
    });
    out.EndObject();
  }
  out.EndObject();
}

class TreeWriter {
 public:
  TreeWriter(json::Writer& out, const Snapshot& own) : out_(out), own_(own), followers_(own.tree.Followers()) {}

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
    out_.Field("connected", Milliseconds(own_.now - node.since));
    const std::uint64_t lag = LagOf(own_.history, node);
    out_.Field("clients", node.clients).Field("lag", lag);
    out_.Field("lag.age", lag == 0 ? 0 : Milliseconds(LagAgeOf(own_.history, node, own_.now)));
    out_.Key("figures").Json(node.figures.text);
    WriteBelow(node.info.id);
    out_.EndObject();
  }

  json::Writer& out_;
  const Snapshot& own_;
  std::unordered_map<std::string_view, std::vector<const feed::Tree::Node*>> followers_;
  std::set<std::string> path_;
};

}  // namespace

std::string WriteStatus(const Snapshot& node, std::string_view instance_name) {
  const feed::NodeInfo& own = node.tree.own();
  const feed::Counts totals = node.tree.Totals(instance_name);
  const history::Instance* instance = node.instances.Find(instance_name);
  const std::size_t in_history = instance == nullptr ? 0 : instance->history_messages;
  json::Writer out;
  out.StartObject();
  out.Field("instance", instance_name);
  out.Field("uptime", Milliseconds(node.now - node.started));
  out.Field("clients.active", totals.clients_active);
  out.Field("clients.total", totals.clients_total);
  out.Field("messages.in", instance == nullptr ? 0 : instance->messages_in);
  out.Field("messages.out", totals.messages_out);
  out.Field("version", kAphlictStatusVersion);
  out.Field("history.size", in_history);
  out.Key("history.age");
  if (in_history == 0) {
    out.Null();
  } else {
    out.Int(Milliseconds(node.now - node.history.at(instance->oldest_at).message()->accepted()));
  }
  out.Field("fingerprint", own.id);
  out.Field("name", own.name);
  out.Field("public.url", own.url);
  out.Field("role", node.role);
  out.Field("relay.version", own.version);
  out.Field("gaps", node.gaps);
  out.Field("repeats", node.repeats);
  WriteRefused(out, node.ports);
  WriteClosed(out, "clients.closed", node.clients);
  out.Field("commands.ignored", node.clients != nullptr ? node.clients->counters().ignored : 0);
  out.Key("figures").Json(node.tree.own_figures().text);
  if (!node.upstreams.empty()) {
    out.Key("upstreams").StartArray();
    for (const UpstreamStatus& upstream : node.upstreams) {
      out.StartObject().Field("url", upstream.url).Field("connected", upstream.connected);
      out.Field("synchronised", upstream.synchronised);
      out.Field("id", upstream.node).Field("name", upstream.name).EndObject();
    }
    out.EndArray();
  }
  if (!node.peers.empty()) {
    out.Key("peers").StartArray();
    for (const PeerStatus& peer : node.peers) {
      out.StartObject().Field("url", peer.url).Field("fingerprint", peer.fingerprint);
      out.Field("connected", peer.connected).Field("waiting", peer.waiting).Field("taken", peer.taken);
      out.Field("refused", peer.refused).Field("dropped", peer.dropped).Field("failures", peer.failures).EndObject();
    }
    out.EndArray();
  }
  TreeWriter(out, node).WriteBelow(own.id);
  out.EndObject();
  return std::string(out.text());
}

}  // namespace aphlict::admin
