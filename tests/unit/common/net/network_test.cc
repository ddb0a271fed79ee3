#include "common/net/network.h"

#include <doctest/doctest.h>

#include <string>

namespace aphlict::net {
namespace {

Address Of(const std::string& host, std::uint16_t port = 80) { return *Address::Parse(host, port); }

bool Has(std::string_view network, const std::string& host) {
  const auto parsed = Network::Parse(network);
  REQUIRE_MESSAGE(parsed, network);
  return parsed->Contains(Of(host));
}

std::string Problem(std::string_view text) {
  const auto parsed = Network::Parse(text);
  return parsed ? "none" : parsed.error().text;
}

TEST_CASE("an IPv4 network holds the addresses with its prefix") {
  CHECK(Has("10.0.0.0/8", "10.0.0.0"));
  CHECK(Has("10.0.0.0/8", "10.255.255.255"));
  CHECK_FALSE(Has("10.0.0.0/8", "11.0.0.0"));
  CHECK_FALSE(Has("10.0.0.0/8", "9.255.255.255"));
  CHECK(Has("192.0.2.128/25", "192.0.2.255"));
  CHECK_FALSE(Has("192.0.2.128/25", "192.0.2.127"));
  CHECK(Has("192.0.2.6/31", "192.0.2.7"));
  CHECK_FALSE(Has("192.0.2.6/31", "192.0.2.8"));
  CHECK(Has("0.0.0.0/0", "255.255.255.255"));
}

TEST_CASE("an IPv6 network likewise") {
  CHECK(Has("2001:db8::/32", "2001:db8:ffff::1"));
  CHECK_FALSE(Has("2001:db8::/32", "2001:db9::1"));
  CHECK(Has("2001:db8::8/125", "2001:db8::f"));
  CHECK_FALSE(Has("2001:db8::8/125", "2001:db8::10"));
  CHECK(Has("::/0", "2001:db8::1"));
}

TEST_CASE("an address alone is a network of one") {
  CHECK(Has("192.0.2.7", "192.0.2.7"));
  CHECK_FALSE(Has("192.0.2.7", "192.0.2.6"));
  CHECK(Has("2001:db8::7", "2001:db8:0::7"));
  CHECK_FALSE(Has("2001:db8::7", "2001:db8::6"));
}

TEST_CASE("an IPv4 address that came in through a dual-stack socket is the same address") {
  CHECK(Has("10.0.0.0/8", "::ffff:10.1.2.3"));
  CHECK_FALSE(Has("10.0.0.0/8", "::ffff:11.1.2.3"));
  CHECK(Has("::ffff:10.0.0.0/104", "10.1.2.3"));
  CHECK_FALSE(Has("0.0.0.0/0", "2001:db8::1"));
  CHECK_FALSE(Has("10.0.0.0/8", "a00::"));  // the same four bytes, elsewhere
}

TEST_CASE("what is no network is said so") {
  const std::string expected = "expected a network such as 10.0.0.0/8, fd00::/8 or 192.0.2.7, got ";
  for (const char* text :
       {"", "/8", "10.0.0/8", "10.0.0.256", "name", "[::1]", "fe80::1%eth0", "10.0.0.0:80", " 10.0.0.0"}) {
    CHECK(Problem(text) == expected + "\"" + text + "\"");
  }
  for (const char* text : {"10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/x", "10.0.0.0/8 ", "10.0.0.0/8/8"}) {
    CHECK(Problem(text) == "expected a prefix from 0 to 32 in \"" + std::string(text) + "\"");
  }
  CHECK(Problem("::/129") == "expected a prefix from 0 to 128 in \"::/129\"");
  CHECK(Problem("10.0.0.1/8").starts_with("\"10.0.0.1/8\" is an address inside of a network"));
  CHECK(Problem("2001:db8::1/64").starts_with("\"2001:db8::1/64\" is an address inside"));
}

TEST_CASE("no address lies in any network") { CHECK_FALSE(Network::Parse("::/0")->Contains(Address())); }

TEST_CASE("loopback is both of its networks") {
  CHECK(AnyContains(Network::Loopback(), Of("127.0.1.1")));
  CHECK(AnyContains(Network::Loopback(), Of("::1")));
  CHECK(AnyContains(Network::Loopback(), Of("::ffff:127.0.0.1")));
  CHECK_FALSE(AnyContains(Network::Loopback(), Of("128.0.0.1")));
  CHECK_FALSE(AnyContains({}, Of("127.0.0.1")));
}

TEST_CASE("IPv4 is counted by address, IPv6 by /64") {
  CHECK(HolderOf(Of("192.0.2.1")) == HolderOf(Of("192.0.2.1", 81)));
  CHECK(HolderOf(Of("192.0.2.1")) == HolderOf(Of("::ffff:192.0.2.1")));
  CHECK(HolderOf(Of("192.0.2.1")) != HolderOf(Of("192.0.2.2")));
  CHECK(HolderOf(Of("2001:db8:0:1::1")) == HolderOf(Of("2001:db8:0:1:ffff:ffff:ffff:ffff")));
  CHECK(HolderOf(Of("2001:db8:0:1::1")) != HolderOf(Of("2001:db8:0:2::1")));
}

TEST_CASE("an address is the same again after it was bytes") {
  for (const char* host : {"192.0.2.1", "2001:db8::1", "::1"}) {
    CHECK(AddressOf(BytesOf(Of(host)), 443).ToString() == Of(host, 443).ToString());
    CHECK(AddressOf(BytesOf(Of(host)), 0).host() == host);
  }
}

}  // namespace
}  // namespace aphlict::net
