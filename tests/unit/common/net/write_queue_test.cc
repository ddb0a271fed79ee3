#include "common/net/write_queue.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <string>

namespace aphlict::net {
namespace {

std::string TextOf(const WriteQueue& queue) {
  std::string text;
  queue.ForEach([&](const SharedBytes& slice) {
    CHECK_FALSE(slice.empty());
    text += slice.view();
    return true;
  });
  return text;
}

TEST_CASE("a queue has what was pushed and not consumed, however both are cut") {
  std::mt19937 random(1);
  const auto draw = [&](std::size_t most) { return std::uniform_int_distribution<std::size_t>(0, most)(random); };
  for (int round = 0; round < 200; ++round) {
    WriteQueue queue;
    WriteQueue::SpareChunks spare;
    std::string expected;
    for (int step = 0; step < 200; ++step) {
      if (draw(2) > 0) {
        const std::string slice(1 + draw(5), static_cast<char>('a' + draw(25)));
        queue.Push(SharedBytes::Copy(slice), spare);
        expected += slice;
      } else {
        const std::size_t consumed = draw(std::min<std::size_t>(expected.size(), 60));
        queue.Consume(consumed, spare);
        expected.erase(0, consumed);
      }
      REQUIRE(queue.bytes() == expected.size());
      REQUIRE(queue.empty() == expected.empty());
      REQUIRE(TextOf(queue) == expected);
    }
    queue.Clear();
    CHECK((queue.empty() && TextOf(queue).empty()));
  }
}

TEST_CASE("chunks are lent again") {
  WriteQueue queue;
  WriteQueue::SpareChunks spare;
  const SharedBytes slice = SharedBytes::Copy("x");
  for (int i = 0; i < 3; ++i) {
    queue.Push(slice, spare);
    CHECK(spare.empty());
    queue.Consume(1, spare);
    CHECK(spare.size() == 1);
  }
  for (std::size_t i = 0; i < 1 + WriteQueue::Chunk::kSlots; ++i) queue.Push(slice, spare);
  queue.Consume(queue.bytes(), spare);
  CHECK(spare.size() == 2);
  queue.Push(slice, spare);
  CHECK(spare.size() == 1);
  queue.Clear();
}

TEST_CASE("a visit ends when it has seen enough") {
  WriteQueue queue;
  WriteQueue::SpareChunks spare;
  for (int i = 0; i < 40; ++i) queue.Push(SharedBytes::Copy("x"), spare);
  for (const int most : {1, 2, 15, 16, 17, 39, 40, 41}) {
    int seen = 0;
    queue.ForEach([&](const SharedBytes&) { return ++seen < most; });
    CHECK(seen == std::min(most, 40));
  }
}

}  // namespace
}  // namespace aphlict::net
