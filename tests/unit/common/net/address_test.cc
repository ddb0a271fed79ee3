#include "common/net/address.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>

#include "tests/unit/support/loop.h"

namespace aphlict::net {
namespace {

using testing::TestLoop;

Address Parsed(const std::string& host, std::uint16_t port = 80) {
  const auto address = Address::Parse(host, port);
  REQUIRE(address);
  return *address;
}

TEST_CASE("an address in text is read, and written with its port") {
  CHECK(Parsed("127.0.0.1", 22'280).ToString() == "127.0.0.1:22280");
  CHECK(Parsed("0.0.0.0", 0).ToString() == "0.0.0.0:0");
  CHECK(Parsed("::1", 65'535).ToString() == "[::1]:65535");
  CHECK(Parsed("2001:db8:0:0::5").ToString() == "[2001:db8::5]:80");
  CHECK(Parsed("10.1.2.3", 5).port() == 5);
  CHECK(Parsed("::", 5).port() == 5);
  CHECK(Parsed("10.1.2.3").family() == AF_INET);
  CHECK(Parsed("::").family() == AF_INET6);

  SUBCASE("an IPv4 address that came through a socket for both as IPv4") {
    CHECK(Parsed("::ffff:10.1.2.3").ToString() == "10.1.2.3:80");
  }
}

TEST_CASE("what is no address in text is refused, names and brackets included") {
  for (const char* host : {"", "localhost", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.4:5", "[::1]", "::1::", "x::1"}) {
    CAPTURE(host);
    const auto address = Address::Parse(host, 1);
    REQUIRE_FALSE(address);
    CHECK(address.error().text == std::string(host) + " is not an IP address");
  }
}

TEST_CASE("loopback is 127.0.0.0/8 and ::1") {
  CHECK(Parsed("127.0.0.1").is_loopback());
  CHECK(Parsed("127.255.0.9").is_loopback());
  CHECK(Parsed("::1").is_loopback());
  for (const char* host : {"0.0.0.0", "10.0.0.1", "128.0.0.1", "126.255.255.255", "::", "::2", "fe80::1"}) {
    CAPTURE(host);
    CHECK_FALSE(Parsed(host).is_loopback());
  }
}

TEST_CASE("no address is unknown") {
  const Address none;
  CHECK(none.ToString() == "unknown");
  CHECK(none.port() == 0);
  CHECK_FALSE(none.is_loopback());
}

TEST_CASE("a name is resolved before the loop runs") {
  const auto resolved = ResolveNow("localhost", 5);
  REQUIRE(resolved);
  REQUIRE_FALSE(resolved->empty());
  for (const Address& address : *resolved) {
    CHECK(address.is_loopback());
    CHECK(address.port() == 5);
  }
  const auto text = ResolveNow("::1", 5);
  REQUIRE(text);
  REQUIRE(text->size() == 1);
  CHECK(text->front().ToString() == "[::1]:5");

  SUBCASE("or the error says which did not") {
    const std::string name(64, 'x');  // longer than a label may be: nobody is asked
    const auto failed = ResolveNow(name, 5);
    REQUIRE_FALSE(failed);
    CHECK(failed.error().text.starts_with("resolve " + name + ": "));
  }
}

// Whatever a resolver answers.
struct Answer {
  Resolver::Done Done() {
    return [this](Result<std::vector<Address>> result) { results.push_back(std::move(result)); };
  }
  std::vector<Result<std::vector<Address>>> results;
};

TEST_CASE("an address in text is resolved at once") {
  TestLoop loop;
  Resolver resolver(loop);
  Answer answer;
  resolver.Resolve("127.0.0.1", 7, answer.Done());
  REQUIRE(answer.results.size() == 1);
  CHECK(answer.results[0]->front().ToString() == "127.0.0.1:7");
}

TEST_CASE("a name is resolved while the loop turns, and told once") {
  TestLoop loop;
  Resolver resolver(loop);
  Answer answer;
  resolver.Resolve("localhost", 7, answer.Done());
  CHECK(answer.results.empty());
  REQUIRE(loop.RunUntil([&] { return !answer.results.empty(); }));
  REQUIRE(answer.results[0]);
  REQUIRE_FALSE(answer.results[0]->empty());
  CHECK(answer.results[0]->front().is_loopback());
  CHECK(answer.results[0]->front().port() == 7);

  SUBCASE("and the next in its turn") {
    resolver.Resolve("localhost", 8, answer.Done());
    REQUIRE(loop.RunUntil([&] { return answer.results.size() == 2; }));
    CHECK(answer.results[1]->front().port() == 8);
  }
}

TEST_CASE("a name that does not resolve is told with the reason") {
  TestLoop loop;
  Resolver resolver(loop);
  Answer answer;
  for (const std::string& name : {std::string(64, 'x'), std::string(1000, 'x'), std::string("\xff.example")}) {
    answer.results.clear();
    resolver.Resolve(name, 7, answer.Done());
    REQUIRE(loop.RunUntil([&] { return !answer.results.empty(); }));
    REQUIRE_FALSE(answer.results[0]);
    CHECK(answer.results[0].error().text.starts_with("resolve " + name + ": "));
  }
}

TEST_CASE("one that is cancelled, asked something else, or gone is not told") {
  TestLoop loop;
  Answer answer;
  auto resolver = std::make_unique<Resolver>(loop);
  resolver->Resolve("localhost", 1, answer.Done());
  SUBCASE("cancelled") {
    resolver->Cancel();
    resolver->Cancel();
  }
  SUBCASE("gone") { resolver.reset(); }
  SUBCASE("asked something else") {
    resolver->Resolve("127.0.0.1", 2, answer.Done());
    REQUIRE(answer.results.size() == 1);
    CHECK(answer.results[0]->front().port() == 2);
    answer.results.clear();
  }
  CHECK(loop->RunUntilIdle(seconds(20)));
  CHECK(answer.results.empty());
}

TEST_CASE("the answer may destroy the resolver, or ask again") {
  TestLoop loop;
  auto resolver = std::make_unique<Resolver>(loop);
  int answers = 0;
  SUBCASE("destroy it") {
    resolver->Resolve("localhost", 1, [&](const auto&) {
      ++answers;
      resolver.reset();
    });
    REQUIRE(loop.RunUntil([&] { return answers == 1; }));
  }
  SUBCASE("ask again") {
    resolver->Resolve("localhost", 1, [&](const auto&) {
      ++answers;
      resolver->Resolve("localhost", 2, [&](const auto&) { ++answers; });
    });
    REQUIRE(loop.RunUntil([&] { return answers == 2; }));
  }
}

}  // namespace
}  // namespace aphlict::net
