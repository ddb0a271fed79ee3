#include "common/history/repeats.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace aphlict::history {

std::size_t Repeats::HashSet::Find(std::uint64_t hash) const {
  std::size_t slot = Home(hash);
  while (slots_[slot] != 0 && slots_[slot] != hash) slot = Next(slot);
  return slot;
}

bool Repeats::HashSet::Insert(std::uint64_t hash) {
  const std::size_t slot = Find(hash);
  if (slots_[slot] == hash) return false;
  slots_[slot] = hash;
  if (++size_ * 2 > slots_.size()) Grow();
  return true;
}

bool Repeats::HashSet::Erase(std::uint64_t hash) {
  std::size_t hole = Find(hash);
  if (slots_[hole] != hash) return false;
  // What probing had put behind the hole moves into it, unless its home lies behind the hole, too.
  for (std::size_t slot = Next(hole); slots_[slot] != 0; slot = Next(slot)) {
    const std::size_t mask = slots_.size() - 1;
    if (((slot - Home(slots_[slot])) & mask) < ((slot - hole) & mask)) continue;
    slots_[hole] = slots_[slot];
    hole = slot;
  }
  slots_[hole] = 0;
  --size_;
  return true;
}

void Repeats::HashSet::Grow() {
  const std::vector<std::uint64_t> old = std::exchange(slots_, std::vector<std::uint64_t>(2 * slots_.size()));
  for (const std::uint64_t hash : old) {
    if (hash != 0) slots_[Find(hash)] = hash;
  }
}

bool Repeats::Seen(std::string_view instance, std::string_view unique_id, Time now) {
  if (unique_id.empty()) return false;
  const auto drop_oldest = [this] {
    seen_.Erase(order_.front().second);
    order_.pop_front();
  };
  while (!order_.empty() && now - order_.front().first > age_) drop_oldest();
  const std::uint64_t hash = Hash(instance, unique_id);
  if (!seen_.Insert(hash)) return true;
  order_.emplace_back(now, hash);
  if (order_.size() > most_) drop_oldest();
  return false;
}

void Repeats::Forget(std::string_view instance, std::string_view unique_id) {
  if (unique_id.empty()) return;
  // It is among the newest: nothing was committed since.
  const std::uint64_t hash = Hash(instance, unique_id);
  if (!seen_.Erase(hash)) return;
  const auto entry =
      std::find_if(order_.rbegin(), order_.rend(), [&](const auto& each) { return each.second == hash; });
  order_.erase(std::next(entry).base());
}

std::uint64_t Repeats::Hash(std::string_view instance, std::string_view unique_id) const {
  // An instance has a key of its own, so that ("a", "bc") is not ("ab", "c").
  const std::uint64_t hash = SipHash({key_.k0 ^ SipHash(key_, instance), key_.k1}, unique_id);
  return hash == 0 ? 1 : hash;
}

}  // namespace aphlict::history
