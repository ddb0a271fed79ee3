// A node as it is now: what its status, its metrics, and its report to the nodes above are written from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/admin/publish_result.h"
#include "common/base/time.h"
#include "common/clients/clients.h"
#include "common/feed/downstreams.h"
#include "common/feed/tree.h"
#include "common/history/history.h"
#include "common/history/instances.h"
#include "common/json/writer.h"
#include "common/net/loop.h"
#include "common/server/http_server.h"

namespace aphlict::admin {

enum class State {
  kReady,
  kNotListening,   // it has clients to serve, and their port is not open yet
  kSynchronising,  // it does not have yet what the nodes above have
  kDraining,       // it is about to go
};
// "not_listening".
std::string_view StateName(State state);

// One way to a master, as a repeater follows it.
struct UpstreamStatus {
  std::string url;
  bool connected = false;
  bool synchronised = false;
  std::string node;  // of the node above, when connected
  std::string name;
  std::uint64_t connects = 0;      // welcomes, since the start
  std::uint64_t failures = 0;      // connections that were lost, refused, or did not come about
  std::uint64_t lag_messages = 0;  // that the node above had when it was connected to, and that have not come yet
  Duration lag{};                  // how long ago this node was level with it; zero while it is
};

// A push peer of a master (Aphlict's `cluster`). Counts are since the start.
struct PeerStatus {
  std::string url;
  std::string fingerprint;  // who it said it is, or empty
  bool connected = false;
  std::uint64_t waiting = 0;   // messages for it
  std::uint64_t taken = 0;     // that it has taken
  std::uint64_t refused = 0;   // that it does not take
  std::uint64_t dropped = 0;   // that have waited for too long
  std::uint64_t failures = 0;  // attempts that were made again
};

// One type of port, all of its addresses together.
struct PortStatus {
  std::string_view type;  // "client"
  std::size_t connections;
  const server::HttpCounters& counters;
};

// References are borrowed for the call.
struct Snapshot {
  std::string_view role;  // "master" or "repeater"
  State state;
  Time started;
  Time now;
  const history::History& history;
  const history::Instances& instances;
  const feed::Tree& tree;
  const net::Loop& loop;
  std::vector<PortStatus> ports;
  const PublishCounts& publishes;
  std::vector<UpstreamStatus> upstreams;
  std::vector<PeerStatus> peers;
  const clients::Clients* clients;       // null: no browser is served
  const feed::Downstreams* downstreams;  // null: no repeater may follow
  std::uint64_t messages_in;             // into the history, of all instances
  std::uint64_t gaps;
  std::uint64_t repeats;
  const std::vector<std::string>& configured_instances;
};

// Messages that `history` has dealt with, and that a node below had not at its last report.
std::uint64_t LagOf(const history::History& history, const feed::Tree::Node& below);
// How long ago the first of these was accepted, as far as the history still has them.
Duration LagAgeOf(const history::History& history, const feed::Tree::Node& below, Time now);

// A member `key` with how many clients have gone, by reason. Reasons that have not come up are left out; null: all.
void WriteClosed(json::Writer& out, std::string_view key, const clients::Clients* clients);

// What the node tells of itself in the tree: an object as feed::Figures have it.
std::string WriteFigures(const Snapshot& node);

}  // namespace aphlict::admin
