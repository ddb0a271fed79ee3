// What this process takes of the system, as the kernel says.
#pragma once

#include <cstdint>

namespace aphlict {

struct ResourceUse {
  double cpu_seconds = 0;  // of user and system
  std::uint64_t resident_bytes = 0;
  std::uint64_t virtual_bytes = 0;
  std::uint64_t open_descriptors = 0;
  std::uint64_t max_descriptors = 0;
  double started = 0;  // seconds since 1970
};

class Resources {
 public:
  // At about the process's start, and while it has few descriptors: they are counted one by one. `connections` are
  // those of them that come and go.
  explicit Resources(std::uint64_t connections = 0);

  // `connections` likewise, as many as there are now.
  ResourceUse Look(std::uint64_t connections) const;

 private:
  double started_;
  std::uint64_t other_descriptors_;
};

}  // namespace aphlict
