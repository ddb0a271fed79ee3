#include "common/http/body.h"

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <utility>

#include "tests/unit/support/text.h"

namespace aphlict::http {
namespace {

using testing::Long;

constexpr std::size_t kMiB = 1024 * 1024;

TEST_CASE("a body is what was appended, whatever its size and its pieces") {
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{65'535}, std::size_t{65'536},
                                 std::size_t{65'537}, std::size_t{131'072}, std::size_t{131'073}, kMiB}) {
    for (const std::size_t step : {std::size_t{1000}, std::size_t{65'536}, std::size_t{100'000}, kMiB}) {
      CAPTURE(size);
      CAPTURE(step);
      const std::string text = Long(size);
      Body body;
      for (std::size_t at = 0; at < size; at += step) body.Append(std::string_view(text).substr(at, step));
      CHECK(body.size() == size);
      CHECK(body.Whole() == text);
      CHECK(body.Whole() == text);
    }
  }
}

TEST_CASE("a body that grows takes little more than what has come of it") {
  Body body;
  const std::string text = Long(10'000);
  while (body.size() < 3 * kMiB) {
    body.Append(text);
    CHECK(body.memory() >= body.size());
    CHECK(body.memory() < body.size() + 130'000);
  }
}

TEST_CASE("a body that was taken or cleared is empty, and can be used again") {
  Body body;
  body.Append(Long(200'000));
  const std::string taken = std::move(body.Whole());
  CHECK(taken.size() == 200'000);
  body.Clear();
  CHECK(body.size() == 0);
  CHECK(body.memory() < 100);
  body.Append("next");
  CHECK(body.Whole() == "next");

  body.Append(Long(60'000));
  body.Clear();  // nobody has taken it
  CHECK(body.memory() < 100);
  body.Append(Long(200'000));
  CHECK(body.Whole().size() == 200'000);
  body.Clear();
  CHECK(body.memory() < 100);
}

}  // namespace
}  // namespace aphlict::http
