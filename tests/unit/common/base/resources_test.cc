#include "common/base/resources.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <vector>

namespace aphlict {
namespace {

TEST_CASE("what a process takes is what it takes") {
  const Resources resources;
  const ResourceUse before = resources.Look(0);
  CHECK(before.max_descriptors >= before.open_descriptors);
  CHECK(before.open_descriptors >= 3);
  CHECK(before.started > 1'700'000'000);

  SUBCASE("memory grows by what is touched") {
    const std::vector<char> bytes(64 * 1024 * 1024, 'x');
    const ResourceUse after = resources.Look(0);
    CHECK(after.resident_bytes >= before.resident_bytes + 60 * 1024 * 1024);
    CHECK(after.virtual_bytes >= after.resident_bytes);
    CHECK(bytes.back() == 'x');
  }
  SUBCASE("descriptors by what is opened, which whoever opens connections tells") {
    std::vector<int> opened;
    for (int i = 0; i < 5; ++i) opened.push_back(open("/dev/null", O_RDONLY));
    CHECK(resources.Look(opened.size()).open_descriptors == before.open_descriptors + 5);
    for (const int descriptor : opened) close(descriptor);
    CHECK(resources.Look(0).open_descriptors == before.open_descriptors);
  }
  SUBCASE("time by what is computed") {
    const double until = before.cpu_seconds + 0.02;
    while (resources.Look(0).cpu_seconds < until) continue;
    CHECK(resources.Look(0).cpu_seconds < until + 60);
  }
}

}  // namespace
}  // namespace aphlict
