// Where in the history the messages for a PHID are, so that a replay costs the messages that it sends: after a lost
// host, thousands of pages ask for one within a second.
//
// Each subscriber of each message is a link in one of a fixed number of chains, from the newest to the oldest; which
// one, a keyed hash of the PHID decides. Links of messages that have left the history end their chains by themselves.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string_view>
#include <vector>

#include "common/history/message.h"

namespace aphlict::clients {

class ReplayIndex {
 public:
  // Takes in the message at `position`. REQUIRES: greater than all before.
  void Add(std::uint64_t position, const history::Message& message);
  // Forgets the messages before `position`.
  void DropBefore(std::uint64_t position);

  // Calls visit(position) for each message from `begin` on that may be for the PHID, newest first, until it returns
  // false. Others that share the chain are among them, and one may come twice: look at the message itself.
  template <class Visit>
  void ForEachCandidate(std::string_view phid, std::uint64_t begin, Visit visit) const {
    if (newest_.empty()) return;
    for (std::uint64_t id = newest_[ChainOf(phid)]; id >= first_;) {
      const Link& link = links_[id - first_];
      if (link.position < begin || !visit(link.position)) return;
      id = link.previous;
    }
  }

  std::size_t links() const { return links_.size(); }

 private:
  struct Link {
    std::uint64_t position;  // of the message, in the history
    std::uint64_t previous;  // id of the link before in the chain; 0: none
  };
  static constexpr std::size_t kChains = 65'536;  // 512 KiB, taken with the first message

  static std::size_t ChainOf(std::string_view phid);

  std::vector<std::uint64_t> newest_;  // by chain: the id of its newest link; 0: none
  std::deque<Link> links_;
  std::uint64_t first_ = 1;  // id of links_.front()
};

}  // namespace aphlict::clients
