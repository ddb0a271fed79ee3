#include "common/admin/access.h"

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

namespace aphlict::admin {
namespace {

constexpr const char* kToken = "0123456789abcdef";

// A request, and who makes it where.
struct Ask {
  std::string method = "GET";
  std::string target = "/status/";
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::string peer = "192.0.2.1";
  std::string local = "192.0.2.9";
};

Ask Publish() { return {.method = "POST", .target = "/?instance=dog"}; }
Ask Status() { return {}; }
Ask Metrics() { return {.target = "/metrics"}; }

Ask With(Ask ask, const std::string& header, const std::string& value) {
  ask.headers.emplace_back(header, value);
  return ask;
}
Ask From(Ask ask, const std::string& peer) {
  ask.peer = peer;
  return ask;
}
Ask OnLoopback(Ask ask, const std::string& host) {
  ask.local = ask.peer = "127.0.0.1";
  ask.headers.emplace_back("Host", host);
  return ask;
}

// "allowed", or the refusal's name.
std::string Outcome(const Access& access, const Ask& ask, const Secrets* secrets = nullptr,
                    std::string* text = nullptr) {
  http::RequestHead head;
  head.method = ask.method;
  head.target = ask.target;
  for (const auto& [name, value] : ask.headers) head.headers.Add(name, value);
  const auto denial = Deny(access, secrets, {"own.example.com"},
                           {head, [&] { return *net::Address::Parse(ask.peer, 5); },
                            [&] { return *net::Address::Parse(ask.local, 22281); }});
  if (denial && text != nullptr) *text = denial->text;
  return denial ? std::string(server::RefusalName(denial->refusal)) : "allowed";
}

std::vector<net::Network> Networks(const std::vector<std::string>& texts) {
  std::vector<net::Network> networks;
  for (const std::string& text : texts) networks.push_back(*net::Network::Parse(text));
  return networks;
}

Access Allow(const std::vector<std::string>& networks) {
  Access access;
  access.allow.fill(Networks(networks));
  return access;
}

TEST_CASE("what Phabricator publishes is let in without looking up who asks") {
  http::RequestHead head;
  head.method = "POST";
  head.target = "/?instance=dog";
  head.headers.Add("Host", "relay.example.com");
  const auto never = [] {
    FAIL_CHECK("an address is looked up");
    return net::Address();
  };
  CHECK(!Deny({}, nullptr, {}, {head, never, never}));
}

TEST_CASE("without a list, everybody who reaches the port may") {
  for (const Ask& ask : {Publish(), Status(), Metrics()}) CHECK(Outcome({}, ask) == "allowed");
  CHECK(Access().open() == std::vector{Right::kPublish, Right::kStatus, Right::kMetrics});
}

TEST_CASE("whether a node is well, everybody may ask, from everywhere and by any name") {
  for (const char* path : {"/healthz", "/readyz", "/readyz?verbose"}) {
    const Ask ask = {.target = path};
    CHECK(Outcome(Allow({}), ask) == "allowed");
    CHECK(Outcome({}, OnLoopback(ask, "a.name.of.the.web")) == "allowed");
    CHECK(Outcome(Allow({}), With(ask, "Authorization", "Bearer x")) == "allowed");
    CHECK(Outcome(Allow({}), {.method = "HEAD", .target = path}) == "allowed");
    CHECK(Outcome(Allow({}), {.method = "POST", .target = path}) == "network");
  }
  CHECK(Outcome(Allow({}), {.target = "/healthz/status"}) == "network");
}

TEST_CASE("with a list, those who are in it") {
  const Access access = Allow({"192.0.2.0/24", "2001:db8::/32"});
  CHECK(access.open().empty());
  for (const Ask& ask : {Publish(), Status(), Metrics()}) {
    CHECK(Outcome(access, ask) == "allowed");
    CHECK(Outcome(access, From(ask, "2001:db8::5")) == "allowed");
    CHECK(Outcome(access, From(ask, "::ffff:192.0.2.5")) == "allowed");
    CHECK(Outcome(access, From(ask, "192.0.3.1")) == "network");
    CHECK(Outcome(access, From(ask, "::1")) == "network");
    CHECK(Outcome(Allow({}), ask) == "network");
  }
  std::string text;
  Outcome(access, From(Publish(), "198.51.100.7"), nullptr, &text);
  CHECK(text == "publish is not for 198.51.100.7");
}

TEST_CASE("each right has a list of its own") {
  Access access;
  access.allow[static_cast<std::size_t>(Right::kPublish)] = Networks({"192.0.2.1"});
  access.allow[static_cast<std::size_t>(Right::kMetrics)] = Networks({"192.0.2.2"});
  CHECK(access.open() == std::vector{Right::kStatus});
  CHECK(Outcome(access, Publish()) == "allowed");
  CHECK(Outcome(access, From(Publish(), "192.0.2.2")) == "network");
  CHECK(Outcome(access, Metrics()) == "network");
  CHECK(Outcome(access, From(Metrics(), "192.0.2.2")) == "allowed");
  CHECK(Outcome(access, From(Status(), "192.0.2.3")) == "allowed");
}

TEST_CASE("whatever is posted is a publish, and whatever else is read is the status") {
  Access access = Allow({"192.0.2.1"});
  access.allow[static_cast<std::size_t>(Right::kPublish)] = Networks({});
  CHECK(Outcome(access, {.method = "POST", .target = "/status/"}) == "network");
  CHECK(Outcome(access, {.method = "POST", .target = "/metrics"}) == "network");
  CHECK(Outcome(access, {.method = "GET", .target = "/"}) == "allowed");
  CHECK(Outcome(access, {.method = "DELETE", .target = "/nope"}) == "allowed");
}

TEST_CASE("a token opens what the list does not") {
  const auto secrets = Secrets::Parse(kToken);
  const Access access = Allow({"192.0.2.1"});
  const std::string bearer = std::string("Bearer ") + kToken;
  std::string text;
  for (const Ask& ask : {Publish(), Status(), Metrics()}) {
    const Ask stranger = From(ask, "198.51.100.7");
    CHECK(Outcome(access, With(stranger, "Authorization", bearer), &*secrets) == "allowed");
    CHECK(Outcome(access, With(stranger, "Authorization", bearer + "x"), &*secrets) == "secret");
    CHECK(Outcome(access, stranger, &*secrets, &text) == "network");
    CHECK(text.ends_with("is not for 198.51.100.7; a token opens it (Authorization: Bearer)"));
    // Where there is no token, none is taken.
    CHECK(Outcome(access, With(stranger, "Authorization", bearer)) == "network");
    // Who is in the list needs none.
    CHECK(Outcome(access, With(ask, "Authorization", "Bearer wrong"), &*secrets) == "allowed");
  }
}

TEST_CASE("another server's page does not publish, also not with a token") {
  const auto secrets = Secrets::Parse(kToken);
  for (const char* origin : {"https://evil.example.com", "null", "http://own.example.com:22282", ""}) {
    Ask ask = With(With(Publish(), "Host", "own.example.com:22281"), "Origin", origin);
    CHECK(Outcome({}, ask) == "origin");
    CHECK(Outcome({}, With(ask, "Authorization", std::string("Bearer ") + kToken), &*secrets) == "origin");
  }
}

TEST_CASE("a page of this very port publishes, by a name that no other page can have") {
  Access access;
  access.hosts = {"aphlict.internal"};
  const auto asked_as = [&](const std::string& host) {
    return Outcome(access, With(With(Publish(), "Host", host), "Origin", "http://" + host));
  };
  for (const char* host : {"own.example.com:22281", "aphlict.internal", "192.0.2.7:22281", "phab:22281"}) {
    CAPTURE(host);
    CHECK(asked_as(host) == "allowed");
  }
  // It lets its own name resolve to this host.
  CHECK(asked_as("evil.example.com:22281") == "host");
}

TEST_CASE("the dashboard is for everybody") {
  CHECK(Outcome(Allow({"192.0.2.1"}), From({.method = "GET", .target = "/dashboard/"}, "198.51.100.7")) == "allowed");
  CHECK(Outcome(Allow({"192.0.2.1"}), From({.method = "GET", .target = "/dashboard"}, "198.51.100.7")) == "allowed");
  CHECK(Outcome(Allow({"192.0.2.1"}), From({.method = "GET", .target = "/dash"}, "198.51.100.7")) == "network");
}

TEST_CASE("another server's page may not read the status or the metrics") {
  for (const Ask& ask : {Status(), Metrics()}) {
    const Ask here = With(ask, "Host", "own.example.com:22281");
    CHECK(Outcome({}, With(here, "Origin", "http://own.example.com:22281")) == "allowed");
    CHECK(Outcome({}, With(here, "Origin", "http://OWN.example.com:22281")) == "allowed");
    for (const char* origin :
         {"http://own.example.com", "http://evil.example.com:22281", "null", "own.example.com:22281"}) {
      CAPTURE(origin);
      CHECK(Outcome({}, With(here, "Origin", origin)) == "origin");
    }
  }
}

TEST_CASE("a publish may call this host as it likes: no page can post without an Origin") {
  CHECK(Outcome({}, OnLoopback(Publish(), "notify.example.com:22281")) == "allowed");
  CHECK(Outcome({}, With(OnLoopback(Publish(), "evil.example.com"), "Origin", "http://evil.example.com")) == "host");
}

TEST_CASE("over loopback the status and the metrics are asked for by a name that is not a page's") {
  Access access;
  access.hosts = {"aphlict.internal"};
  std::string text;
  for (const Ask& ask : {Status(), Metrics()}) {
    for (const char* host : {"127.0.0.1:22281", "[::1]:22281", "localhost", "phab:22281", "own.example.com:22281",
                             "aphlict.internal:22281", "APHLICT.internal"}) {
      CAPTURE(host);
      CHECK(Outcome(access, OnLoopback(ask, host)) == "allowed");
    }
    CHECK(Outcome(access, OnLoopback(ask, "evil.example.com:22281"), nullptr, &text) == "host");
    CHECK(text.starts_with("\"evil.example.com\" may be the name of a web page"));
    CHECK(Outcome({}, OnLoopback(ask, "aphlict.internal:22281")) == "host");
    Ask dual = OnLoopback(ask, "evil.example.com");
    dual.local = "::ffff:127.0.0.1";
    CHECK(Outcome({}, dual) == "host");
    // Elsewhere nobody knows all names of this host.
    CHECK(Outcome({}, With(ask, "Host", "evil.example.com")) == "allowed");
    // HTTP/1.0 has no Host, and no browser speaks it.
    Ask old = ask;
    old.local = "127.0.0.1";
    CHECK(Outcome({}, old) == "allowed");
  }
}

TEST_CASE("a page does not know the token, so that a name does not matter with it") {
  const auto secrets = Secrets::Parse(kToken);
  const Ask ask = OnLoopback(Status(), "behind.a.proxy.example.com");
  CHECK(Outcome({}, ask, &*secrets) == "host");
  CHECK(Outcome({}, With(ask, "Authorization", std::string("Bearer ") + kToken), &*secrets) == "allowed");
}

}  // namespace
}  // namespace aphlict::admin
