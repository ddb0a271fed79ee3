#include "common/base/result.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>

using namespace aphlict;

namespace {

Result<std::unique_ptr<int>> Positive(int value) {
  if (value <= 0) return Error{"not positive", 78};
  return std::make_unique<int>(value);
}

Result<void> Check(bool good) { return good ? Result<void>() : Error{"not good", 1}; }

}  // namespace

TEST_CASE("a result holds a value") {
  Result<std::unique_ptr<int>> result = Positive(3);
  REQUIRE(result);
  CHECK(result.has_value());
  CHECK(**result == 3);
  CHECK(*result->get() == 3);

  SUBCASE("which can be moved out, even if it cannot be copied") {
    const std::unique_ptr<int> taken = *std::move(result);
    CHECK(*taken == 3);
  }
}

TEST_CASE("or a result holds the reason why there is no value") {
  const Result<std::unique_ptr<int>> result = Positive(-1);
  REQUIRE_FALSE(result);
  CHECK(result.error().text == "not positive");
  CHECK(result.error().code == 78);

  SUBCASE("even where the value is a text itself") {
    const Result<std::string> text = Error{"no text"};
    CHECK_FALSE(text.has_value());
    CHECK(text.error().code == 0);
  }
}

TEST_CASE("a result without a value tells success from failure") {
  CHECK(Check(true));
  REQUIRE_FALSE(Check(false));
  CHECK(Check(false).error().text == "not good");
}
