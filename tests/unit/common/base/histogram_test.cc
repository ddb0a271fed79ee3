#include "common/base/histogram.h"

#include <doctest/doctest.h>

#include <array>
#include <string>

namespace aphlict {
namespace {

constexpr std::array<std::uint64_t, 3> kBounds = {0, 10, 100};

std::string Text(const Histogram& histogram) {
  std::string text;
  for (const std::uint64_t count : histogram.counts()) text += std::to_string(count) + " ";
  return text + "sum " + std::to_string(histogram.sum());
}

TEST_CASE("a value is in the first bucket whose bound is not below it") {
  Histogram histogram(kBounds);
  CHECK(Text(histogram) == "0 0 0 0 sum 0");
  histogram.Add(std::uint64_t{0});
  CHECK(Text(histogram) == "1 0 0 0 sum 0");
  histogram.Add(std::uint64_t{1});
  histogram.Add(std::uint64_t{10});
  CHECK(Text(histogram) == "1 2 0 0 sum 11");
  histogram.Add(std::uint64_t{11});
  histogram.Add(std::uint64_t{100});
  CHECK(Text(histogram) == "1 2 2 0 sum 122");
  CHECK(histogram.bounds().size() == 3);
}

TEST_CASE("what is larger than all bounds has a bucket of its own") {
  Histogram histogram(kBounds);
  histogram.Add(std::uint64_t{101});
  histogram.Add(std::uint64_t{1'000'000});
  CHECK(Text(histogram) == "0 0 0 2 sum 1000101");
  CHECK(histogram.count() == 2);
}

TEST_CASE("a value that occurs several times at once is counted as often, in the sum, too") {
  Histogram histogram(kBounds);
  histogram.Add(std::uint64_t{7}, 3);
  histogram.Add(std::uint64_t{50}, 0);
  CHECK(Text(histogram) == "0 3 0 0 sum 21");
  CHECK(histogram.count() == 3);
}

TEST_CASE("durations are in microseconds, rounded down, and none is below zero") {
  Histogram histogram(kBounds);
  histogram.Add(microseconds(10), 2);
  CHECK(Text(histogram) == "0 2 0 0 sum 20");
  histogram.Add(Duration(10'999));
  CHECK(Text(histogram) == "0 3 0 0 sum 30");
  histogram.Add(seconds(-5));
  CHECK(Text(histogram) == "1 3 0 0 sum 30");
}

}  // namespace
}  // namespace aphlict
