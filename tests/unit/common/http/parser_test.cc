#include "common/http/parser.h"

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

using namespace aphlict;
using namespace aphlict::http;
using State = RequestParser::State;

namespace {

// What came of some bytes: the requests, then the error or the state in which they left the parser.
struct Outcome {
  struct Request {
    RequestHead head;
    std::string body;
  };
  std::vector<Request> requests;
  int error = 0;
  std::string reason;
  State state = State::kHead;
  bool started = false;

  // All of it, to be compared.
  std::string Text() const {
    std::string text;
    for (const Request& request : requests) {
      const RequestHead& head = request.head;
      text += head.method + " " + head.target + " 1." + std::to_string(head.version_minor) +
              (head.keep_alive ? " keep" : " close") + (head.expects_continue ? " expects" : "");
      for (std::size_t i = 0; i < head.headers.size(); ++i) {
        const HeaderView header = head.headers[i];
        text.append(" [").append(header.name).append("|").append(header.value).append("]");
      }
      text += " " + request.body + "\n";
    }
    return text + std::to_string(error) + " " + reason + " " + std::to_string(static_cast<int>(state)) +
           (started ? " started" : "");
  }
};

void FeedAll(RequestParser& parser, std::string_view bytes, Outcome* outcome) {
  while (!bytes.empty() && outcome->error == 0) {
    const Result<std::size_t> taken = parser.Feed(bytes);
    if (!taken) {
      outcome->error = taken.error().code;
      outcome->reason = taken.error().text;
      const Result<std::size_t> again = parser.Feed("GET / HTTP/1.1\r\nHost: h\r\n\r\n");
      REQUIRE_FALSE(again);  // it does not recover
      REQUIRE(again.error().text == outcome->reason);
      return;
    }
    REQUIRE(*taken <= bytes.size());
    REQUIRE((*taken > 0 || parser.state() == State::kComplete));
    bytes.remove_prefix(*taken);
    if (parser.state() != State::kComplete) continue;
    outcome->requests.push_back({parser.head(), parser.body()});
    parser.Next();
  }
}

Outcome Run(const std::vector<std::string_view>& pieces, const ParserLimits& limits) {
  Outcome outcome;
  RequestParser parser(limits);
  for (std::string_view piece : pieces) FeedAll(parser, piece, &outcome);
  outcome.state = parser.state();
  outcome.started = parser.started();
  return outcome;
}

// The outcome of bytes that come at once, after checking that it is the same byte by byte and for
// each place where they can be cut in two. (Long ones are cut at some hundred places.)
Outcome Parsed(std::string_view bytes, const ParserLimits& limits = {}) {
  Outcome whole = Run({bytes}, limits);
  std::vector<std::string_view> single;
  for (std::size_t i = 0; i < bytes.size(); ++i) single.push_back(bytes.substr(i, 1));
  REQUIRE(Run(single, limits).Text() == whole.Text());
  const std::size_t step = bytes.size() / 400 + 1;
  for (std::size_t cut = 1; cut < bytes.size(); cut += step) {
    CAPTURE(cut);
    REQUIRE(Run({bytes.substr(0, cut), bytes.substr(cut)}, limits).Text() == whole.Text());
  }
  return whole;
}

// "400: why", or "accepted".
std::string ErrorOf(std::string_view bytes, const ParserLimits& limits = {}) {
  const Outcome outcome = Parsed(bytes, limits);
  return outcome.error == 0 ? "accepted" : std::to_string(outcome.error) + ": " + outcome.reason;
}

// A POST with these header lines, each with its CRLF, behind the Host.
std::string Post(std::string_view headers, std::string_view body = "") {
  return "POST / HTTP/1.1\r\nHost: h\r\n" + std::string(headers) + "\r\n" + std::string(body);
}

std::string Chunked(std::string_view body) { return Post("Transfer-Encoding: chunked\r\n", body); }

// The only request of bytes that hold one.
Outcome::Request One(std::string_view bytes, const ParserLimits& limits = {}) {
  const Outcome outcome = Parsed(bytes, limits);
  CAPTURE(outcome.reason);
  REQUIRE(outcome.error == 0);
  REQUIRE(outcome.requests.size() == 1);
  REQUIRE(outcome.state == State::kHead);
  REQUIRE_FALSE(outcome.started);
  return outcome.requests[0];
}

TEST_CASE("the memory of a request is that of its head, its body and its trailers, while they come") {
  RequestParser parser;
  const std::string head = "POST /" + std::string(3'000, 'p') +
                           " HTTP/1.1\r\nHost: h\r\nX-A: " + std::string(9'000, 'a') +
                           "\r\nTransfer-Encoding: chunked\r\n\r\n";
  const auto feed = [&parser](std::string_view bytes) {
    const Result<std::size_t> taken = parser.Feed(bytes);
    REQUIRE(taken);
    REQUIRE(*taken == bytes.size());
  };
  feed(head.substr(0, head.size() - 1));
  CHECK(parser.memory() >= 12'000);
  feed(head.substr(head.size() - 1));
  CHECK(parser.memory() >= 12'000 + 3'000);  // the target has text of its own
  feed("1388\r\n" + std::string(5'000, 'b') + "\r\n0\r\n");
  CHECK(parser.memory() >= 12'000 + 3'000 + 5'000);
  feed("X-T: " + std::string(7'000, 't'));
  CHECK(parser.memory() >= 12'000 + 3'000 + 5'000 + 7'000);
  CHECK(parser.memory() < 60'000);
  feed("\r\n\r\n");
  parser.Next();
  CHECK(parser.memory() < 2'000);
}

// A piece is looked at to the end of a usual head, whatever of it is behind the head.
TEST_CASE("what follows a head is not taken for a part of it, however long the head is") {
  for (std::size_t padding = 380; padding < 560; ++padding) {
    CAPTURE(padding);
    const std::string head = "GET /" + std::string(padding, 'x') + " HTTP/1.1\r\nHost: h\r\n\r\n";
    RequestParser parser;
    const Result<std::size_t> taken = parser.Feed(head + "\x01\n not a head\r");
    REQUIRE(taken);
    CHECK(*taken == head.size());
    CHECK(parser.state() == RequestParser::State::kComplete);
    CHECK(parser.head().headers.Find("Host") == "h");
  }
}

}  // namespace

TEST_CASE("a request without a body is complete with its head") {
  const Outcome::Request request =
      One("GET /status/?instance=dog HTTP/1.1\r\nHost: h:22281\r\nX-A: 1\r\nX-Empty:\r\nX-B:\t2 3 "
          "\t\r\n\r\n");
  CHECK(request.head.method == "GET");
  CHECK(request.head.target == "/status/?instance=dog");
  CHECK(request.head.path() == "/status/");
  CHECK(request.head.version_minor == 1);
  CHECK(request.head.headers.size() == 4);
  CHECK(request.head.headers.Find("x-a") == "1");
  CHECK(request.head.headers.Find("x-empty") == "");
  CHECK(request.head.headers.Find("x-b") == "2 3");
  CHECK(request.body.empty());
}

TEST_CASE("a body comes with its length") {
  CHECK(One(Post("Content-Length: 5\r\n", "hello")).body == "hello");
  CHECK(One(Post("Content-Length: 0\r\n")).body.empty());
  CHECK(One(Post("content-length:\t005 \r\n", "hello")).body == "hello");
  CHECK(One(Post("Content-Length: 5 \t \t\r\n", "hello")).body == "hello");
  CHECK(One(Post("Transfer-Encoding: chunked\t\r\n", "1\r\nx\r\n0\r\n\r\n")).body == "x");

  SUBCASE("whatever its bytes are") {
    const std::string body(
        "\0\r\n\r\n\xff"
        "GET / HTTP/1.1",
        20);
    CHECK(One(Post("Content-Length: 20\r\n", body)).body == body);
  }
  SUBCASE("or in chunks") {
    CHECK(One(Chunked("5\r\nhello\r\n0\r\n\r\n")).body == "hello");
    CHECK(One(Chunked("0\r\n\r\n")).body.empty());
    CHECK(One(Chunked("1\r\nh\r\n00a\r\nello world\r\n000\r\n\r\n")).body == "hello world");
    CHECK(One(Chunked("C\r\nhello\r\nworld\r\n0\r\n\r\n")).body == "hello\r\nworld");
    CHECK(One(Post("transfer-encoding: ChUnKeD \r\n", "1\r\nx\r\n0\r\n\r\n")).body == "x");
  }
}

TEST_CASE("chunk extensions and trailers are read over") {
  CHECK(One(Chunked("5;flag;name=value\r\nhello\r\n0;last\r\n\r\n")).body == "hello");
  const Outcome::Request request =
      One(Chunked("5\r\nhello\r\n0\r\nX-Trailer: 1\r\nContent-Length: 3\r\nHost: other\r\nX-Empty:\r\n\r\n"));
  CHECK(request.body == "hello");
  CHECK(request.head.headers.Count("Host") == 1);
  CHECK_FALSE(request.head.headers.Find("X-Trailer"));

  SUBCASE("and change nothing about the request or what follows it") {
    const Outcome outcome = Parsed(Chunked("1\r\nx\r\n0\r\nConnection: close, upgrade\r\nUpgrade: websocket\r\n\r\n") +
                                   Chunked("1\r\ny\r\n0\r\n\r\n"));
    REQUIRE(outcome.requests.size() == 2);
    CHECK(outcome.requests[0].head.keep_alive);
    CHECK(outcome.requests[1].body == "y");
  }
}

TEST_CASE("requests follow one another on a connection") {
  const Outcome outcome = Parsed(Post("Content-Length: 1\r\n", "a") + Chunked("1\r\nb\r\n0\r\n\r\n") +
                                 "GET /c HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" +
                                 Post("Content-Length: 1\r\n", "d") + "GET /unfinished HT");
  CHECK(outcome.error == 0);
  REQUIRE(outcome.requests.size() == 4);
  CHECK(outcome.requests[0].body == "a");
  CHECK(outcome.requests[1].body == "b");
  CHECK(outcome.requests[2].head.target == "/c");
  CHECK(outcome.requests[2].head.headers.size() == 2);
  CHECK(outcome.requests[3].body == "d");
  CHECK(outcome.state == State::kHead);
  CHECK(outcome.started);

  SUBCASE("with a few empty lines between them") {
    CHECK(Parsed("\r\n\r\n" + Post("Content-Length: 1\r\n", "a") + "\r\n" + Post("")).requests.size() == 2);
    CHECK(ErrorOf("\r\n\r\n\r\n\r\n\r\n") == "400: empty lines in place of a request");
    CHECK_FALSE(Parsed("\r\n").started);
  }
}

TEST_CASE("feeding stops where the head ends and where the request ends") {
  const std::string head = Post("Content-Length: 3\r\n");
  const std::string bytes = head + "abcGET";
  RequestParser parser;
  CHECK(parser.state() == State::kHead);
  CHECK_FALSE(parser.started());

  Result<std::size_t> taken = parser.Feed(bytes);
  REQUIRE(taken);
  CHECK(*taken == head.size());
  CHECK(parser.state() == State::kBody);
  CHECK(parser.started());
  CHECK(parser.head().method == "POST");

  taken = parser.Feed(std::string_view(bytes).substr(head.size()));
  REQUIRE(taken);
  CHECK(*taken == 3);
  CHECK(parser.state() == State::kComplete);
  CHECK(parser.body() == "abc");
  CHECK(*parser.Feed("GET") == 0);

  const std::string body = std::move(parser.body());
  parser.Next();
  CHECK(parser.state() == State::kHead);
  CHECK_FALSE(parser.started());
  CHECK(*parser.Feed("GET") == 3);
  CHECK(parser.started());
}

TEST_CASE("feeding stops at the end of chunks") {
  const std::string head = Chunked("");
  for (std::string body : {"1\r\nx\r\n0\r\n\r\n", "0\r\n\r\n", "1\r\nx\r\n0\r\nA: b\r\n\r\n"}) {
    RequestParser parser;
    REQUIRE(*parser.Feed(head) == head.size());
    CHECK(*parser.Feed(body + "GET / HT") == body.size());
    CHECK(parser.state() == State::kComplete);
  }
}

TEST_CASE("connections are kept as RFC 9112 section 9.3 says") {
  auto keeps = [](std::string_view version, std::string_view connection) {
    return One("GET / " + std::string(version) + "\r\nHost: h\r\n" + std::string(connection) + "\r\n").head.keep_alive;
  };
  CHECK(keeps("HTTP/1.1", ""));
  CHECK(keeps("HTTP/1.1", "Connection: keep-alive\r\n"));
  CHECK(keeps("HTTP/1.1", "Connection: closed\r\n"));
  CHECK_FALSE(keeps("HTTP/1.1", "Connection: close\r\n"));
  CHECK_FALSE(keeps("HTTP/1.1", "Connection: upgrade, CLOSE\r\n"));
  CHECK_FALSE(keeps("HTTP/1.1", "Connection: keep-alive\r\nConnection: close\r\n"));
  CHECK_FALSE(keeps("HTTP/1.0", ""));
  CHECK(keeps("HTTP/1.0", "Connection: Keep-Alive\r\n"));
  CHECK_FALSE(keeps("HTTP/1.0", "Connection: keep-alive, close\r\n"));
}

TEST_CASE("a request that wants to change the protocol is a request like any other") {
  SUBCASE("a WebSocket handshake is complete with its head, and what follows is left alone") {
    const std::string handshake =
        "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    RequestParser parser;
    CHECK(*parser.Feed(handshake + "\x81\x80") == handshake.size());
    CHECK(parser.state() == State::kComplete);
    CHECK(One(handshake).head.headers.HasToken("Upgrade", "websocket"));
  }
  SUBCASE("a publish that offers HTTP/2 keeps its body") {
    const std::string_view offer =
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: "
        "AAMAAABkAARAAAAAAAIAAAAA\r\n";
    CHECK(One(Post(std::string(offer) + "Content-Length: 5\r\n", "hello")).body == "hello");
    CHECK(One(Post(std::string(offer) + "Transfer-Encoding: chunked\r\n", "1\r\nx\r\n0\r\n\r\n")).body == "x");
    CHECK(One(Post(offer)).body.empty());
  }
  SUBCASE("CONNECT does not open a tunnel") {
    const Outcome outcome = Parsed("CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n" + Post(""));
    REQUIRE(outcome.requests.size() == 2);
    CHECK(outcome.requests[0].head.method == "CONNECT");
    CHECK(outcome.requests[0].head.target == "h:443");
    CHECK(One("CONNECT h:443 HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx").body == "x");
  }
}

TEST_CASE("targets have the forms of RFC 9112 section 3.2") {
  CHECK(One("GET http://host:80/path?q HTTP/1.1\r\nHost: h\r\n\r\n").head.path() == "/path");
  CHECK(One("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").head.path() == "*");
  CHECK(ErrorOf("GET /#top HTTP/1.1\r\nHost: h\r\n\r\n") == "400: the request target has a fragment");
  for (std::string target : {"status", "/\xc3\xa9", "?q", "a:b"}) {
    CAPTURE(target);
    CHECK(ErrorOf("GET " + target + " HTTP/1.1\r\nHost: h\r\n\r\n") == "400: the request target is malformed");
  }
}

TEST_CASE("a client that waits for 100 Continue is told of only where a body follows") {
  CHECK(One(Post("Expect: 100-Continue\r\nContent-Length: 1\r\n", "x")).head.expects_continue);
  CHECK(One(Post("Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")).head.expects_continue);
  CHECK_FALSE(One(Post("Expect: 100-continue\r\nContent-Length: 0\r\n")).head.expects_continue);
  CHECK_FALSE(One(Post("Expect: 100-continue\r\n")).head.expects_continue);
  CHECK_FALSE(One("POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx").head.expects_continue);
  CHECK_FALSE(One(Post("Content-Length: 1\r\n", "x")).head.expects_continue);

  SUBCASE("and any other expectation fails") {
    CHECK(ErrorOf(Post("Expect: 200-ok\r\n")) == "417: the only Expect that is known here is 100-continue");
    CHECK(ErrorOf(Post("Expect: 100-continue\r\nExpect: more\r\n")).starts_with("417"));
  }
}

TEST_CASE("an HTTP/1.1 request has exactly one Host") {
  CHECK(ErrorOf("GET / HTTP/1.1\r\n\r\n") == "400: no Host");
  CHECK(ErrorOf("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n") == "400: more than one Host");
  CHECK(ErrorOf("GET / HTTP/1.1\r\nHost:\r\n\r\n") == "accepted");
  CHECK(ErrorOf("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n") == "accepted");
  CHECK(ErrorOf("GET / HTTP/1.1\r\nHost: a b\r\n\r\n") == "400: Host is not a host name");
  CHECK(ErrorOf("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n") == "400: Host is not a host name");

  SUBCASE("and one of HTTP/1.0 at most one") {
    CHECK(ErrorOf("GET / HTTP/1.0\r\n\r\n") == "accepted");
    CHECK(ErrorOf("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n") == "400: more than one Host");
  }
}

TEST_CASE("other versions of HTTP are refused") {
  CHECK(ErrorOf("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").starts_with("505"));
  CHECK(ErrorOf("GET / HTTP/2.0\r\n").starts_with("505"));
  CHECK(ErrorOf("GET / HTTP/3.0\r\n").starts_with("505"));
  CHECK(ErrorOf("GET / HTTP/1.2\r\n").starts_with("505"));
  CHECK(ErrorOf("GET / HTTP/0.9\r\n").starts_with("505"));
  CHECK(ErrorOf("GET /\r\n").starts_with("400"));
  for (std::string version :
       {"HTTP/1", "HTTP/11", "HTTP/1.10", "http/1.1", "HTTPS/1.1", "RTSP/1.0", "ICE/1.0", "HTTP/1.1x", ""}) {
    CAPTURE(version);
    CHECK(ErrorOf("GET / " + version + "\r\n").starts_with("400"));
  }
}

TEST_CASE("a malformed request line is refused as soon as it is there") {
  for (std::string line : {"GET", "GET ", " GET / HTTP/1.1", "\tGET / HTTP/1.1", "GET  / HTTP/1.1", "GET /  HTTP/1.1",
                           "GET / HTTP/1.1 ", "GET /a b HTTP/1.1", "G@T / HTTP/1.1", "(GET / HTTP/1.1", "/ HTTP/1.1",
                           "GET\t/ HTTP/1.1", "hello", "{\"key\":1}"}) {
    CAPTURE(line);
    CHECK(ErrorOf(line + "\r\n").starts_with("400"));
  }
  CHECK(ErrorOf("\x16\x03\x01\x02") == "400: this looks like TLS, but the port speaks plain HTTP");

  SUBCASE("and an unknown method is not implemented") {
    CHECK(ErrorOf("BREW / HTTP/1.1\r\nHost: h\r\n\r\n") == "501: unknown method");
    CHECK(ErrorOf("get / HTTP/1.1\r\nHost: h\r\n\r\n") == "501: unknown method");
    CHECK(ErrorOf("PRI * HTTP/1.1\r\nHost: h\r\n\r\n").starts_with("4"));
  }
}

TEST_CASE("bytes that two readers could take differently are refused at once") {
  const std::string start = "POST / HTTP/1.1\r\nHost: h\r\n";
  CHECK(ErrorOf("POST / HTTP/1.1\n") == "400: a line feed without a carriage return");
  CHECK(ErrorOf("\n") == "400: a line feed without a carriage return");
  CHECK(ErrorOf("POST / HTTP/1.1\rH") == "400: a carriage return without a line feed");
  CHECK(ErrorOf("\r\r") == "400: a carriage return without a line feed");
  CHECK(ErrorOf(start + "X: a\nT") == "400: a line feed without a carriage return");
  CHECK(ErrorOf(start + "X-A:\rTransfer-Encoding: chunked\r\n") == "400: a carriage return without a line feed");
  CHECK(ErrorOf(start + "X: a\r\r\n") == "400: a carriage return without a line feed");
  CHECK(ErrorOf(start + "\n") == "400: a line feed without a carriage return");
  CHECK(ErrorOf(start + "X: a\r\n b") == "400: a header line is folded: it begins with white space");
  CHECK(ErrorOf(start + "Transfer-Encoding:\r\n\tchunked\r\n\r\n") ==
        "400: a header line is folded: it begins with white space");
  CHECK(ErrorOf("POST / HTTP/1.1\r\n Host: h\r\n") == "400: a header line is folded: it begins with white space");
  CHECK(ErrorOf(start + std::string("X: a\0b", 6)) == "400: a control character");
  CHECK(ErrorOf(start + "X: \x7f") == "400: a control character");
  CHECK(ErrorOf(start + "Transfer-Encoding:\x0b"
                        "chunked\r\n\r\n") == "400: a control character");
  CHECK(ErrorOf(start + "X: a\tb \xe9\r\n\r\n") == "accepted");
}

TEST_CASE("malformed header lines are refused") {
  for (std::string line : {"no colon", "Transfer-Encoding : chunked", "X : a", "X@Y: a", "X\xe9: a", "(X): a", "X"}) {
    CAPTURE(line);
    CHECK(ErrorOf(Post(line + "\r\n")) == "400: a header's name or value is malformed");
  }
}

TEST_CASE("a header needs a name") { CHECK(ErrorOf(Post(": a\r\n")) == "400: a header without a name"); }

TEST_CASE("a body with two lengths is refused") {
  const std::string chunks = "0\r\n\r\n";
  CHECK(ErrorOf(Post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", chunks)).starts_with("400"));
  CHECK(ErrorOf(Post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", chunks)).starts_with("400"));
  CHECK(ErrorOf(Post("Transfer-Encoding: gzip\r\nContent-Length: 5\r\n", chunks)).starts_with("400"));
  CHECK(ErrorOf(Post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello")).starts_with("400"));
  CHECK(ErrorOf(Post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello")).starts_with("400"));
  CHECK(ErrorOf(Post("Content-Length: 0\r\nContent-Length: 0\r\n")).starts_with("400"));
  for (std::string length : {"5, 5", "+5", "-5", "5 5", "0x5", "5.0", "", "five", "5;", "\xb2"}) {
    CAPTURE(length);
    CHECK(ErrorOf(Post("Content-Length: " + length + "\r\n", "hello")).starts_with("400"));
  }
}

TEST_CASE("the only transfer coding is chunked") {
  auto error = [](std::string_view codings) {
    return ErrorOf(Post("Transfer-Encoding: " + std::string(codings) + "\r\n", "0\r\n\r\n"));
  };
  CHECK(error("gzip") == "501: the only Transfer-Encoding that is known here is chunked");
  CHECK(error("identity").starts_with("501"));
  CHECK(error("gzip, chunked").starts_with("501"));
  CHECK(error("xchunked").starts_with("501"));
  CHECK(error("chunked, gzip").starts_with("400"));
  CHECK(error("chunked, chunked").starts_with("400"));
  CHECK(error("chunked,").starts_with("400"));
  CHECK(error("chunked, identity").starts_with("400"));
  CHECK(error("").starts_with("400"));
  for (std::string odd : {"chunkedx", "chunked;a=b", "\"chunked\"", "'chunked'", "chunked foo", "foo chunked",
                          "c\xc2\xa0hunked", ",chunked", "chunk", "chunked\xa0"}) {
    CAPTURE(odd);
    const std::string refused = error(odd);
    CHECK((refused.starts_with("400") || refused.starts_with("501")));
  }
  CHECK(ErrorOf(Post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")).starts_with("400"));
  CHECK(ErrorOf(Post("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")).starts_with("400"));
  CHECK(ErrorOf("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n") ==
        "400: Transfer-Encoding in HTTP/1.0");
}

TEST_CASE("malformed chunks are refused") {
  for (std::string body : {
           "0x5\r\nhello\r\n",
           "5x\r\nhello\r\n",
           "-5\r\nhello\r\n",
           "+5\r\nhello\r\n",
           " 5\r\nhello\r\n",
           "\r\nhello\r\n",
           ";a\r\nhello\r\n",
           "g\r\nhello\r\n",
           "5\nhello\r\n",
           "5\rhello\r\n",
           "5\r\rhello\r\n",
           "5\r\nhello\n0\r\n\r\n",
           "5\r\nhello0\r\n\r\n",
           "5\r\nhellox\r\n0\r\n\r\n",
           "5\r\nhello\r0\r\n\r\n",
           "10000000000000005\r\nhello\r\n",
           "fffffffffffffffff\r\n",
           "5;a\nhello\r\n0\r\n\r\n",
           "5;a=\"b\nhello\r\n0\r\n\r\n",
           "5;a\rb\r\nhello\r\n0\r\n\r\n",
           "5;a=b\rc\r\nhello\r\n0\r\n\r\n",
           "5;a=\"\r\"\r\nhello\r\n0\r\n\r\n",
           "0\r\n\n",
           "0\r\n\rX",
           "0\r\nX: a\nb",
           "0\r\nX: a\rb",
           "0\r\n X: a\r\n",
           "0\r\nX: a\r\n b\r\n",
           "0\r\nno colon\r\n\r\n",
           "0\r\nX : a\r\n\r\n",
           "0\r\nX: a\x01\r\n\r\n",
           "0\r\n: a\r\n\r\n",
           "0\r\nTransfer-Encoding: gzip\r\n\r\n",
       }) {
    CAPTURE(body);
    CHECK(ErrorOf(Chunked(body)).starts_with("400: "));
  }
}

TEST_CASE("a head is bounded") {
  ParserLimits limits;
  limits.head_bytes = 100;
  limits.headers = 3;
  const std::string start = "GET / HTTP/1.1\r\nHost: h\r\nX: ";
  auto padded = [&](std::size_t size) { return start + std::string(size - start.size() - 4, 'x') + "\r\n\r\n"; };
  CHECK(ErrorOf(padded(100), limits) == "accepted");
  CHECK(ErrorOf(padded(101), limits) == "431: the headers take more than 100 bytes");
  CHECK(ErrorOf("GET /" + std::string(200, 'x'), limits).starts_with("431"));
  CHECK(ErrorOf("GET /" + std::string(17000, 'x')) == "431: the headers take more than 16384 bytes");

  SUBCASE("also in the number of headers") {
    const std::string three = "GET / HTTP/1.1\r\nHost: h\r\na: b\r\nc: d\r\n";
    CHECK(ErrorOf(three + "\r\n", limits) == "accepted");
    CHECK(ErrorOf(three + "e: f\r\n\r\n", limits) == "431: more than 3 headers");
  }
  SUBCASE("and the trailers are, too") {
    limits.head_bytes = 60;
    CHECK(ErrorOf(Chunked("0\r\na: b\r\n\r\n"), limits) == "accepted");
    CHECK(ErrorOf(Chunked("0\r\na: b\r\nc: d\r\n\r\n"), limits) == "431: more than 3 headers");
    CHECK(ErrorOf(Chunked("0\r\na: " + std::string(100, 'x')), limits).starts_with("431"));
  }
}

TEST_CASE("a body is bounded") {
  ParserLimits limits;
  limits.body_bytes = 10;
  CHECK(One(Post("Content-Length: 10\r\n", "0123456789"), limits).body.size() == 10);
  CHECK(ErrorOf(Post("Content-Length: 11\r\n"), limits) == "413: the body is larger than 10 bytes");
  CHECK(ErrorOf(Post("Content-Length: 18446744073709551615\r\n"), limits).starts_with("413"));
  CHECK(ErrorOf(Post("Content-Length: 18446744073709551626\r\n"), limits).starts_with("413"));
  CHECK(ErrorOf(Post("Content-Length: " + std::string(100, '9') + "\r\n"), limits).starts_with("413"));

  SUBCASE("also when it comes in chunks") {
    CHECK(One(Chunked("5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n"), limits).body.size() == 10);
    CHECK(ErrorOf(Chunked("b\r\n"), limits) == "413: the body is larger than 10 bytes");
    CHECK(ErrorOf(Chunked("5\r\n01234\r\n6\r\n"), limits).starts_with("413"));
    CHECK(ErrorOf(Chunked("ffffffffffffffff\r\n"), limits).starts_with("413"));
  }
}

TEST_CASE("what frames the chunks is bounded") {
  SUBCASE("so that a body of 1-byte chunks passes") {
    std::string body;
    for (int i = 0; i < 20000; ++i) body += "1\r\nx\r\n";
    CHECK(One(Chunked(body + "0\r\n\r\n")).body == std::string(20000, 'x'));
  }
  SUBCASE("and one that is all extension does not") {
    CHECK(ErrorOf(Chunked("1;a=" + std::string(40000, 'b') + "\r\n")) == "400: the chunks are mostly framing");
    CHECK(ErrorOf(Chunked(std::string(40000, '0') + "1\r\n")) == "400: the chunks are mostly framing");
    std::string body;
    for (int i = 0; i < 2000; ++i) body += "1;extension=value\r\nx\r\n";
    CHECK(ErrorOf(Chunked(body)) == "400: the chunks are mostly framing");
    CHECK(ErrorOf(Chunked("1;a=" + std::string(20000, 'b') + "\r\nx\r\n0\r\n\r\n")) ==
          "400: the chunks are mostly framing");
  }
  SUBCASE("and one moderate extension does") {
    CHECK(One(Chunked("1;a=" + std::string(10000, 'b') + "\r\nx\r\n0\r\n\r\n")).body == "x");
  }
}

TEST_CASE("bytes that come one by one cost no more than their number") {
  // A head that were scanned again with each byte would take 16 KiB squared, ten thousand times over.
  RequestParser parser;
  const std::string head = "GET / HTTP/1.1\r\nHost: h\r\nX: " + std::string(16000, 'x') + "\r\n\r\n";
  for (int i = 0; i < 20; ++i) {
    for (char c : head) REQUIRE(parser.Feed({&c, 1}));
    REQUIRE(parser.state() == State::kComplete);
    parser.Next();
  }
}
