#include "common/clients/replay.h"

#include <algorithm>
#include <functional>

namespace aphlict::clients {

namespace {

// Past this, naming them is no cheaper than looking at everything.
constexpr std::size_t kMaxCandidates = 1024;

}  // namespace

Replay::Replay(const history::History& history, const ReplayIndex& index, const Subscriber& subscriber, Time since,
               std::uint64_t live)
    : position_(live), live_from_(live), since_(since) {
  const std::uint64_t begin = std::min(history.PositionAt(since), live);
  bool few = subscriber.subscriptions() <= (live - begin) + kMaxCandidates;
  subscriber.ForEachPhid([&](std::string_view phid) {
    if (!few) return;
    index.ForEachCandidate(phid, begin, [&](std::uint64_t position) {
      candidates_.push_back(position);
      return few = candidates_.size() < kMaxCandidates;
    });
  });
  if (few) {
    std::sort(candidates_.begin(), candidates_.end(), std::greater<>());
    candidates_.erase(std::unique(candidates_.begin(), candidates_.end()), candidates_.end());
  } else {
    candidates_ = {};
    position_ = begin;
  }
}

bool Replay::fell_behind(const history::History& history) const {
  return position_ < history.begin() && live_from_ < history.begin();
}

std::optional<Replay::Step> Replay::Next(const history::History& history, std::uint64_t live) {
  while (!candidates_.empty()) {
    const std::uint64_t position = candidates_.back();
    candidates_.pop_back();
    if (position < history.begin()) continue;  // it has left: it is older than the history keeps
    const history::Entry& entry = history.at(position);
    return Step{&entry, entry.message() != nullptr && entry.message()->accepted() >= since_};
  }
  position_ = std::max(position_, history.begin());
  if (position_ >= live) return std::nullopt;
  const history::Entry& entry = history.at(position_);
  const bool came_after = position_++ >= live_from_;
  return Step{&entry, entry.message() != nullptr && (came_after || entry.message()->accepted() >= since_)};
}

}  // namespace aphlict::clients
