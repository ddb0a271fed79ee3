// The numbers that a master gives to what it accepts.
#pragma once

#include "common/base/random.h"
#include "common/history/cursor.h"

namespace aphlict::master {

// A numbering of its own for each life of the process: without durable state, nobody can know where the last one
// ended.
class Numbering {
 public:
  const history::Epoch& epoch() const { return epoch_; }
  history::Sequence Next() { return ++last_; }

 private:
  history::Epoch epoch_ = RandomId();
  history::Sequence last_ = 0;
};

}  // namespace aphlict::master
