#include "common/http/head.h"

#include <doctest/doctest.h>

#include <string>

using namespace aphlict;
using namespace aphlict::http;

namespace {

RequestHead WithTarget(const char* target) {
  RequestHead head;
  head.target = target;
  return head;
}

std::string UrlError(std::string_view text) {
  const Result<Url> url = ParseUrl(text);
  return url ? "none" : url.error().text;
}

}  // namespace

TEST_CASE("headers are found without regard to case") {
  Headers headers;
  headers.Add("Host", "a");
  headers.Add("X-One", "1");
  headers.Add("x-ONE", "2");
  CHECK(headers.Find("host") == "a");
  CHECK(headers.Find("X-One") == "1");
  CHECK_FALSE(headers.Find("X-On"));
  CHECK_FALSE(headers.Find(""));
  CHECK(headers.Count("x-one") == 2);
  CHECK(headers.Count("x-two") == 0);
  CHECK(headers.size() == 3);
}

TEST_CASE("a token is looked for in lists") {
  Headers headers;
  headers.Add("Connection", "keep-alive, Upgrade");
  headers.Add("connection", ",\tclose ,");
  headers.Add("Upgrade", "websocket-not");
  CHECK(headers.HasToken("Connection", "upgrade"));
  CHECK(headers.HasToken("connection", "Keep-Alive"));
  CHECK(headers.HasToken("connection", "close"));
  CHECK_FALSE(headers.HasToken("Connection", "keep"));
  CHECK_FALSE(headers.HasToken("Connection", "keep-alive, Upgrade"));
  CHECK_FALSE(headers.HasToken("Upgrade", "websocket"));
  CHECK_FALSE(headers.HasToken("Other", "close"));
}

TEST_CASE("a target has a path and a query") {
  CHECK(WithTarget("/").path() == "/");
  CHECK(WithTarget("/").query() == "");
  CHECK(WithTarget("/status/?instance=dog").path() == "/status/");
  CHECK(WithTarget("/status/?instance=dog").query() == "instance=dog");
  CHECK(WithTarget("/a?b?c").query() == "b?c");
  CHECK(WithTarget("/a?").query() == "");
  CHECK(WithTarget("*").path() == "*");

  SUBCASE("also in its absolute form") {
    CHECK(WithTarget("http://host:80/path?q=/x").path() == "/path");
    CHECK(WithTarget("http://host:80/path?q=/x").query() == "q=/x");
    CHECK(WithTarget("http://host").path() == "/");
    CHECK(WithTarget("http://host?q").path() == "/");
    CHECK(WithTarget("http://host?q").query() == "q");
  }
  SUBCASE("and a URL inside a target makes it no absolute one") {
    CHECK(WithTarget("/go?to=http://host/path").path() == "/go");
    CHECK(WithTarget("/http://host/path").path() == "/http://host/path");
  }
}

TEST_CASE("comparing without case is for ASCII letters") {
  CHECK(EqualsIgnoreCase("aZ-09", "Az-09"));
  CHECK_FALSE(EqualsIgnoreCase("a", "ab"));
  CHECK_FALSE(EqualsIgnoreCase("[", "{"));
  CHECK_FALSE(EqualsIgnoreCase("@", "`"));
  CHECK(EqualsIgnoreCase("", ""));
}

TEST_CASE("percent-encoded text is decoded") {
  CHECK(PercentDecode("a%20b%2Fc%c3%A9") == "a b/cé");
  CHECK(PercentDecode("a+b") == "a b");
  CHECK(PercentDecode("%2B") == "+");
  CHECK(PercentDecode("%00") == std::string(1, '\0'));
  CHECK(PercentDecode("%") == "%");
  CHECK(PercentDecode("100%") == "100%");
  CHECK(PercentDecode("%4") == "%4");
  CHECK(PercentDecode("%4g%g4") == "%4g%g4");
  CHECK(PercentDecode("%%41") == "%A");
}

