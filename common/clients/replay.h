// A client's replay under way: which messages of the history it still has to look at, in order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "common/base/time.h"
#include "common/clients/replay_index.h"
#include "common/clients/subscriptions.h"
#include "common/history/history.h"

namespace aphlict::clients {

// It begins with what was accepted at or after `since`, and goes on with what is fanned out while it lasts, which the
// client gets through it, in order, each once. Where a replay has few messages, the index names them; else it looks at
// all that the history has.
class Replay {
 public:
  // `live` is how far fan-out has come.
  Replay(const history::History& history, const ReplayIndex& index, const Subscriber& subscriber, Time since,
         std::uint64_t live);

  // Whether a message that it had yet to look at has left the history after it was fanned out: it cannot go on.
  bool fell_behind(const history::History& history) const;

  // The next entry to look at, before `live`, and whether it is to be sent if it matches; nothing when there is none.
  struct Step {
    const history::Entry* entry;
    bool in_time;
  };
  std::optional<Step> Next(const history::History& history, std::uint64_t live);

 private:
  std::vector<std::uint64_t> candidates_;  // descending; the next is at the back
  std::uint64_t position_;                 // after the candidates: the next of all
  std::uint64_t live_from_;                // positions from here on came after the request: sent whatever their age
  Time since_;
};

}  // namespace aphlict::clients
