#include "common/http/origin.h"

#include <doctest/doctest.h>

#include <string>

namespace aphlict::http {
namespace {

bool Matches(std::string_view pattern, std::string_view origin) {
  const auto parsed = OriginPattern::Parse(pattern);
  REQUIRE_MESSAGE(parsed, pattern);
  return parsed->Matches(origin);
}

std::string Problem(std::string_view text) {
  const auto parsed = OriginPattern::Parse(text);
  if (parsed) return "none";
  const std::string start =
      "expected an origin such as https://phabricator.example.com or https://*.example.com, got \"" +
      std::string(text) + "\": ";
  REQUIRE(parsed.error().text.starts_with(start));
  return parsed.error().text.substr(start.size());
}

TEST_CASE("an origin is scheme, host and port") {
  const char* pattern = "https://phabricator.example.com";
  CHECK(Matches(pattern, "https://phabricator.example.com"));
  CHECK(Matches(pattern, "https://PHABRICATOR.example.com:443"));
  for (const char* other :
       {"http://phabricator.example.com", "https://phabricator.example.com:444", "https://example.com",
        "https://x.phabricator.example.com", "https://phabricator.example.com.evil.com", "https://evil.com",
        "https://phabricator.example.com/", "https://phabricator.example.com@evil.com", "phabricator.example.com",
        "null", "", "https://", "wss://phabricator.example.com", "https://phabricator.example.com https://evil.com"}) {
    CAPTURE(other);
    CHECK_FALSE(Matches(pattern, other));
  }
  CHECK(Matches("http://127.0.0.1:8080", "http://127.0.0.1:8080"));
  CHECK_FALSE(Matches("http://127.0.0.1:8080", "http://127.0.0.1"));
  CHECK(Matches("http://[::1]:8080", "http://[::1]:8080"));
}

TEST_CASE("a wildcard stands for all names below a name, and not for that itself") {
  const char* pattern = "https://*.example.com";
  CHECK(Matches(pattern, "https://a.example.com"));
  CHECK(Matches(pattern, "https://b.A.Example.com"));
  for (const char* other : {"https://example.com", "https://.example.com", "https://aexample.com",
                            "http://a.example.com", "https://a.example.com:8443", "https://a.example.com.evil.com"}) {
    CAPTURE(other);
    CHECK_FALSE(Matches(pattern, other));
  }
  CHECK(Matches("http://*.example.com:8080", "http://a.example.com:8080"));
}

TEST_CASE("of several patterns one is enough") {
  const std::vector<OriginPattern> patterns = {*OriginPattern::Parse("https://a.com"),
                                               *OriginPattern::Parse("http://b.com")};
  CHECK(AnyMatches(patterns, "https://a.com"));
  CHECK(AnyMatches(patterns, "http://b.com"));
  CHECK_FALSE(AnyMatches(patterns, "https://b.com"));
  CHECK_FALSE(AnyMatches({}, "https://a.com"));
}

TEST_CASE("what is no origin is said so") {
  CHECK(Problem("phabricator.example.com").starts_with("no scheme"));
  CHECK(Problem("*").starts_with("no scheme"));
  CHECK(Problem("") != "none");
  CHECK(Problem("wss://a.com") == "an origin begins with http:// or https://");
  CHECK(Problem("https://a.com/") == "an origin has no path");
  CHECK(Problem("https://a.com/x") == "an origin has no path");
  CHECK(Problem("https://a.com?x") == "an origin has no path");
  CHECK(Problem("https://a.*.com") == "the host is not a name or an address");
  CHECK(Problem("https://*a.com") == "the host is not a name or an address");
  CHECK(Problem("https://*.") != "none");
  CHECK(Problem("https://*.*.com") != "none");
  CHECK(Problem("https://*") != "none");
}

}  // namespace
}  // namespace aphlict::http
