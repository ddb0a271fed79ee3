// What a node knows of the nodes below it: who they are, and their clients for each instance. Reports travel
// upwards over the feed's connections, as changes only.
//
// Everything is kept by node id, with absolute values and the reporting node's own revision, so that a node whose
// reports arrive over two ways, or in a different order, counts once.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/base/result.h"
#include "common/base/siphash.h"
#include "common/base/time.h"
#include "common/feed/figures.h"
#include "common/history/cursor.h"
#include "common/json/value.h"

namespace aphlict::feed {

struct Counts {
  std::uint64_t clients_active = 0;
  std::uint64_t clients_total = 0;
  std::uint64_t messages_out = 0;
};

// A node as others see it.
struct NodeInfo {
  std::string id;
  std::string name;
  std::string version;
  std::string url;
  std::string address;             // where its upstream sees it; empty for the node itself
  std::vector<std::string> above;  // the nodes that it follows
  history::Cursor cursor;
};

// One way by which reports come: a downstream connection. Never reused.
using SourceId = std::uint64_t;

class Tree {
 public:
  struct Node {
    NodeInfo info;
    std::uint64_t revision = 0;  // the node's own count of its changes
    std::uint64_t changed = 0;   // the tree's count at the last change
    Time since;                  // when it was first heard of
    struct InstanceCounts {
      Counts counts;
      std::uint64_t revision = 0;
      std::uint64_t changed = 0;
    };
    std::unordered_map<std::string, InstanceCounts> instances;
    std::map<std::uint64_t, std::string> by_change;  // instances, by `changed`
    std::set<std::uint64_t> idle;                    // of these, those without clients
    std::set<SourceId> sources;                      // none for the node itself
    std::uint64_t clients = 0;                       // over all instances
    Figures figures;
  };

  explicit Tree(std::size_t most_instances = 65'536) : most_instances_(most_instances) {}
  void SetMostInstances(std::size_t most) { most_instances_ = most; }

  // The node's own part.
  void SetOwn(NodeInfo info);
  void UpdateOwn(std::string_view instance, const Counts& counts);
  void UpdateOwnCursor(history::Cursor cursor);
  void UpdateOwnAbove(std::vector<std::string> above);
  // `text` as Figures have it.
  void UpdateOwnFigures(std::string_view text);
  const NodeInfo& own() const { return own_.info; }
  const Figures& own_figures() const { return own_.figures; }

  // Takes a report that came by `source`, whose peer is `address`. Errors: it is not one.
  Result<void> Apply(SourceId source, std::string_view address, const json::Value& report, Time now);
  // A connection is gone, and so are the nodes that only it told of. Their clients count no more; what they
  // delivered in their time stays in the sums.
  void Drop(SourceId source);

  // The report for one upstream: what has changed since `*mark`, which moves on. A new connection begins at 0. In
  // parts, each of them a report by itself, so that the node above deals with a large one over several turns.
  std::vector<std::string> EncodeReport(std::uint64_t* mark) const;

  // Sums over this node and all below it.
  Counts Totals(std::string_view instance) const;
  std::uint64_t TotalClients() const { return total_clients_; }
  // Of those, too, that have gone.
  const Figures::Sums& FigureTotals() const { return figure_totals_; }

  // The nodes below, by the id of each that they follow, in the order of their names.
  std::unordered_map<std::string_view, std::vector<const Node*>> Followers() const;
  const std::unordered_map<std::string, Node>& nodes() const { return nodes_; }

 private:
  void Update(Node& node, const std::string& instance, const Counts& counts, std::uint64_t revision);
  void SetFigures(Node& node, Figures figures);
  Result<void> ApplyNode(SourceId source, std::string_view address, const json::Value& object, Time now);
  void Leave(SourceId source, const std::string& id);
  void DropTotalUnlessShared(const std::string& instance);

  std::size_t most_instances_;
  std::uint64_t change_ = 0;
  Node own_;
  std::unordered_map<std::string, Node> nodes_;     // below, by id
  std::unordered_map<std::string, Node> departed_;  // gone for now: their counters, should they come back
  std::deque<std::string> departed_order_;
  std::deque<std::pair<std::uint64_t, std::string>> departures_;  // (change, id), for reports
  std::unordered_map<std::string, Counts> totals_;
  std::uint64_t total_clients_ = 0;
  Figures::Sums figure_totals_;
};

}  // namespace aphlict::feed
