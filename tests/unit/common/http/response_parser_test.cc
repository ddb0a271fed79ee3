#include "common/http/response_parser.h"

#include <doctest/doctest.h>

#include <string>
#include <string_view>

namespace aphlict::http {
namespace {

// What comes of bytes: "200 body", with " close" where the connection is of no more use and " + rest" where not all was
// taken; or the error. The same however they are cut. `end`: the peer closes behind them.
std::string Read(std::string_view bytes, bool end = false, const ParserLimits& limits = {}) {
  const auto read = [&](std::size_t step) {
    ResponseParser parser(limits);
    std::string_view rest = bytes;
    while (!rest.empty() && !parser.complete()) {
      const auto taken = parser.Feed(rest.substr(0, step));
      if (!taken) return taken.error().text;
      rest.remove_prefix(*taken);
    }
    if (end) {
      if (const auto ended = parser.End(); !ended) return ended.error().text;
    }
    if (!parser.complete()) return std::string(parser.started() ? "not whole" : "nothing");
    return std::to_string(parser.head().status) + " " + parser.body() + (parser.keep_alive() ? "" : " close") +
           (rest.empty() ? "" : " + " + std::string(rest));
  };
  const std::string whole = read(std::string_view::npos);
  CHECK(read(1) == whole);
  return whole;
}

constexpr char kChunked[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

TEST_CASE("a response ends where its headers say") {
  CHECK(Read("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello") == "200 hello");
  CHECK(Read("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello!") == "200 hello + !");
  CHECK(Read("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") == "200 ");
  CHECK(Read("HTTP/1.1 204 No Content\r\n\r\nX") == "204  + X");
  CHECK(Read("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n") == "304 ");
  CHECK(Read(kChunked + std::string("3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n")) == "200 abcde");
  CHECK(Read(kChunked + std::string("0\r\nDate: now\r\nX: y\r\n\r\nZ")) == "200  + Z");
  CHECK(Read("HTTP/1.1 200 OK\r\n\r\nall of it", true) == "200 all of it close");
  CHECK(Read("HTTP/1.1 200 OK\r\n\r\n", true) == "200  close");
}

TEST_CASE("a connection may be used again unless the peer says not, or has not said so") {
  CHECK(Read("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx") == "200 x close");
  CHECK(Read("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx") == "200 x close");
  CHECK(Read("HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: Keep-Alive\r\n\r\nx") == "200 x");
  CHECK(Read("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n") == "204  close");
  CHECK(Read("HTTP/1.0 304 Not Modified\r\n\r\n") == "304  close");
}

TEST_CASE("interim responses are passed over") {
  CHECK(Read("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
             "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx") == "200 x");
  CHECK(Read("HTTP/1.1 101 Switching Protocols\r\n\r\n").starts_with("the protocol is changed"));
}

TEST_CASE("what is cut off says how far it came") {
  CHECK(Read("", true) == "no answer");
  CHECK(Read("HTTP/1.1 200", true) == "the answer is cut off in its head");
  CHECK(Read("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", true) == "the answer is cut off after 3 of 9 bytes");
  CHECK(Read(kChunked + std::string("3\r\nabc\r\n"), true) == "the answer is cut off after 3 bytes");
  CHECK(Read("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc") == "not whole");
}

TEST_CASE("what two readers could understand in different ways is refused") {
  for (const std::string head :
       {"Content-Length: 1\r\nContent-Length: 1", "Content-Length: 1\r\nTransfer-Encoding: chunked",
        "Content-Length: -1", "Content-Length: 1x", "Content-Length: ", "Transfer-Encoding: gzip",
        "Transfer-Encoding: chunked, chunked", "X: a\rb", "X: a\r\n b", "X\t: a"}) {
    CAPTURE(head);
    CHECK_FALSE(Read("HTTP/1.1 200 OK\r\n" + head + "\r\n\r\nx", true).starts_with("200"));
  }
  CHECK(Read("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n") == "Transfer-Encoding in HTTP/1.0");
  CHECK(Read("SSH-2.0-OpenSSH_9.2p1\r\n") == "the first line has no HTTP version");
}

TEST_CASE("a body is bounded, however it comes") {
  const ParserLimits limits{.body_bytes = 4};
  for (const std::string rest :
       {"Content-Length: 5\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "\r\nhello"}) {
    CAPTURE(rest);
    CHECK(Read("HTTP/1.1 200 OK\r\n" + rest, false, limits).find("larger than 4 bytes") != std::string::npos);
  }
  CHECK(Read("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhell", false, limits) == "200 hell");
}

TEST_CASE("one response after another is read from a connection") {
  ResponseParser parser;
  const std::string one = kChunked + std::string("1\r\na\r\n0\r\n\r\n");
  const std::string two = "HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\nX: y\r\n\r\nb";
  for (int i = 0; i < 3; ++i) {
    CHECK(*parser.Feed(one + two) == one.size());
    CHECK((parser.complete() && parser.head().status == 200 && parser.body() == "a" && parser.keep_alive()));
    parser.Next();
    CHECK_FALSE(parser.started());
    CHECK(*parser.Feed(two) == two.size());
    CHECK((parser.head().status == 404 && parser.head().headers.size() == 2 && parser.body() == "b"));
    parser.Next();
  }
}

TEST_CASE("the head of a response is parsed") {
  const Result<ResponseHead> response = ParseResponseHead(
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo= \r\n\r\n");
  REQUIRE(response);
  CHECK(response->status == 101);
  CHECK(response->headers.HasToken("Upgrade", "websocket"));
  CHECK(response->headers.Find("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");

  SUBCASE("whatever its status and body are") {
    CHECK(ParseResponseHead("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 5\r\n\r\n")->status == 503);
    CHECK(ParseResponseHead("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")->status == 200);
    CHECK(ParseResponseHead("HTTP/1.0 404 \r\n\r\n")->status == 404);
    CHECK(ParseResponseHead("HTTP/1.1 204 No Content\r\n\r\n")->status == 204);
  }
  SUBCASE("and refused if it is not one") {
    for (std::string head :
         {"", "\r\n\r\n", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\n\r\nx", "HTTP/2.0 200 OK\r\n\r\n",
          "HTTP/1.1 2x0 OK\r\n\r\n", "HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "HTTP/1.1 200 OK\n\n",
          "HTTP/1.1 200 OK\r\nX: a\rY: b\r\n\r\n", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
          "HTTP/1.1 200 OK\r\nX : a\r\n\r\n", "HTTP/1.1 200 OK\r\nX: \x01\r\n\r\n", "SSH-2.0-OpenSSH_9.2\r\n\r\n",
          "HTTP/1.1 1000 OK\r\n\r\n"}) {
      CAPTURE(head);
      CHECK_FALSE(ParseResponseHead(head));
    }
    CHECK(ParseResponseHead("HTTP/1.1 200 OK\r\nX: " + std::string(17000, 'x') + "\r\n\r\n").error().code == 431);
  }
}

}  // namespace
}  // namespace aphlict::http
