// How long to wait before the next attempt, after so many that failed.
#pragma once

#include <algorithm>
#include <random>

#include "common/base/random.h"
#include "common/base/time.h"

namespace aphlict {

// Full jitter: after a random time of up to 100 ms, and each time up to twice as much, at most `most`, so that many
// that were lost together do not come back together. At once where nothing has failed.
inline Duration BackoffDelay(int failures, Duration most, RandomGenerator& random) {
  constexpr Duration kFirst = milliseconds(100);
  if (failures <= 0) return Duration::zero();
  const Duration bound = std::min<Duration>(most, kFirst * (1 << std::min(failures - 1, 10)));
  return Duration(std::uniform_int_distribution<Duration::rep>(0, bound.count())(random));
}

}  // namespace aphlict
