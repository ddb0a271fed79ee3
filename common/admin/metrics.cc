#include "common/admin/metrics.h"

#include <algorithm>

#include "common/http/accept.h"

namespace aphlict::admin {

namespace {

constexpr double kMicroseconds = 1e6;  // of a second
double Seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

constexpr std::string_view kPrefix = "aphlict_relay_";

class MetricsWriter {
 public:
  MetricsWriter(const Snapshot& node, MetricsFormat format) : node_(node), out_(format) {}

  std::string Write(const ResourceUse& resources) {
    WriteNode();
    WritePorts();
    WriteMessages();
    if (node_.clients != nullptr) WriteClients(*node_.clients);
    if (node_.downstreams != nullptr) WriteFeed(*node_.downstreams);
    WriteHistory();
    if (!node_.upstreams.empty()) WriteUpstreams();
    if (!node_.peers.empty()) WritePeers();
    WriteTree();
    if (!node_.configured_instances.empty()) WriteInstances();
    WriteLoop();
    WriteProcess(resources);
    return out_.Finish();
  }

 private:
  using Type = Exposition::Type;
  using Labels = Exposition::Labels;

  void Begin(Type type, std::string_view name, std::string_view help) {
    out_.Begin(type, std::string(kPrefix).append(name), help);
  }
  void Counter(std::string_view name, std::string_view help, std::uint64_t value) {
    Begin(Type::kCounter, name, help);
    out_.Sample(value);
  }
  template <class T>
  void Gauge(std::string_view name, std::string_view help, T value) {
    Begin(Type::kGauge, name, help);
    out_.Sample(value);
  }
  // A sample for each of a list, which `sample` writes.
  template <class List, class Sample>
  void Each(Type type, std::string_view name, std::string_view help, const List& list, Sample sample) {
    Begin(type, name, help);
    for (std::size_t i = 0; i < list.size(); ++i) sample(list[i], i);
  }

  // What writes a metric with a sample for each of a list, whose label is its place in it.
  template <class List>
  auto ByPlace(const List& list, std::string_view label) {
    return [this, &list, label](Type type, std::string_view name, std::string_view help, auto value) {
      Each(type, name, help, list, [&](const auto& element, std::size_t i) {
        out_.Sample(value(element), {{label, std::to_string(i)}});
      });
    };
  }

  void WriteNode() {
    Begin(Type::kInfo, "build", "The version and the role of this node.");
    out_.Sample(std::uint64_t{1}, {{"version", node_.tree.own().version}, {"role", node_.role}});
    Begin(Type::kGauge, "state", "Whether the node is in this state: 1 for the one that it is in.");
    for (const State state : {State::kReady, State::kNotListening, State::kSynchronising, State::kDraining}) {
      out_.Sample(std::uint64_t{state == node_.state}, {{"state", StateName(state)}});
    }
  }

  void WritePorts() {
    const auto& ports = node_.ports;
    Each(Type::kGauge, "connections", "Connections that are open, by type of port.", ports,
         [&](const PortStatus& port, std::size_t) {
           out_.Sample(std::uint64_t{port.connections}, {{"listener", port.type}});
         });
    Each(Type::kCounter, "connections_accepted", "Connections that were accepted, by type of port.", ports,
         [&](const PortStatus& port, std::size_t) {
           out_.Sample(port.counters.accepted, {{"listener", port.type}});
         });
    Each(Type::kCounter, "requests", "HTTP requests that came in whole, handshakes of WebSockets included.", ports,
         [&](const PortStatus& port, std::size_t) {
           out_.Sample(port.counters.requests, {{"listener", port.type}});
         });
    Each(Type::kCounter, "refused", "Requests and connections that were not served, by type of port and reason.", ports,
         [&](const PortStatus& port, std::size_t) {
           port.counters.refused.ForEach([&](server::Refusal refusal, std::uint64_t count) {
             out_.Sample(count, {{"listener", port.type}, {"reason", server::RefusalName(refusal)}});
           });
         });
  }

  void WriteMessages() {
    Begin(Type::kCounter, "publishes", "Publishes, by what came of them.");
    node_.publishes.ForEach([&](PublishResult result, std::uint64_t count) {
      out_.Sample(count, {{"result", PublishResultName(result)}});
    });
    Counter("messages_in", "Messages that came into the history: published here, or received from above.",
            node_.messages_in);
    Counter("repeats", "Messages that had come before under another number, and that no client was shown again.",
            node_.repeats);
    Counter("gaps", "Times that the nodes above no longer had messages which this node lacks.", node_.gaps);
  }

