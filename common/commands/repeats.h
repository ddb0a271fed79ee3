// Which messages of a replay have come before, on an earlier connection to whatever node.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string_view>
#include <unordered_map>

#include "common/base/siphash.h"
#include "common/base/time.h"

namespace aphlict::commands {

// Knows a message by its `uniqueID`, as nodes do, or where it has none by its text, and then as often as it came: two
// messages may be equal. It keeps hashes, for two minutes, of the latest 100,000.
class Repeats {
 public:
  // A connection begins, whose replay goes back to `since`: what came before may come again on it.
  void BeginReplay(Time since, Time now);
  // Whether an earlier connection has brought `message`, which comes `now`. Without a replay, none has.
  bool IsRepeat(std::string_view message, Time now);

  std::size_t size() const { return known_.size(); }

 private:
  struct Known {
    std::uint64_t key;
    Time came;  // first
  };

  std::uint64_t KeyOf(std::string_view message) const;
  void Forget(Time now);

  SipKey hash_key_ = SipKey::Random();
  std::deque<Known> known_;                                 // in the order in which they came
  std::unordered_map<std::uint64_t, std::size_t> awaited_;  // how often the replay may bring each again
  Time texts_awaited_until_{};
};

}  // namespace aphlict::commands
