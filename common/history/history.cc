#include "common/history/history.h"

#include <algorithm>
#include <utility>

namespace aphlict::history {

namespace {

// What an entry takes beside its message's buffer: itself, and its place in its epoch's list.
constexpr std::size_t kEntryOverhead = sizeof(Entry) + sizeof(std::uint64_t);

constexpr int kTrimmedAtOnce = 4096;  // more than a turn brings

std::size_t SizeOf(const Entry& entry) {
  return kEntryOverhead + (entry.message() != nullptr ? entry.message()->size() : 0);
}

}  // namespace

bool History::Add(Message message, bool repeat, Time now) {
  EpochState& state = FindOrAdd(message.epoch(), message.sequence(), now);
  state.mentioned = now;
  if (message.sequence() <= state.newest) return false;
  state.newest = message.sequence();
  state.positions.push_back(end());
  ++messages_;
  if (observer_ != nullptr) observer_->OnEnter(message);
  Append({std::move(message), {}, repeat});
  return true;
}

bool History::AddGap(const Gap& gap, Time now) {
  EpochState& state = FindOrAdd(gap.epoch, gap.from, now);
  state.mentioned = now;
  if (gap.to <= state.newest) return false;
  const Sequence from = std::max(gap.from, state.newest + 1);
  state.newest = gap.to;
  state.floor = gap.to + 1;
  gaps_.push_back(end());
  Append({Gap{gap.epoch, from, gap.to}, {}, false});
  return true;
}

void History::Append(Entry entry) {
  entry.newest_accepted = entries_.empty() ? Time::min() : entries_.back().newest_accepted;
  if (const Message* message = entry.message()) {
    entry.newest_accepted = std::max(entry.newest_accepted, message->accepted());
  }
  bytes_ += SizeOf(entry);
  entries_.push_back(std::move(entry));
}

void History::Mention(const Epoch& epoch, Sequence floor, Time now) { FindOrAdd(epoch, floor, now).mentioned = now; }

void History::Advance(const Epoch& epoch, Sequence newest, Time now) {
  EpochState& state = FindOrAdd(epoch, newest + 1, now);
  state.mentioned = now;
  state.newest = std::max(state.newest, newest);
}

bool History::Trim() {
  const auto is_over = [this] { return bytes_ > limits_.bytes && entries_.size() > 1; };
  for (int i = 0; i < kTrimmedAtOnce && is_over(); ++i) DropFirst();
  return !is_over();
}

void History::Expire(Time now, const Epoch& keep, Time heard) {
  const auto too_old = [&](const Entry& entry) {
    return entry.gap() != nullptr || now - entry.message()->accepted() > limits_.age;
  };
  while (!entries_.empty() && too_old(entries_.front())) DropFirst();
  std::erase_if(epochs_, [&](const EpochState& state) {
    return state.epoch != keep && state.positions.empty() && heard - state.mentioned > 2 * limits_.age;
  });
}

std::uint64_t History::PositionAfter(const Cursor& cursor) const {
  const auto last = [&](const Epoch& epoch) -> Sequence {
    const auto known = cursor.find(epoch);
    return known == cursor.end() ? 0 : known->second;
  };
  std::uint64_t position = end();
  for (const EpochState& state : epochs_) {
    const auto first = std::partition_point(state.positions.begin(), state.positions.end(), [&](std::uint64_t each) {
      return at(each).message()->sequence() <= last(state.epoch);
    });
    if (first != state.positions.end()) position = std::min(position, *first);
  }
  for (const std::uint64_t each : gaps_) {
    if (at(each).gap()->to > last(at(each).gap()->epoch)) return std::min(position, each);
  }
  return position;
}

std::uint64_t History::PositionAt(Time time) const {
  const auto first = std::partition_point(entries_.begin(), entries_.end(),
                                          [&](const Entry& entry) { return entry.newest_accepted < time; });
  return first_ + static_cast<std::uint64_t>(first - entries_.begin());
}

EpochState* History::FindMutable(std::string_view epoch) {
  const auto found =
      std::find_if(epochs_.begin(), epochs_.end(), [&](const EpochState& state) { return state.epoch == epoch; });
  return found == epochs_.end() ? nullptr : &*found;
}

const EpochState* History::Find(std::string_view epoch) const { return const_cast<History*>(this)->FindMutable(epoch); }

Cursor History::cursor() const {
  Cursor cursor;
  for (const EpochState& state : epochs_) cursor[state.epoch] = state.newest;
  return cursor;
}

EpochState& History::FindOrAdd(std::string_view epoch, Sequence floor, Time now) {
  if (EpochState* known = FindMutable(epoch)) return *known;
  if (epochs_.size() >= limits_.epochs) {
    // The one that has been silent for longest goes, with its messages if it still has any: nobody below could
    // resume in it.
    const auto oldest = std::min_element(epochs_.begin(), epochs_.end(),
                                         [](const auto& a, const auto& b) { return a.mentioned < b.mentioned; });
    epochs_.erase(oldest);
  }
  EpochState state;
  state.epoch = std::string(epoch);
  state.base = state.floor = std::max<Sequence>(floor, 1);
  state.newest = state.base - 1;
  state.mentioned = now;
  epochs_.push_back(std::move(state));
  return epochs_.back();
}

void History::DropFirst() {
  const Entry& entry = entries_.front();
  bytes_ -= SizeOf(entry);
  const Message* message = entry.message();
  const std::string_view epoch = message != nullptr ? message->epoch() : std::string_view(entry.gap()->epoch);
  const Sequence last = message != nullptr ? message->sequence() : entry.gap()->to;
  if (EpochState* state = FindMutable(epoch)) {
    if (!state->positions.empty() && state->positions.front() == first_) state->positions.pop_front();
    state->base = std::max(state->base, last + 1);
    state->floor = std::max(state->floor, state->base);
  }
  if (!gaps_.empty() && gaps_.front() == first_) gaps_.pop_front();
  if (message != nullptr) {
    --messages_;
    if (observer_ != nullptr) observer_->OnLeave(*message);
  }
  entries_.pop_front();
  ++first_;
}

}  // namespace aphlict::history
