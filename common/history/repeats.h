// Remembers the uniqueIDs of the last two minutes: a publish that Phabricator posts to a second master, because
// the first answered too late, carries the same one, and is to be delivered once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/fetch_ahead.h"
#include "common/base/siphash.h"
#include "common/base/time.h"

namespace aphlict::history {

class Repeats {
 public:
  explicit Repeats(Duration age = seconds(120), std::size_t most = 1'048'576) : age_(age), most_(most) {}

  // What an (instance, uniqueID) is known by here: a keyed 64-bit hash. With a million in the set, the chance that a
  // new message is taken for a repeat is 1 in 10^13. 0 for an empty uniqueID, which is never a repeat.
  using Key = std::uint64_t;
  // Also fetches the memory where it is looked for, which is in no cache: who can, does something else before Seen().
  Key KeyOf(std::string_view instance, std::string_view unique_id) const;

  // Whether the key was seen within the age; remembers it if not. Past `most`, the oldest is forgotten.
  bool Seen(Key key, Time now);

  // Takes back what Seen() remembered of a message that has come to nothing.
  void Forget(Key key);

  std::size_t size() const { return order_.size(); }

 private:
  // A set of hashes in one piece of memory, so that looking for one costs one visit to memory that is cold:
  // open addressing with linear probing, at most half full.
  class HashSet {
   public:
    void Prefetch(std::uint64_t hash) const { FetchLine(&slots_[Home(hash)]); }
    // Returns whether `hash` was not there. REQUIRES: it is not 0, which marks an empty slot.
    bool Insert(std::uint64_t hash);
    // Returns whether it was there.
    bool Erase(std::uint64_t hash);

   private:
    std::size_t Home(std::uint64_t hash) const { return hash & (slots_.size() - 1); }
    std::size_t Next(std::size_t slot) const { return (slot + 1) & (slots_.size() - 1); }
    // Where `hash` is, or else the empty slot where it would be.
    std::size_t Find(std::uint64_t hash) const;
    void Grow();

    std::vector<std::uint64_t> slots_ = std::vector<std::uint64_t>(64);  // as many as a power of 2
    std::size_t size_ = 0;
  };

  Duration age_;
  std::size_t most_;
  SipKey key_ = SipKey::Random();
  HashSet seen_;
  std::deque<std::pair<Time, Key>> order_;
};

}  // namespace aphlict::history
