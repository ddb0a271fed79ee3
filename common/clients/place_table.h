// Where in a subscriber's list of topics each of them stands, for a subscriber with many: a hash table of the places
// alone, which looks into the list for the topics. It takes 8 to 16 bytes for each, and grows at the speed of memory.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace aphlict::clients {

// `topic_at(place)` tells which topic stands at a place, as a pointer that is not null.
template <class Topic>
class PlaceTable {
 public:
  static constexpr std::uint32_t kNowhere = UINT32_MAX;

  template <class TopicAt>
  std::uint32_t Find(const Topic* topic, TopicAt topic_at) const {
    std::size_t slot = SlotOf(topic);
    while (slots_[slot] != kNowhere && topic_at(slots_[slot]) != topic) slot = Next(slot);
    return slots_[slot];
  }

  // Adds the list's next place. REQUIRES: all before are in it, and the topic there is not yet.
  template <class TopicAt>
  void Add(TopicAt topic_at) {
    if ((size_ + 1) * 2 > slots_.size()) Grow(topic_at);
    Put(topic_at(size_), size_);
    ++size_;
  }

  // `from` is now at `to`. REQUIRES: called before anything else changes.
  void Move(const Topic* topic, std::uint32_t from, std::uint32_t to) { slots_[SlotWith(topic, from)] = to; }

  // REQUIRES: the list is as it was when the topic was at `place`.
  template <class TopicAt>
  void Remove(const Topic* topic, std::uint32_t place, TopicAt topic_at) {
    --size_;
    std::size_t hole = SlotWith(topic, place);
    // What follows without a gap moves up, unless it would come before where its search begins.
    for (std::size_t slot = Next(hole); slots_[slot] != kNowhere; slot = Next(slot)) {
      const std::size_t home = SlotOf(topic_at(slots_[slot]));
      if (((slot - home) & mask()) < ((slot - hole) & mask())) continue;
      slots_[hole] = slots_[slot];
      hole = slot;
    }
    slots_[hole] = kNowhere;
  }

 private:
  static constexpr std::size_t kLeast = 64;

  std::size_t mask() const { return slots_.size() - 1; }
  std::size_t Next(std::size_t slot) const { return (slot + 1) & mask(); }
  // Fibonacci hashing (Knuth, volume 3, section 6.4): the upper bits of the product are those that spread.
  std::size_t SlotOf(const Topic* topic) const {
    const std::uint64_t product = reinterpret_cast<std::uintptr_t>(topic) * 0x9e3779b97f4a7c15;
    return static_cast<std::size_t>(product >> (64 - std::countr_zero(slots_.size())));
  }
  std::size_t SlotWith(const Topic* topic, std::uint32_t place) const {
    std::size_t slot = SlotOf(topic);
    while (slots_[slot] != place) slot = Next(slot);
    return slot;
  }
  void Put(const Topic* topic, std::uint32_t place) {
    std::size_t slot = SlotOf(topic);
    while (slots_[slot] != kNowhere) slot = Next(slot);
    slots_[slot] = place;
  }
  // In the list's order, which the processor's caches like better than the old table's.
  template <class TopicAt>
  void Grow(TopicAt topic_at) {
    slots_ = std::vector<std::uint32_t>(slots_.empty() ? kLeast : 2 * slots_.size(), kNowhere);
    for (std::uint32_t place = 0; place < size_; ++place) Put(topic_at(place), place);
  }

  std::vector<std::uint32_t> slots_;  // a power of two of them, at least half free
  std::uint32_t size_ = 0;
};

}  // namespace aphlict::clients
