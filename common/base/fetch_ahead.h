// For walks over thousands of objects, which are in no cache: those that come next are fetched while one is dealt with.
#pragma once

#include <cstddef>

namespace aphlict {

// Begins to fetch the line of the cache that `address` lies in, which need not be memory of anybody's.
inline void FetchLine(const void* address) {
  __builtin_prefetch(address);
  // To GCC, a function that does nothing but fetch does nothing at all, and its calls go away.
  asm volatile("");
}

// To be called at the `i`-th of `count`, from 0 on. Calls fetch(j) for one that comes some steps later, to fetch its
// own memory, and fetch_parts(j) for one whose memory is there by then, to fetch what it points to; for the first ones
// at once.
template <class Fetch, class FetchParts>
void FetchAhead(std::size_t i, std::size_t count, Fetch fetch, FetchParts fetch_parts) {
  constexpr std::size_t kSteps = 8;
  if (i == 0) {
    for (std::size_t j = 0; j < count && j < 2 * kSteps; ++j) fetch(j);
    for (std::size_t j = 0; j < count && j < kSteps; ++j) fetch_parts(j);
  }
  if (i + 2 * kSteps < count) fetch(i + 2 * kSteps);
  if (i + kSteps < count) fetch_parts(i + kSteps);
}

}  // namespace aphlict
