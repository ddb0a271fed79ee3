#include "common/base/resources.h"

#include <dirent.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>

namespace aphlict {

namespace {

constexpr char kDescriptors[] = "/proc/self/fd";

// One by one, at about a microsecond each.
std::uint64_t CountDescriptors() {
  DIR* const folder = opendir(kDescriptors);
  if (folder == nullptr) return 0;
  std::uint64_t count = 0;
  while (readdir(folder) != nullptr) ++count;
  closedir(folder);
  return count > 3 ? count - 3 : 0;  // ".", "..", and the one by which the folder is read
}

double Seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1'000'000;
}

}  // namespace

Resources::Resources(std::uint64_t connections)
    : started_(std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count()) {
  const std::uint64_t all = CountDescriptors();
  other_descriptors_ = all > connections ? all - connections : 0;
}

ResourceUse Resources::Look(std::uint64_t connections) const {
  ResourceUse use;
  use.started = started_;
  rusage usage{};
  if (getrusage(RUSAGE_SELF, &usage) == 0) use.cpu_seconds = Seconds(usage.ru_utime) + Seconds(usage.ru_stime);
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) use.max_descriptors = limit.rlim_cur;
  if (std::FILE* file = std::fopen("/proc/self/statm", "re")) {
    unsigned long long size = 0;
    unsigned long long resident = 0;
    if (std::fscanf(file, "%llu %llu", &size, &resident) == 2) {
      const auto page = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
      use.virtual_bytes = size * page;
      use.resident_bytes = resident * page;
    }
    std::fclose(file);
  }
  // Linux 6.2 and later have the number as the folder's size; before that, only counting is exact, and with ten
  // thousands of clients it would hold everybody up.
  struct stat folder {};
  if (stat(kDescriptors, &folder) == 0 && folder.st_size > 0) {
    use.open_descriptors = static_cast<std::uint64_t>(folder.st_size);
  } else {
    use.open_descriptors = other_descriptors_ + connections;
  }
  return use;
}

}  // namespace aphlict
