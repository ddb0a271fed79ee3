// What a node tells of itself as a whole, over all instances: its state, what it has counted since its start, how long
// messages took to its clients.
//
// It is a small JSON object that is passed on as it is, up the tree and into the status of each node above, so that a
// node of another version may have members that those above do not know. docs/protocol.md has the ones there are.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/json/value.h"

namespace aphlict::feed {

struct Figures {
  // What is summed up over nodes, where the object has it.
  struct Sums {
    std::uint64_t clients_total = 0;
    std::uint64_t messages_out = 0;
    std::uint64_t gaps = 0;

    // Differences may wrap round on the way: unsigned arithmetic makes the sum come out right.
    Sums& operator+=(const Sums& other);
    Sums& operator-=(const Sums& other);
  };

  static constexpr std::size_t kMaxBytes = 4096;
  static constexpr std::size_t kMaxMembers = 64;  // of an object or a list
  static constexpr std::size_t kMaxName = 48;

  // Takes over what fits: members whose names are identifiers (a letter, then letters, digits, `_` and `.`, all in
  // lower case), and whose values are whole numbers from 0, identifiers, lists of such numbers, or objects of all
  // these, which hold no further objects. What does not fit is left out; of an object that is too large, everything.
  static Figures Of(const json::Value& object);
  // Of a text that is JSON; nothing else fits.
  static Figures Parse(std::string_view text);

  std::string text = "{}";
  Sums sums;
};

}  // namespace aphlict::feed
