// The numbers that a master gives to what it accepts.
#pragma once

#include <utility>

#include "common/history/cursor.h"

namespace aphlict::master {

class Numbering {
 public:
  // Goes on after `last`; 0 in an epoch that is new.
  explicit Numbering(history::Epoch epoch, history::Sequence last = 0) : epoch_(std::move(epoch)), last_(last) {}

  const history::Epoch& epoch() const { return epoch_; }
  history::Sequence last() const { return last_; }
  history::Sequence Next() { return ++last_; }
  // Takes back the last `count` numbers, which nobody has seen.
  void Rewind(std::size_t count) { last_ -= count; }

 private:
  history::Epoch epoch_;
  history::Sequence last_;
};

}  // namespace aphlict::master
