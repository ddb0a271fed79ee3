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

Repeats::Key Repeats::KeyOf(std::string_view instance, std::string_view unique_id) const {
  if (unique_id.empty()) return 0;
  // An instance has a secret of its own, so that ("a", "bc") is not ("ab", "c").
  const Key key = std::max<Key>(1, SipHash({key_.k0 ^ SipHash(key_, instance), key_.k1}, unique_id));
  seen_.Prefetch(key);
  if (!order_.empty()) seen_.Prefetch(order_.front().second);  // often the next to be forgotten
  return key;
}

bool Repeats::Seen(Key key, Time now) {
  if (key == 0) return false;
  const auto drop_oldest = [this] {
    seen_.Erase(order_.front().second);
    order_.pop_front();
  };
  while (!order_.empty() && now - order_.front().first > age_) drop_oldest();
  if (!seen_.Insert(key)) return true;
  order_.emplace_back(now, key);
  if (order_.size() > most_) drop_oldest();
  return false;
}

void Repeats::Forget(Key key) {
  // It is among the newest: nothing was committed since.
  if (key == 0 || !seen_.Erase(key)) return;
  const auto entry = std::find_if(order_.rbegin(), order_.rend(), [&](const auto& each) { return each.second == key; });
  order_.erase(std::next(entry).base());
}

}  // namespace aphlict::history
