// The log of recent messages that a node keeps, in order of arrival, and what it knows of each epoch.
//
// Two readers use it: feeds, which are positions in it, and clients' replays. It is bounded by age and by bytes,
// and the oldest leaves first. Positions count from 0 for the first entry ever added, and are never reused, so a
// reader that was away finds out what it missed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <variant>
#include <vector>

#include "common/base/time.h"
#include "common/history/cursor.h"
#include "common/history/message.h"

namespace aphlict::history {

// Messages `from` to `to`, both included, may be missing here, and so for everybody below.
struct Gap {
  Epoch epoch;
  Sequence from;
  Sequence to;
};

struct Entry {
  std::variant<Message, Gap> what;
  Time newest_accepted;    // of all messages up to and including this entry: ascends, although some come late
  bool repeat = false;     // the message came before, numbered by another master: fed below, not shown to clients
  std::uint64_t next = 0;  // the position of the next message of the same instance, once there is one: see Link()

  const Message* message() const { return std::get_if<Message>(&what); }
  const Gap* gap() const { return std::get_if<Gap>(&what); }
};

// What a node knows of an epoch.
struct EpochState {
  Epoch epoch;
  Sequence newest = 0;                  // the last sequence dealt with: this node's cursor
  Sequence base = 1;                    // what comes before is not in the log, for it has left, or was never here
  Sequence floor = 1;                   // complete from here on: the base, or past the last gap in the log
  Time mentioned;                       // when a message or an upstream last spoke of it
  std::deque<std::uint64_t> positions;  // of its messages in the log, ascending, as their sequences are
};

class History {
 public:
  struct Limits {
    Duration age = seconds(60);
    std::size_t bytes = 64 * 1024 * 1024;
    std::size_t epochs = 64;
  };

  explicit History(const Limits& limits) : limits_(limits) {}

  // Adds a message, and moves the epoch's cursor to it. Returns false, and does nothing, when its sequence is at
  // or before the cursor: it was dealt with. The first message of an epoch that is not known sets its floor.
  // Nothing leaves for it before Trim(), so that whoever reads at a turn's end finds all that the turn brought.
  bool Add(Message message, bool repeat, Time now);
  // Records that messages are missing, and moves the cursor past them. Returns false when they were dealt with.
  bool AddGap(const Gap& gap, Time now);
  // An upstream speaks of an epoch: it is complete there from `floor` on. Sets the floor of one that is new here.
  void Mention(const Epoch& epoch, Sequence floor, Time now);
  // Everything up to `newest` that concerns this node has come.
  void Advance(const Epoch& epoch, Sequence newest, Time now);

  // Lets the oldest entries go until the others fit into the bound on bytes. The newest stays, whatever its size.
  // Returns false when there are so many that the rest is for another turn.
  bool Trim();
  // Lets go of what is too old, and forgets epochs that nobody has spoken of for twice the history's age before
  // `heard`, which is when those above were last heard of: while they are silent, nothing is known to be forgotten.
  // `keep` is never forgotten (a master's own epoch).
  void Expire(Time now, const Epoch& keep, Time heard);

  // The log's positions: [begin, end).
  std::uint64_t begin() const { return first_; }
  std::uint64_t end() const { return first_ + entries_.size(); }
  // REQUIRES: begin() <= position < end().
  const Entry& at(std::uint64_t position) const { return entries_[position - first_]; }

  // Notes in a message's entry where the next of its instance is, for an observer who keeps the first and the last
  // position of each instance. REQUIRES: begin() <= position < end().
  void Link(std::uint64_t position, std::uint64_t next) { entries_[position - first_].next = next; }

  // The first position from which on everything past `cursor` lies.
  std::uint64_t PositionAfter(const Cursor& cursor) const;
  // The first position from which on all messages lie that were accepted at or after `time`. Among them can be
  // older ones, which came late.
  std::uint64_t PositionAt(Time time) const;

  const std::vector<EpochState>& epochs() const { return epochs_; }
  const EpochState* Find(std::string_view epoch) const;
  Cursor cursor() const;

  std::size_t messages() const { return messages_; }
  std::size_t bytes() const { return bytes_; }
  const Limits& limits() const { return limits_; }
  // What is over them leaves with the next Trim() and Expire().
  void SetLimits(const Limits& limits) { limits_ = limits; }

  // Is told when a message is about to enter the log at end(), or to leave it from begin(), for the counts of its
  // instance.
  class Observer {
   public:
    virtual ~Observer() = default;
    virtual void OnEnter(const Message& message) = 0;
    virtual void OnLeave(const Message& message) = 0;
  };
  void SetObserver(Observer* observer) { observer_ = observer; }

 private:
  EpochState& FindOrAdd(std::string_view epoch, Sequence floor, Time now);
  EpochState* FindMutable(std::string_view epoch);
  void Append(Entry entry);
  void DropFirst();

  Limits limits_;
  Observer* observer_ = nullptr;
  std::deque<Entry> entries_;
  std::deque<std::uint64_t> gaps_;  // the positions of the gaps among the entries
  std::uint64_t first_ = 0;
  std::size_t messages_ = 0;
  std::size_t bytes_ = 0;
  std::vector<EpochState> epochs_;
};

}  // namespace aphlict::history
