// What GET /status/ tells: Aphlict's keys for one instance, and the tree below the node.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/time.h"
#include "common/feed/tree.h"
#include "common/history/history.h"
#include "common/history/instances.h"
#include "common/server/refusal.h"

namespace aphlict::admin {

// Whoever can tell the status, as JSON text.
class StatusSource {
 public:
  virtual ~StatusSource() = default;
  virtual std::string StatusOf(std::string_view instance) const = 0;
};

// One way to a master, as a repeater follows it.
struct UpstreamStatus {
  std::string url;
  bool connected = false;
  bool synchronised = false;
  std::string node;  // of the node above, when connected
  std::string name;
};

// Everything that a status is made of. References are borrowed for the call.
struct StatusInput {
  std::string_view instance;
  std::string_view role;  // "master" or "repeater"
  Time started;
  Time now;
  const history::History& history;
  const history::Instances& instances;
  const feed::Tree& tree;
  std::vector<UpstreamStatus> upstreams;
  std::uint64_t gaps = 0;
  std::uint64_t repeats = 0;
  std::vector<std::pair<std::string_view, server::RefusalCounts>> refused;  // by the type of port: "client"
  std::vector<std::pair<std::string_view, std::uint64_t>> closed;           // clients' connections, by reason
  std::uint64_t commands_ignored = 0;
};

std::string WriteStatus(const StatusInput& input);

// How many messages this node has dealt with, and a node below had not at its last report.
std::uint64_t LagOf(const feed::Tree::Node& node, const history::History& history);

}  // namespace aphlict::admin