  void WriteClients(const clients::Clients& clients) {
    const clients::ClientCounters& counters = clients.counters();
    Gauge("clients", "Browsers that are connected to this node.", std::uint64_t{clients.size()});
    Counter("clients_accepted", "Browsers that were connected since the start.", counters.accepted);
    Begin(Type::kCounter, "clients_closed", "Browsers' connections that have ended, by reason.");
    counters.ended.ForEach([&](clients::ClientEnd end, std::uint64_t count) {
      out_.Sample(count, {{"reason", clients::InfoOf(end).name}});
    });
    Counter("commands_ignored", "Frames of browsers that were no command.", counters.ignored);
    Counter("messages_out", "Deliveries to this node's browsers, those of replays included.", counters.deliveries);
    Counter("messages_out_bytes", "Bytes of these deliveries, frames included.", counters.delivered_bytes);
    Begin(Type::kHistogram, "fan_out_clients", "To how many browsers of this node a message went at once.");
    out_.Sample(counters.fan_out, 1);
    Begin(Type::kHistogram, "delivery_latency_seconds",
          "From a message's acceptance by its master to its writing to a browser's socket here, for each delivery.");
    out_.Sample(counters.latency, kMicroseconds);
  }

  void WriteFeed(const feed::Downstreams& downstreams) {
    const feed::Downstreams::Counters& counters = downstreams.counters();
    Gauge("repeaters", "Repeaters that follow this node directly.", std::uint64_t{downstreams.size()});
    Counter("repeaters_connected", "Times that a repeater began to follow.", counters.connected);
    Counter("feed_messages", "Messages that were sent to repeaters.", counters.messages);
    Counter("feed_gaps", "Gaps that repeaters were told of.", counters.gaps);
  }

  void WriteHistory() {
    const history::History& history = node_.history;
    Gauge("history_messages", "Messages in the history.", std::uint64_t{history.messages()});
    Gauge("history_bytes", "What the history takes of its bound.", std::uint64_t{history.bytes()});
    Duration age{};
    for (std::uint64_t position = history.begin(); position < history.end(); ++position) {
      const history::Message* message = history.at(position).message();
      if (message == nullptr) continue;
      age = std::max(age, node_.now - message->accepted());
      break;
    }
    Gauge("history_age_seconds", "The age of the oldest message in the history, or 0.", Seconds(age));
    Gauge("instances", "Instances that are known.", std::uint64_t{node_.instances.size()});
  }

  void WriteUpstreams() {
    const auto each = ByPlace(node_.upstreams, "upstream");
    using Upstream = const UpstreamStatus&;
    each(Type::kGauge, "upstream_connected", "Whether a node of this group of upstreams is followed.",
         [](Upstream upstream) { return std::uint64_t{upstream.connected}; });
    each(Type::kGauge, "upstream_synchronised", "Whether everything that it had when it was connected to has come.",
         [](Upstream upstream) { return std::uint64_t{upstream.synchronised}; });
    each(Type::kGauge, "upstream_lag_messages",
         "Messages that it had when it was connected to, and that have not come.",
         [](Upstream upstream) { return upstream.lag_messages; });
    each(Type::kGauge, "upstream_lag_seconds", "How long ago this node was level with it; 0 while it is.",
         [](Upstream upstream) { return Seconds(upstream.lag); });
    each(Type::kCounter, "upstream_connects", "Times that a node of this group was connected to.",
         [](Upstream upstream) { return upstream.connects; });
    each(Type::kCounter, "upstream_reconnects", "Of these, all but the first.",
         [](Upstream upstream) { return upstream.connects > 0 ? upstream.connects - 1 : 0; });
    each(Type::kCounter, "upstream_failures", "Connections that were lost, refused, or did not come about.",
         [](Upstream upstream) { return upstream.failures; });
  }

  void WritePeers() {
    const auto each = ByPlace(node_.peers, "peer");
    using Peer = const PeerStatus&;
    each(Type::kGauge, "push_waiting_messages", "Messages that wait for a push peer, or for its answer.",
         [](Peer peer) { return peer.waiting; });
    each(Type::kCounter, "push_taken", "Messages that a push peer has taken.", [](Peer peer) { return peer.taken; });
    each(Type::kCounter, "push_refused", "Messages that a push peer has answered that it does not take.",
         [](Peer peer) { return peer.refused; });
    each(Type::kCounter, "push_dropped", "Messages that have waited for a push peer for too long.",
         [](Peer peer) { return peer.dropped; });
    each(Type::kCounter, "push_failures", "Attempts to reach a push peer that came to nothing, and are made again.",
         [](Peer peer) { return peer.failures; });
  }

