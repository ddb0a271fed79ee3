// How values are spread over fixed buckets, for a metric.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

#include "common/base/time.h"

namespace aphlict {

// Values are whole numbers of whatever unit its owner says.
class Histogram {
 public:
  // Each of `bounds` is the largest value of its bucket; one more bucket has what is larger than all. They ascend, and
  // outlive the histogram.
  explicit Histogram(std::span<const std::uint64_t> bounds) : bounds_(bounds), counts_(bounds.size() + 1) {}

  void Add(std::uint64_t value, std::uint64_t times = 1) {
    const auto bucket = std::lower_bound(bounds_.begin(), bounds_.end(), value) - bounds_.begin();
    counts_[static_cast<std::size_t>(bucket)] += times;
    sum_ += value * times;
  }
  // In microseconds. A duration below zero, as that from another node's clock can be, counts as zero.
  void Add(Duration duration, std::uint64_t times = 1) {
    const auto us = std::chrono::duration_cast<microseconds>(duration).count();
    Add(static_cast<std::uint64_t>(std::max<std::int64_t>(us, 0)), times);
  }

  std::span<const std::uint64_t> bounds() const { return bounds_; }
  // How many are in each bucket by itself, the one without a bound last.
  std::span<const std::uint64_t> counts() const { return counts_; }
  std::uint64_t count() const { return std::accumulate(counts_.begin(), counts_.end(), std::uint64_t{0}); }
  std::uint64_t sum() const { return sum_; }

 private:
  std::span<const std::uint64_t> bounds_;
  std::vector<std::uint64_t> counts_;
  std::uint64_t sum_ = 0;
};

}  // namespace aphlict
