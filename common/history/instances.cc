#include "common/history/instances.h"

#include <iterator>

namespace aphlict::history {

namespace {

constexpr int kLookedAt = 256;  // instances, in search of one to let go: a refusal stays cheap

}  // namespace

Instance* Instances::Get(std::string_view name) {
  // What one message asks for is mostly the same, several times.
  if (!instances_.empty() && instances_.back().name == name) return &instances_.back();
  if (const auto known = by_name_.find(name); known != by_name_.end()) {
    instances_.splice(instances_.end(), instances_, known->second);
    return &*known->second;
  }
  if (instances_.size() >= most_) {
    // Those in use go to the back, so that the next search begins behind them.
    for (int i = 0; i < kLookedAt && instances_.front().in_use(); ++i) {
      instances_.splice(instances_.end(), instances_, instances_.begin());
    }
    if (instances_.front().in_use()) return nullptr;
    by_name_.erase(instances_.front().name);
    instances_.pop_front();
  }
  instances_.emplace_back();
  instances_.back().name = std::string(name);
  const auto place = std::prev(instances_.end());
  by_name_.emplace(place->name, place);
  return &*place;
}

const Instance* Instances::Find(std::string_view name) const {
  const auto known = by_name_.find(name);
  return known == by_name_.end() ? nullptr : &*known->second;
}

void Instances::MarkChanged(Instance& instance) {
  if (instance.changed) return;
  instance.changed = true;
  changed_.push_back(instance.name);
}

std::vector<const Instance*> Instances::TakeChanged() {
  std::vector<const Instance*> changed;
  for (const std::string& name : changed_) {
    if (const auto known = by_name_.find(name); known != by_name_.end()) {
      known->second->changed = false;
      changed.push_back(&*known->second);
    }
  }
  changed_.clear();
  return changed;
}

}  // namespace aphlict::history