TEST_CASE("a query's parameter is found") {
  CHECK(QueryParameter("instance=dog", "instance") == "dog");
  CHECK(QueryParameter("a=1&b=2&a=3", "a") == "1");
  CHECK(QueryParameter("a=1&b=2", "b") == "2");
  CHECK(QueryParameter("a=x%26y+z", "a") == "x&y z");
  CHECK(QueryParameter("%61=1", "a") == "1");
  CHECK(QueryParameter("a=b=c", "a") == "b=c");
  CHECK(QueryParameter("a", "a") == "");
  CHECK(QueryParameter("a=", "a") == "");
  CHECK(QueryParameter("&&a=1", "a") == "1");
  CHECK_FALSE(QueryParameter("", "a"));
  CHECK_FALSE(QueryParameter("ab=1", "a"));
  CHECK_FALSE(QueryParameter("b=a", "a"));
}

TEST_CASE("a URL is taken apart") {
  const Result<Url> url = ParseUrl("https://master.example:22281/feed/?a=b");
  REQUIRE(url);
  CHECK(url->scheme == "https");
  CHECK(url->secure());
  CHECK(url->host == "master.example");
  CHECK(url->port == 22281);
  CHECK(url->path == "/feed/?a=b");
  CHECK(url->authority() == "master.example:22281");

  SUBCASE("with defaults for what it leaves out") {
    CHECK(ParseUrl("http://h")->port == 80);
    CHECK(ParseUrl("ws://h")->port == 80);
    CHECK(ParseUrl("wss://h")->port == 443);
    CHECK(ParseUrl("https://h")->port == 443);
    CHECK(ParseUrl("http://h")->path == "/");
    CHECK(ParseUrl("http://h?q")->path == "/?q");
    CHECK_FALSE(ParseUrl("ws://h")->secure());
    CHECK(ParseUrl("wss://h")->secure());
  }
  SUBCASE("with a scheme in capitals") { CHECK(ParseUrl("HTTP://h")->scheme == "http"); }
  SUBCASE("with an address of either kind") {
    CHECK(ParseUrl("http://127.0.0.1:8080")->host == "127.0.0.1");
    CHECK(ParseUrl("http://[::1]:8080/")->host == "::1");
    CHECK(ParseUrl("http://[::1]:8080/")->port == 8080);
    CHECK(ParseUrl("http://[2001:db8::1]")->port == 80);
    CHECK(ParseUrl("http://[2001:db8::1]")->authority() == "[2001:db8::1]:80");
  }
  SUBCASE("with a host name as containers have them") { CHECK(ParseUrl("http://my_app-1:65535")->host == "my_app-1"); }
}

TEST_CASE("a URL that cannot be used says why") {
  for (std::string text : {"", "host:80", "//host", "http:/host", "ftp://host", "://host"}) {
    CAPTURE(text);
    CHECK(UrlError(text).find("scheme") != std::string::npos);
  }
  for (std::string text : {"http://", "http:///path", "http://:80", "http://?q", "http://ho%20st", "http://[]",
                           "http://[host]", "http://[::1", "http://[::1]80", "http://ho|st"}) {
    CAPTURE(text);
    CHECK(UrlError(text) != "none");
  }
  for (std::string text : {"http://h:0", "http://h:65536", "http://h:", "http://h:8o", "http://h:-1", "http://h:+1",
                           "http://[::1]:", "http://h:99999999999"}) {
    CAPTURE(text);
    CHECK(UrlError(text) == "the port is not a number from 1 to 65535");
  }
  CHECK(UrlError("http://user:secret@host/").find("user information") == 0);
  CHECK(UrlError("http://host/#top").find("a fragment") == 0);
  CHECK(UrlError("http://::1/").find("IPv6") != std::string::npos);
  CHECK(UrlError("http://::1/") == "more than one colon in the host: an IPv6 address needs brackets");
  CHECK(UrlError("http://host/a b").find("a space") == 0);
  CHECK(UrlError("http://host/a\r\nX: y").find("a space") == 0);
  CHECK(UrlError("http://hôst/").find("a space, control character") == 0);
  CHECK(ParseUrl("http://host/user@home"));
}
