// The instances (tenants) that a node knows, and what it counts for each.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/base/siphash.h"

namespace aphlict::history {

struct Instance {
  std::string name;
  std::uint64_t messages_in = 0;   // accepted by this node, or received from above
  std::uint64_t messages_out = 0;  // deliveries to this node's clients
  std::uint64_t clients_active = 0;
  std::uint64_t clients_leaving = 0;  // gone, with subscriptions that are still to be forgotten
  std::uint64_t clients_total = 0;
  std::size_t history_messages = 0;
  std::uint64_t oldest_at = 0;  // positions of the first and the last of these in the history
  std::uint64_t newest_at = 0;
  std::size_t entering = 0;  // messages that are numbered, and on their way into the history
  bool changed = false;      // since Instances::TakeChanged()

  // Whether anything holds on to it: one that is not in use may make room for another.
  bool in_use() const { return clients_active > 0 || clients_leaving > 0 || history_messages > 0 || entering > 0; }
};

// Owns the instances; pointers to one stay valid while it is in use.
class Instances {
 public:
  explicit Instances(std::size_t most = 65'536) : most_(most) {}
  // Those that are there stay, also where they are more.
  void SetMost(std::size_t most) { most_ = most; }

  // The instance of that name, made if it is new. Null when there are `most` of them, all in use: the newest is
  // refused. One that is not in use makes room, the one that was unused for longest first; what it counted goes
  // with it.
  Instance* Get(std::string_view name);
  const Instance* Find(std::string_view name) const;

  // To be called by whoever changes a count that is reported upstream.
  void MarkChanged(Instance& instance);
  // The names of the instances that have changed since the last call. Those that have made room are left out.
  std::vector<const Instance*> TakeChanged();

  std::size_t size() const { return by_name_.size(); }
  const std::list<Instance>& all() const { return instances_; }

 private:
  using Place = std::list<Instance>::iterator;

  std::size_t most_;
  std::list<Instance> instances_;                                   // the one got most recently last
  std::unordered_map<std::string_view, Place, KeyedHash> by_name_;  // keys are the instances' own names
  std::vector<std::string> changed_;
};

}  // namespace aphlict::history
