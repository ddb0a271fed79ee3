#include "common/commands/repeats.h"

#include <string>

#include "common/json/value.h"

namespace aphlict::commands {

namespace {

constexpr std::size_t kMost = 100'000;
constexpr Duration kRemembered = seconds(120);  // as nodes know a `uniqueID`, and longer than a replay goes back
// Longer than a replay takes. Behind it, an equal text is another message.
constexpr Duration kReplayTime = seconds(10);

// The lowest bit of a key.
constexpr std::uint64_t kById = 1;

}  // namespace

void Repeats::BeginReplay(Time since, Time now) {
  Forget(now);
  awaited_.clear();
  for (const Known& each : known_) {
    // With an ID it is the same message even where a node has it from another master, accepted later.
    if ((each.key & kById) != 0 || each.came >= since) ++awaited_[each.key];
  }
  texts_awaited_until_ = now + kReplayTime;
}

bool Repeats::IsRepeat(std::string_view message, Time now) {
  const std::uint64_t key = KeyOf(message);
  const bool by_id = (key & kById) != 0;
  const auto found = awaited_.find(key);
  if (found != awaited_.end() && found->second > 0 && (by_id || now < texts_awaited_until_)) {
    if (!by_id) --found->second;
    return true;
  }
  known_.push_back({key, now});
  Forget(now);
  return false;
}

std::uint64_t Repeats::KeyOf(std::string_view message) const {
  const auto value = json::Parse(message);
  const std::string id = value ? (*value)["uniqueID"].string() : "";
  return id.empty() ? SipHash(hash_key_, message) & ~kById : SipHash(hash_key_, id) | kById;
}

void Repeats::Forget(Time now) {
  while (!known_.empty() && (known_.size() > kMost || now - known_.front().came > kRemembered)) known_.pop_front();
}

}  // namespace aphlict::commands
