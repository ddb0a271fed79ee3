// The streams that have something to send at the end of a loop's turn, in the order in which they were written to.
//
// Most have one slice, which lies here rather than in the stream, so that sending it to thousands touches no memory of
// theirs: a send leaves little of anything in the caches.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "common/base/bytes.h"

namespace aphlict::net {

class Stream;
struct LoopCounters;

class Outbox {
 public:
  // `counters` outlive it.
  explicit Outbox(LoopCounters& counters) : counters_(counters) {}

  // Each stream has at most one place at a time, from Enter() until it is sent, or leaves. A place that it had before
  // is another's, or nobody's.
  bool Has(const Stream* stream, std::uint32_t place) const {
    return place < outgoing_.size() && outgoing_[place].stream == stream;
  }
  // `slice` is all that the stream has, or empty where that lies in its queue. `descriptor` is where the slice can be
  // sent as it is, or -1 where the stream has to do it. REQUIRES: the stream has no place.
  std::uint32_t Enter(Stream* stream, SharedBytes slice, int descriptor);
  // Of those who have a place.
  SharedBytes& slice(std::uint32_t place) { return outgoing_[place].slice; }
  const SharedBytes& slice(std::uint32_t place) const { return outgoing_[place].slice; }
  void Leave(std::uint32_t place) { outgoing_[place] = {}; }

  // Sends for each what the kernel takes. A stream that has failed tells its handler.
  void SendAll();

 private:
  struct Outgoing {
    Stream* stream = nullptr;  // null where it has gone since
    SharedBytes slice;
    int descriptor = -1;

    bool IsSentHere() const { return descriptor >= 0 && !slice.empty(); }
  };

  void SendOne(std::size_t place);

  LoopCounters& counters_;
  std::vector<Outgoing> outgoing_;
};

}  // namespace aphlict::net
