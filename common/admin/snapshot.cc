#include "common/admin/snapshot.h"

#include <algorithm>

namespace aphlict::admin {

namespace {

void WriteNumbers(json::Writer& out, std::string_view key, std::span<const std::uint64_t> numbers) {
  out.Key(key).StartArray();
  for (const std::uint64_t number : numbers) out.Uint(number);
  out.EndArray();
}

// What has not come up is left out. "client.too_large"
void WriteRefused(json::Writer& out, const std::vector<PortStatus>& ports) {
  out.Key("refused").StartObject();
  for (const PortStatus& port : ports) {
    port.counters.refused.ForEach([&](server::Refusal refusal, std::uint64_t count) {
      if (count > 0) out.Field(std::string(port.type) + "." + std::string(server::RefusalName(refusal)), count);
    });
  }
  out.EndObject();
}

std::int64_t LagMsOf(const Snapshot& node) {
  Duration lag{};
  for (const UpstreamStatus& upstream : node.upstreams) lag = std::max(lag, upstream.lag);
  return std::chrono::duration_cast<milliseconds>(lag).count();
}

}  // namespace

std::string_view StateName(State state) {
  switch (state) {
    case State::kNotListening:
      return "not_listening";
    case State::kSynchronising:
      return "synchronising";
    case State::kDraining:
      return "draining";
    default:
      return "ready";
  }
}

std::uint64_t LagOf(const history::History& history, const feed::Tree::Node& below) {
  std::uint64_t lag = 0;
  for (const history::EpochState& state : history.epochs()) {
    const auto known = below.info.cursor.find(state.epoch);
    const history::Sequence dealt_with = known == below.info.cursor.end() ? state.base - 1 : known->second;
    if (state.newest > dealt_with) lag += state.newest - dealt_with;
  }
  return lag;
}

Duration LagAgeOf(const history::History& history, const feed::Tree::Node& below, Time now) {
  for (std::uint64_t at = history.PositionAfter(below.info.cursor); at < history.end(); ++at) {
    if (const history::Message* message = history.at(at).message()) return now - message->accepted();
  }
  return {};
}

void WriteClosed(json::Writer& out, std::string_view key, const clients::Clients* clients) {
  out.Key(key).StartObject();
  if (clients != nullptr) {
    clients->counters().ended.ForEach([&](clients::ClientEnd end, std::uint64_t count) {
      if (count > 0) out.Field(clients::InfoOf(end).name, count);
    });
  }
  out.EndObject();
}

std::string WriteFigures(const Snapshot& node) {
  static const clients::ClientCounters kNone{};
  const clients::ClientCounters& clients = node.clients != nullptr ? node.clients->counters() : kNone;
  json::Writer out;
  out.StartObject().Field("state", StateName(node.state));
  out.Field("clients", node.clients != nullptr ? node.clients->size() : 0);
  out.Field("clients_total", clients.accepted);
  out.Field("messages_in", node.messages_in);
  out.Field("messages_out", clients.deliveries);
  out.Field("unsent_bytes", node.loop.counters().unsent);
  out.Field("gaps", node.gaps);
  out.Field("repeats", node.repeats);
  out.Field("lag_ms", LagMsOf(node));
  WriteRefused(out, node.ports);
  WriteClosed(out, "closed", node.clients);
  out.Key("latency").StartObject();
  WriteNumbers(out, "bounds_us", clients.latency.bounds());
  WriteNumbers(out, "counts", clients.latency.counts());
  out.Field("sum_us", clients.latency.sum()).EndObject();
  out.EndObject();
  return std::string(out.text());
}

}  // namespace aphlict::admin