  void WriteTree() {
    const feed::Tree& tree = node_.tree;
    const feed::Figures::Sums& sums = tree.FigureTotals();
    Gauge("tree_nodes", "This node and all below it.", std::uint64_t{1 + tree.nodes().size()});
    Gauge("tree_clients", "Browsers that are connected to these.", tree.TotalClients());
    Counter("tree_clients_accepted", "Browsers that were connected, to nodes that have gone, too.", sums.clients_total);
    Counter("tree_messages_out", "Deliveries to browsers, by nodes that have gone, too.", sums.messages_out);
    Counter("tree_gaps", "Gaps at these nodes, at those that have gone, too.", sums.gaps);
    std::uint64_t lag = 0;
    for (const auto& [id, below] : tree.nodes()) lag = std::max(lag, LagOf(node_.history, below));
    Gauge("tree_lag_messages", "Messages of this node that the node below which is furthest behind did not have yet.",
          lag);
  }

  // Of the instances that the configuration names, and no others: clients and publishers make up names as they like.
  void WriteInstances() {
    const auto each = [&](Type type, std::string_view name, std::string_view help, auto value) {
      Each(type, name, help, node_.configured_instances, [&](const std::string& instance, std::size_t) {
        const history::Instance* known = node_.instances.Find(instance);
        out_.Sample(known != nullptr ? value(*known) : std::uint64_t{0}, {{"instance", instance}});
      });
    };
    each(Type::kGauge, "instance_clients", "Browsers of this instance.",
         [](const history::Instance& instance) { return instance.clients_active; });
    each(Type::kCounter, "instance_messages_in", "Messages of this instance that came into the history.",
         [](const history::Instance& instance) { return instance.messages_in; });
    each(Type::kCounter, "instance_messages_out", "Deliveries to this instance's browsers.",
         [](const history::Instance& instance) { return instance.messages_out; });
  }

  void WriteLoop() {
    const net::LoopCounters& counters = node_.loop.counters();
    Counter("received_bytes", "Bytes that were received, on all connections, without what TLS adds.",
            counters.received);
    Counter("sent_bytes", "Bytes that the kernel took, on all connections, without what TLS adds.", counters.sent);
    Gauge("unsent_bytes", "Bytes that wait for a connection to take them.", counters.unsent);
    Begin(Type::kHistogram, "loop_turn_seconds",
          "How long each turn of the event loop took, and with it whatever came meanwhile had to wait.");
    out_.Sample(counters.turns, kMicroseconds);
  }

  // By the names that Prometheus's own libraries give them.
  void WriteProcess(const ResourceUse& resources) {
    const auto write = [&](Type type, std::string_view name, std::string_view help, auto value) {
      out_.Begin(type, name, help);
      out_.Sample(value);
    };
    write(Type::kCounter, "process_cpu_seconds", "Time of the processor, of user and system.", resources.cpu_seconds);
    write(Type::kGauge, "process_resident_memory_bytes", "Memory of this process.", resources.resident_bytes);
    write(Type::kGauge, "process_virtual_memory_bytes", "Its addresses that are in use.", resources.virtual_bytes);
    write(Type::kGauge, "process_open_fds", "Descriptors that are open.", resources.open_descriptors);
    write(Type::kGauge, "process_max_fds", "Descriptors that there may be.", resources.max_descriptors);
    write(Type::kGauge, "process_start_time_seconds", "When it started, in seconds since 1970.", resources.started);
  }

  const Snapshot& node_;
  Exposition out_;
};

}  // namespace

MetricsFormat FormatFor(const http::Headers& headers) {
  const auto open_metrics = http::PreferenceFor(headers, "application/openmetrics-text", "1.0.0");
  const auto plain = http::PreferenceFor(headers, "text/plain", "0.0.4");
  const bool wanted = open_metrics.named && open_metrics.quality > 0 && open_metrics.quality >= plain.quality;
  return wanted ? MetricsFormat::kOpenMetrics : MetricsFormat::kPrometheus;
}

std::string WriteMetrics(const Snapshot& node, const ResourceUse& resources, MetricsFormat format) {
  return MetricsWriter(node, format).Write(resources);
}

}  // namespace aphlict::admin
