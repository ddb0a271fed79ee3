#include "common/http/authorization.h"

#include <doctest/doctest.h>

#include <string>

namespace aphlict::http {
namespace {

std::string TokenOf(std::string_view value) {
  Headers headers;
  headers.Add("Host", "h");
  headers.Add("authorization", value);
  return std::string(BearerToken(headers).value_or("none"));
}

TEST_CASE("a bearer token is what follows the scheme, whose case does not matter") {
  CHECK(TokenOf("Bearer abc") == "abc");
  CHECK(TokenOf("bearer abc") == "abc");
  CHECK(TokenOf("BEARER   abc") == "abc");
  CHECK(TokenOf("Bearer a b") == "a b");
  CHECK(TokenOf(BearerValue("abc")) == "abc");
}

TEST_CASE("there is none in anything else") {
  for (const char* value : {"", "Bearer", "Bearer ", "Bearerabc", "Basic abc", "abc", "Digest Bearer abc"}) {
    CAPTURE(value);
    CHECK(TokenOf(value) == "none");
  }
  CHECK_FALSE(BearerToken(Headers()).has_value());
}

TEST_CASE("of two Authorization headers none counts") {
  Headers headers;
  headers.Add("Authorization", "Bearer abc");
  headers.Add("Authorization", "Bearer abc");
  CHECK_FALSE(BearerToken(headers).has_value());
}

}  // namespace
}  // namespace aphlict::http
