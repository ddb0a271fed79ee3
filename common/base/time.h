// Time as a node sees it: the monotonic clock, which a moved wall clock does not touch.
#pragma once

#include <chrono>

namespace aphlict {

using Duration = std::chrono::nanoseconds;
using Time = std::chrono::time_point<std::chrono::steady_clock, Duration>;  // CLOCK_MONOTONIC

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::seconds;

inline Time Now() { return std::chrono::steady_clock::now(); }

}  // namespace aphlict
