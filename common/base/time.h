// Time as a node sees it: the monotonic clock, which a moved wall clock does not touch.
#pragma once

#include <chrono>
#include <cstdint>

namespace aphlict {

using Duration = std::chrono::nanoseconds;
using Time = std::chrono::time_point<std::chrono::steady_clock, Duration>;  // CLOCK_MONOTONIC

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

// Whether a clock's reading in microseconds, which another node or a file tells, can be one: at most 35 years from 0.
// Sums and differences of a few such readings fit a Time.
inline constexpr std::int64_t kMaxClockReading = std::int64_t{1} << 50;
constexpr bool IsClockReading(std::int64_t reading) {
  return reading >= -kMaxClockReading && reading <= kMaxClockReading;
}

inline Time Now() { return std::chrono::steady_clock::now(); }

}  // namespace aphlict
