// How often something happened, by reason.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <numeric>

namespace aphlict {

// `Reason` is an enumeration whose values are 0 to `kReasons` - 1.
template <class Reason, std::size_t kReasons>
class Counts {
 public:
  void Add(Reason reason) { ++counts_[static_cast<std::size_t>(reason)]; }
  std::uint64_t of(Reason reason) const { return counts_[static_cast<std::size_t>(reason)]; }
  // Calls visit(reason, count) for each reason, in their order.
  template <class Visit>
  void ForEach(Visit visit) const {
    for (std::size_t i = 0; i < kReasons; ++i) visit(static_cast<Reason>(i), counts_[i]);
  }
  std::uint64_t total() const { return std::accumulate(counts_.begin(), counts_.end(), std::uint64_t{0}); }

 private:
  std::array<std::uint64_t, kReasons> counts_{};
};

}  // namespace aphlict
