#include "common/server/forwarded.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace aphlict::server {
namespace {

// Whom these X-Forwarded-For headers tell of, to one who trusts 10.0.0.0/8 and fd00::/8, and was reached from 10.0.0.1.
std::string Told(const std::vector<std::string>& values) {
  http::Headers headers;
  headers.Add("Host", "h");
  for (const std::string& value : values) headers.Add("x-forwarded-FOR", value);
  const net::Address address = ForwardedFor(headers, *net::Address::Parse("10.0.0.1", 9),
                                            {*net::Network::Parse("10.0.0.0/8"), *net::Network::Parse("fd00::/8")});
  return address.port() == 0 ? address.host() : address.ToString();
}

TEST_CASE("the right-most address that is no trusted proxy is the client's") {
  CHECK(Told({"192.0.2.1"}) == "192.0.2.1");
  CHECK(Told({"198.51.100.7, 192.0.2.1"}) == "192.0.2.1");
  CHECK(Told({"192.0.2.1, 10.2.3.4, fd00::5"}) == "192.0.2.1");
  CHECK(Told({"10.9.9.9, 192.0.2.1, 10.2.3.4"}) == "192.0.2.1");  // whoever writes a trusted address gains nothing
  CHECK(Told({"192.0.2.1,10.2.3.4"}) == "192.0.2.1");
}

TEST_CASE("several headers are one list") {
  CHECK(Told({"198.51.100.7", "192.0.2.1", "10.2.3.4"}) == "192.0.2.1");
  CHECK(Told({"192.0.2.1", "10.2.3.4, 10.2.3.5"}) == "192.0.2.1");
}

TEST_CASE("proxies write addresses in several forms") {
  CHECK(Told({"192.0.2.1:5"}) == "192.0.2.1:5");
  CHECK(Told({"2001:db8::1"}) == "2001:db8::1");
  CHECK(Told({"[2001:db8::1]"}) == "2001:db8::1");
  CHECK(Told({"[2001:db8::1]:5"}) == "[2001:db8::1]:5");
  CHECK(Told({"192.0.2.1, ::ffff:10.1.1.1"}) == "192.0.2.1");
}

TEST_CASE("without a word that can be understood it is who is known so far") {
  CHECK(Told({}) == "10.0.0.1:9");
  for (const char* value :
       {"", " ", "unknown", "_hidden", "192.0.2.256", "192.0.2.1:x", "192.0.2.1:70000", "[::1", "[::1]5"}) {
    CAPTURE(value);
    CHECK(Told({value}) == "10.0.0.1:9");
    CHECK(Told({"192.0.2.1, " + std::string(value) + ", 10.0.0.7"}) == "10.0.0.7");
  }
}

TEST_CASE("where all are trusted it is the one who came first") { CHECK(Told({"10.0.0.9, 10.0.0.8"}) == "10.0.0.9"); }

}  // namespace
}  // namespace aphlict::server
