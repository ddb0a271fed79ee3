#include "common/server/http_server.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/support/loop.h"

namespace aphlict::server {
namespace {

using testing::Peer;
using testing::TestLoop;

std::string Get(const std::string& target, const std::string& headers = "") {
  return "GET " + target + " HTTP/1.1\r\nHost: h\r\n" + headers + "\r\n";
}

std::string Post(const std::string& target, const std::string& body, const std::string& headers = "") {
  return "POST " + target + " HTTP/1.1\r\nHost: h\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
         headers + "\r\n" + body;
}

// A server whose handler writes down what is asked, and answers at once or when it is told to.
class Server : private HttpHandler {
 public:
  struct Asked {
    ConnectionId connection;
    std::string text;  // "POST /x body"
  };

  explicit Server(const HttpLimits& limits = {})
      : log_(Log::ForTest(&lines)), http(loop, "test", limits, *log_, *this) {
    const auto bound = http.Bind(*net::Address::Parse("127.0.0.1", 0));
    REQUIRE(bound);
    address = *bound;
    REQUIRE(http.Listen());
  }

  Peer Connect() const { return Peer::Connect(address); }
  bool RunUntilAsked(std::size_t count) {
    return loop.RunUntil([&] { return asked.size() >= count; });
  }
  bool RunUntilConnections(std::size_t count) {
    return loop.RunUntil([&] { return http.connections() == count; });
  }
  // Turns until what the peer has received ends so.
  std::string ReceiveUntil(Peer& peer, std::string_view end) {
    std::string received;
    CHECK(loop.RunUntil([&] {
      received += peer.Receive();
      return received.ends_with(end);
    }));
    return received;
  }
  // What the peer receives until the connection ends.
  std::string ReceiveAll(Peer& peer) {
    std::string received;
    CHECK(loop.RunUntil([&] {
      received += peer.Receive();
      return peer.AtEnd();
    }));
    return received;
  }
  void Answer(std::size_t which) { Answer(asked[which].connection, asked[which].text); }
  void Answer(ConnectionId connection, const std::string& body) {
    http::Response response;
    response.body = body;
    http.Respond(connection, response);
  }
  std::string Texts() const {
    std::string text;
    for (const Asked& each : asked) text += (text.empty() ? "" : ", ") + each.text;
    return text;
  }

  TestLoop loop;
  std::vector<std::string> lines;

 private:
  std::unique_ptr<Log> log_;

  void OnHead(const RequestStart& request) override {
    if (on_head) on_head(request);
  }

  void OnRequest(const Request& request) override {
    asked.push_back({request.connection, request.head.method + " " + request.head.target +
                                             (request.body.empty() ? "" : " " + request.body)});
    if (on_request) on_request(request);
    if (answers_at_once) Answer(asked.size() - 1);
  }

 public:
  HttpServer http;
  net::Address address;
  bool answers_at_once = true;
  std::function<void(const RequestStart&)> on_head;
  std::function<void(const Request&)> on_request;
  std::vector<Asked> asked;
};

std::string Ok(const std::string& body, bool close = false) {
  return "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\nConnection: " + (close ? "close" : "keep-alive") + "\r\n\r\n" + body;
}

TEST_CASE("what has not come whole is bounded, over all connections") {
  HttpLimits limits;
  limits.unfinished_bytes = 200'000;
  Server server(limits);
  const std::string large = Post("/x", std::string(100'000, 'x'));
  Peer one = server.Connect();
  Peer other = server.Connect();
  one.Send(large.substr(0, 90'000));
  REQUIRE(server.loop.RunUntil([&] { return server.http.unfinished_bytes() > 90'000; }));
  other.Send(large.substr(0, 90'000));
  const std::string refused = server.ReceiveAll(other);
  CHECK(refused.starts_with("HTTP/1.1 503 "));
  CHECK(refused.find("on their way at once") != std::string::npos);
  CHECK(server.http.counters().refused.of(Refusal::kFull) == 1);
  // What comes in one piece is not concerned, and what has been refused counts no more.
  Peer third = server.Connect();
  third.Send(Post("/whole", "y"));
  REQUIRE(server.RunUntilAsked(1));
  server.Answer(0);
  one.Send(large.substr(90'000));
  REQUIRE(server.RunUntilAsked(2));
  server.Answer(1);
  Peer fourth = server.Connect();
  fourth.Send(large);
  REQUIRE(server.RunUntilAsked(3));
}

TEST_CASE("a request is answered, and the next on the same connection") {
  Server server;
  Peer peer = server.Connect();
  peer.Send(Get("/a?b=c"));
  CHECK(server.ReceiveUntil(peer, "/a?b=c") == Ok("GET /a?b=c"));
  peer.Send(Post("/x", "body"));
  CHECK(server.ReceiveUntil(peer, "body") == Ok("POST /x body"));
  CHECK(server.asked[0].connection == server.asked[1].connection);
  CHECK(server.http.connections() == 1);
  CHECK(server.http.counters().accepted == 1);
  CHECK(server.http.counters().requests == 2);
  CHECK(server.http.PeerOf(server.asked[0].connection) == peer.local_address().ToString());
  peer.Close();
  CHECK(server.RunUntilConnections(0));
  CHECK(server.http.PeerOf(server.asked[0].connection) == "unknown");
}

TEST_CASE("a request that comes byte by byte is one request") {
  Server server;
  Peer peer = server.Connect();
  const std::string bytes = Post("/x", "body");
  for (const char byte : bytes) {
    peer.Send({&byte, 1});
    server.loop.Turn();
  }
  CHECK(server.ReceiveUntil(peer, "body") == Ok("POST /x body"));
  CHECK(server.asked.size() == 1);
}

TEST_CASE("the connection ends after the answer, when the client wants it so") {
  Server server;
  Peer peer = server.Connect();
  SUBCASE("by a header") {
    peer.Send(Get("/", "Connection: close\r\n"));
    CHECK(server.ReceiveAll(peer) == Ok("GET /", true));
  }
  SUBCASE("by its version") {
    peer.Send("GET / HTTP/1.0\r\n\r\n");
    CHECK(server.ReceiveAll(peer) == Ok("GET /", true));
  }
  SUBCASE("by closing its side") {
    peer.Send(Get("/"));
    peer.CloseWrite();
    server.ReceiveAll(peer);
    CHECK(server.asked.size() == 1);
  }
  SUBCASE("by closing its side while it waits") {
    server.answers_at_once = false;
    peer.Send(Get("/"));
    peer.CloseWrite();
    REQUIRE(server.RunUntilAsked(1));
    server.loop.RunFor(milliseconds(20));
    server.Answer(0);
    CHECK(server.ReceiveAll(peer) == Ok("GET /"));  // seen only after it, as nothing is read before
  }
  CHECK(server.RunUntilConnections(0));
}

TEST_CASE("to HEAD the body is left out") {
  Server server;
  Peer peer = server.Connect();
  peer.Send("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n" + Get("/next"));
  const std::string received = server.ReceiveUntil(peer, "/next");
  CHECK(received.find("Content-Length: 6\r\nConnection: keep-alive\r\n\r\nHTTP/1.1 200") != std::string::npos);
}

TEST_CASE("requests sent ahead are told one after the other, and answered in their order") {
  Server server;
  server.answers_at_once = false;
  Peer peer = server.Connect();
  peer.Send(Get("/1") + Post("/2", "two") + Get("/3"));
  REQUIRE(server.RunUntilAsked(1));
  server.loop.RunFor(milliseconds(20));
  CHECK(server.Texts() == "GET /1");
  server.Answer(0);
  REQUIRE(server.RunUntilAsked(2));
  CHECK(server.Texts() == "GET /1, POST /2 two");
  server.Answer(1);
  CHECK(server.Texts() == "GET /1, POST /2 two, GET /3");
  server.Answer(2);
  CHECK(server.ReceiveUntil(peer, "/3") == Ok("GET /1") + Ok("POST /2 two") + Ok("GET /3"));

  SUBCASE("also when they come while one is unanswered") {
    peer.Send(Get("/4"));
    REQUIRE(server.RunUntilAsked(4));
    peer.Send(Get("/5"));
    server.loop.RunFor(milliseconds(20));
    CHECK(server.asked.size() == 4);
    server.Answer(3);
    REQUIRE(server.RunUntilAsked(5));
    server.Answer(4);
    CHECK(server.ReceiveUntil(peer, "/5") == Ok("GET /4") + Ok("GET /5"));
  }
}

TEST_CASE("thousands of requests at once are answered in one go, on a flat stack") {
  Server server;
  Peer peer = server.Connect();
  std::string bytes;
  for (int i = 0; i < 5000; ++i) bytes += "GET /" + std::to_string(i) + " HTTP/1.1\r\nHost: h\r\n\r\n";
  std::size_t sent = 0;
  std::string received;
  REQUIRE(server.loop.RunUntil([&] {
    sent += peer.Send(std::string_view(bytes).substr(sent));
    received += peer.Receive();
    return received.ends_with("GET /4999");
  }));
  CHECK(server.asked.size() == 5000);
  CHECK(server.asked.back().text == "GET /4999");
}

TEST_CASE("what a client sends while its request is unanswered is left in the kernel") {
  Server server;
  server.answers_at_once = false;
  Peer peer = Peer::Connect(server.address, 16 * 1024);
  peer.Send(Get("/1"));
  REQUIRE(server.RunUntilAsked(1));
  const std::string ahead = Get("/" + std::string(8000, 'x'));
  std::size_t sent = 0;
  // The kernel's buffers take some megabytes at most.
  for (int i = 0; i < 50; ++i) {
    server.loop.RunFor(milliseconds(1));
    for (int j = 0; j < 1000; ++j) sent += peer.Send(ahead);
  }
  CHECK(sent < 50 * 1000 * ahead.size() / 2);
  CHECK(server.asked.size() == 1);
  server.Answer(0);
  REQUIRE(server.RunUntilAsked(2));
}

TEST_CASE("an answer that comes twice, or to a connection that is gone, is nothing") {
  Server server;
  server.answers_at_once = false;
  Peer peer = server.Connect();
  peer.Send(Get("/"));
  REQUIRE(server.RunUntilAsked(1));
  SUBCASE("twice") {
    server.Answer(0);
    server.Answer(0);
    CHECK(server.ReceiveUntil(peer, "/") == Ok("GET /"));
    peer.Send(Get("/2"));
    REQUIRE(server.RunUntilAsked(2));
    server.Answer(1);
    CHECK(server.ReceiveUntil(peer, "/2") == Ok("GET /2"));
  }
  SUBCASE("to one that is gone") {
    // A connection that waits reads nothing, so it learns of it with the next byte; a reset comes by itself.
    peer.Reset();
    server.Answer(0);
    CHECK(server.RunUntilConnections(0));
    server.Answer(0);
    server.Answer(12'345, "nobody");
  }
}

TEST_CASE("a client that asks whether to send its body is told to, before it does") {
  Server server;
  Peer peer = server.Connect();
  const std::string request = Post("/x", "body", "Expect: 100-continue\r\n");
  peer.Send(request.substr(0, request.size() - 4));
  CHECK(server.ReceiveUntil(peer, "\r\n\r\n") == "HTTP/1.1 100 Continue\r\n\r\n");
  CHECK(server.asked.empty());
  peer.Send("body");
  CHECK(server.ReceiveUntil(peer, "body") == Ok("POST /x body"));

  SUBCASE("again for the next") {
    peer.Send(request.substr(0, request.size() - 4));
    CHECK(server.ReceiveUntil(peer, "\r\n\r\n") == "HTTP/1.1 100 Continue\r\n\r\n");
  }
  SUBCASE("although it did not wait") {
    peer.Send(request);
    CHECK(server.ReceiveUntil(peer, "body") == "HTTP/1.1 100 Continue\r\n\r\n" + Ok("POST /x body"));
  }
}

TEST_CASE("a client whose body is too large is told so instead") {
  HttpLimits limits;
  limits.parser.body_bytes = 3;
  Server server(limits);
  Peer peer = server.Connect();
  const std::string request = Post("/x", "body", "Expect: 100-continue\r\n");
  peer.Send(request.substr(0, request.size() - 4));
  const std::string received = server.ReceiveAll(peer);
  CHECK(received.starts_with("HTTP/1.1 413 "));
  CHECK(server.asked.empty());
}

TEST_CASE("a request that cannot be understood is answered with the reason, counted and logged, and is the last") {
  Server server;
  Peer peer = server.Connect();
  peer.Send(Get("/fine") + "nonsense\r\n\r\n" + Get("/never"));
  const std::string received = server.ReceiveAll(peer);
  CHECK(received.starts_with(Ok("GET /fine") + "HTTP/1.1 400 Bad Request\r\n"));
  CHECK(received.find("Connection: close\r\n") != std::string::npos);
  CHECK(received.find(R"({"error":")") != std::string::npos);
  CHECK(server.asked.size() == 1);
  CHECK(server.http.counters().refused.of(Refusal::kMalformed) == 1);
  CHECK(server.http.counters().refused.total() == 1);
  CHECK(server.RunUntilConnections(0));
  REQUIRE(server.lines.size() == 1);
  CHECK(server.lines[0].find("event=request_refused listener=test peer=127.0.0.1:") != std::string::npos);
  CHECK(server.lines[0].find("status=400") != std::string::npos);
}

TEST_CASE("whoever is refused at the head is told why, and nothing of what came behind it is looked at") {
  Server server;
  server.on_head = [&](const RequestStart& request) {
    if (request.head.target == "/secret") {
      server.http.Refuse(request.connection, Refusal::kSecret, {"not you", 401}, {{"WWW-Authenticate", "Bearer"}});
    }
  };
  std::string behind;
  SUBCASE("another request") { behind = "\r\n" + Get("/fine"); }
  SUBCASE("a body that would be wrong") { behind = "Transfer-Encoding: chunked\r\n\r\nno chunk\r\n"; }
  SUBCASE("a body that is still to come") { behind = "Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"; }
  SUBCASE("no request") { behind = "\r\nnonsense\r\n\r\n"; }
  Peer peer = server.Connect();
  peer.Send(Get("/fine") + "GET /secret HTTP/1.1\r\nHost: h\r\n" + behind);
  const std::string received = server.ReceiveAll(peer);
  CHECK(received.starts_with(Ok("GET /fine") + "HTTP/1.1 401 Unauthorized\r\n"));
  CHECK(received.find("WWW-Authenticate: Bearer\r\n") != std::string::npos);
  CHECK(received.ends_with(R"({"error":"not you"})"));
  CHECK(server.Texts() == "GET /fine");
  CHECK(server.http.counters().refused.of(Refusal::kSecret) == 1);
  CHECK(server.http.counters().refused.total() == 1);
  CHECK(server.http.connections() == 0);
  REQUIRE(server.lines.size() == 1);
  CHECK(server.lines[0].find("status=401 kind=secret reason=\"not you\"") != std::string::npos);
}

TEST_CASE("a flood of refusals of one kind does not hide another in the log") {
  Server server;
  server.on_head = [&](const RequestStart& request) {
    const bool secret = request.head.target == "/secret";
    server.http.Refuse(request.connection, secret ? Refusal::kSecret : Refusal::kOrigin, {"no", secret ? 401 : 403});
  };
  for (int i = 0; i < 30; ++i) {
    Peer peer = server.Connect();
    peer.Send(Get("/"));
    server.ReceiveAll(peer);
  }
  CHECK(server.lines.size() < 25);
  Peer peer = server.Connect();
  peer.Send(Get("/secret"));
  server.ReceiveAll(peer);
  CHECK(server.lines.back().find("kind=secret") != std::string::npos);
  CHECK(server.http.counters().refused.of(Refusal::kOrigin) == 30);
}

TEST_CASE("the reason of a refusal reaches a client that is still sending") {
  HttpLimits limits;
  limits.parser.body_bytes = 1000;
  Server server(limits);
  Peer peer = Peer::Connect(server.address, 16 * 1024);
  peer.Send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n");
  std::size_t sent = 0;
  std::string received;
  REQUIRE(server.loop.RunUntil([&] {
    sent += peer.Send(std::string(10'000, 'x'));
    return sent >= 1'000'000;
  }));
  CHECK(server.ReceiveAll(peer).starts_with("HTTP/1.1 413 "));
}

// Small ones, of which the server's look at them each half second makes the rest.
HttpLimits Impatient() {
  HttpLimits limits;
  limits.head_time = milliseconds(200);
  limits.body_time = milliseconds(200);
  limits.idle_time = milliseconds(200);
  return limits;
}

TEST_CASE("whoever takes too long is told so, and closed") {
  Server server(Impatient());
  Peer silent = server.Connect();
  Peer slow_head = server.Connect();
  Peer slow_body = server.Connect();
  Peer slow_next = server.Connect();
  Peer idle = server.Connect();
  slow_head.Send("GET / HTTP/1.1\r\nHo");
  slow_body.Send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab");
  slow_next.Send(Get("/1") + "GET /2");
  idle.Send(Get("/idle"));
  CHECK(server.ReceiveAll(silent) == "");
  const std::string of_head = server.ReceiveAll(slow_head);
  CHECK(of_head.starts_with("HTTP/1.1 408 "));
  CHECK(of_head.find("the request's head did not arrive in time") != std::string::npos);
  const std::string of_body = server.ReceiveAll(slow_body);
  CHECK(of_body.starts_with("HTTP/1.1 408 "));
  CHECK(of_body.find("the request's body did not arrive in time") != std::string::npos);
  CHECK(server.ReceiveAll(slow_next).starts_with(Ok("GET /1") + "HTTP/1.1 408 "));
  CHECK(server.ReceiveAll(idle) == Ok("GET /idle"));
  CHECK(server.http.counters().refused.of(Refusal::kTooSlow) == 4);
  CHECK(server.http.counters().refused.total() == 4);
  CHECK(server.http.connections() == 0);
}

TEST_CASE("whoever waits for an answer may wait long, and the time of the next begins after it") {
  Server server(Impatient());
  server.answers_at_once = false;
  Peer peer = server.Connect();
  peer.Send(Get("/1"));
  REQUIRE(server.RunUntilAsked(1));
  server.loop.RunFor(milliseconds(1200));
  CHECK(server.http.connections() == 1);
  server.Answer(0);
  CHECK(server.ReceiveUntil(peer, "/1") == Ok("GET /1"));
  CHECK(server.ReceiveAll(peer) == "");
}

TEST_CASE("a head's time is counted from its first byte, and does not end while bytes trickle") {
  HttpLimits limits = Impatient();
  limits.idle_time = seconds(60);
  Server server(limits);
  Peer peer = server.Connect();
  peer.Send(Get("/1"));
  CHECK(server.ReceiveUntil(peer, "/1") == Ok("GET /1"));
  server.loop.RunFor(milliseconds(800));
  CHECK(server.http.connections() == 1);
  peer.Send("GET /2 HTTP/1.1\r\nX: ");
  std::string received;
  for (int i = 0; i < 1000 && received.empty(); ++i) {
    peer.Send("x");
    server.loop.RunFor(milliseconds(5));
    received += peer.Receive();
  }
  CHECK(received.starts_with("HTTP/1.1 408 "));
}

// A turn has time for one first request.
HttpLimits OneRequestATurn() {
  HttpLimits limits;
  limits.turn_time = Duration(1);
  return limits;
}

TEST_CASE("first requests past their time of a turn wait, in their order, and those who are there do not") {
  Server server(OneRequestATurn());
  std::vector<std::size_t> asked_by_turn;  // what was asked when a turn ended
  server.loop->SetTurnEnd([&] {
    server.http.ContinuePostponed();
    asked_by_turn.push_back(server.asked.size());
  });
  Peer settled = server.Connect();
  settled.Send(Get("/settled"));
  CHECK(server.ReceiveUntil(settled, "/settled") == Ok("GET /settled"));
  std::vector<Peer> herd;
  for (int i = 0; i < 50; ++i) herd.push_back(server.Connect());
  REQUIRE(server.RunUntilConnections(51));
  for (int i = 0; i < 50; ++i) herd[i].Send(Get("/" + std::to_string(i)));
  settled.Send(Get("/again"));
  asked_by_turn.clear();
  server.asked.clear();
  const auto again = [&] { return server.Texts().find("GET /again") != std::string::npos; };
  REQUIRE(server.loop.RunUntil(again));
  CHECK(server.asked.size() <= 4);  // a turn's two ends, in the one turn or two that it took
  REQUIRE(server.RunUntilAsked(51));
  for (std::size_t i = 1; i < asked_by_turn.size(); ++i) CHECK(asked_by_turn[i] <= asked_by_turn[i - 1] + 3);
  for (int i = 0; i < 50; ++i) {
    const std::string path = "/" + std::to_string(i);
    CHECK(server.ReceiveUntil(herd[i], path) == Ok("GET " + path));
    herd[i].Send(Get("/next"));
  }
  for (Peer& peer : herd) CHECK(server.ReceiveUntil(peer, "/next") == Ok("GET /next"));
  server.loop->SetTurnEnd(nullptr);
}

TEST_CASE("who is half in goes before whoever comes") {
  Server server(OneRequestATurn());
  server.loop->SetTurnEnd([&] { server.http.ContinuePostponed(); });
  Peer half_in = server.Connect();
  half_in.Send("GET /half HTTP/1.1\r\n");
  server.loop.RunFor(milliseconds(50));
  std::vector<Peer> herd;
  for (int i = 0; i < 50; ++i) herd.push_back(server.Connect());
  REQUIRE(server.RunUntilConnections(51));
  server.loop.RunFor(milliseconds(50));  // they are watched as well now: what comes first is seen first
  for (Peer& peer : herd) peer.Send(Get("/herd"));
  half_in.Send("Host: a\r\n\r\n");
  REQUIRE(server.loop.RunUntil([&] { return server.Texts().find("GET /half") != std::string::npos; }));
  CHECK(server.asked.size() <= 4);  // a turn's two ends, in the one turn or two that it took
  REQUIRE(server.RunUntilAsked(51));
  server.loop->SetTurnEnd(nullptr);
}

TEST_CASE("whoever is half in for ever keeps nobody out") {
  Server server(OneRequestATurn());
  server.loop->SetTurnEnd([&] { server.http.ContinuePostponed(); });
  std::vector<Peer> half_in;
  for (int i = 0; i < 50; ++i) half_in.push_back(server.Connect());
  REQUIRE(server.RunUntilConnections(50));
  for (Peer& peer : half_in) peer.Send("GET /half HTTP/1.1\r\n");
  server.loop.RunFor(milliseconds(200));
  Peer other = server.Connect();
  other.Send(Get("/other"));
  int turns = 0;
  for (; turns < 50 && server.asked.empty(); ++turns) {
    for (Peer& peer : half_in) peer.Send("X: x\r\n");
    server.loop.Turn();
  }
  CHECK(server.Texts() == "GET /other");
  server.loop->SetTurnEnd(nullptr);
}

TEST_CASE("who sends many requests ahead does not keep others waiting, and gets all of them answered in order") {
  Server server(OneRequestATurn());
  server.loop->SetTurnEnd([&] { server.http.ContinuePostponed(); });
  Peer eager = server.Connect();
  Peer other = server.Connect();
  REQUIRE(server.RunUntilConnections(2));
  std::string many, answers;
  for (int i = 0; i < 500; ++i) {
    many += Get("/" + std::to_string(i));
    answers += Ok("GET /" + std::to_string(i));
  }
  eager.Send(many);
  other.Send(Get("/other"));
  CHECK(server.ReceiveUntil(other, "/other") == Ok("GET /other"));
  CHECK(server.asked.size() < 50);
  CHECK(server.ReceiveUntil(eager, "/499") == answers);

  SUBCASE("also behind a request whose answer is late") {
    server.answers_at_once = false;
    eager.Send(Get("/a") + Get("/b") + Get("/c"));
    REQUIRE(server.RunUntilAsked(502));
    server.answers_at_once = true;
    server.Answer(501);
    CHECK(server.ReceiveUntil(eager, "/c") == Ok("GET /a") + Ok("GET /b") + Ok("GET /c"));
  }
  SUBCASE("or goes") {
    eager.Send(many);
    REQUIRE(server.RunUntilAsked(510));
    eager.Close();
    REQUIRE(server.RunUntilConnections(1));
  }
  server.loop->SetTurnEnd(nullptr);
}

TEST_CASE("who waits for the server is not late") {
  HttpLimits limits = OneRequestATurn();
  limits.head_time = milliseconds(200);
  Server server(limits);
  Peer first = server.Connect();
  Peer second = server.Connect();
  REQUIRE(server.RunUntilConnections(2));
  first.Send(Get("/first"));
  second.Send(Get("/second"));
  CHECK(server.ReceiveUntil(first, "/first") == Ok("GET /first"));
  server.loop.RunFor(seconds(1));  // nothing continues them
  CHECK(server.asked.size() == 1);
  server.http.ContinuePostponed();
  CHECK(server.ReceiveUntil(second, "/second") == Ok("GET /second"));
}

TEST_CASE("who goes while its first request waits is passed over") {
  Server server(OneRequestATurn());
  server.loop->SetTurnEnd([&] { server.http.ContinuePostponed(); });
  std::vector<Peer> herd;
  for (int i = 0; i < 20; ++i) herd.push_back(server.Connect());
  REQUIRE(server.RunUntilConnections(20));
  for (int i = 0; i < 20; ++i) herd[i].Send(Get("/" + std::to_string(i)));
  for (int i = 0; i < 10; ++i) herd[i].Close();
  for (int i = 10; i < 20; ++i) {
    const std::string path = "/" + std::to_string(i);
    CHECK(server.ReceiveUntil(herd[i], path) == Ok("GET " + path));
  }
  CHECK(server.RunUntilConnections(10));
  SUBCASE("also when all are told to go") {
    for (Peer& peer : herd) peer.Close();
    for (int i = 0; i < 10; ++i) herd[i] = server.Connect();
    REQUIRE(server.RunUntilConnections(10));
    for (int i = 0; i < 10; ++i) herd[i].Send(Get("/late"));
    server.loop.Turn();
    server.http.Shutdown();
    CHECK(server.RunUntilConnections(0));
  }
  server.loop->SetTurnEnd(nullptr);
}

HttpLimits AtMost(std::size_t connections) {
  HttpLimits limits;
  limits.connections = connections;
  return limits;
}

TEST_CASE("what is over the bound on connections waits until one goes") {
  Server server(AtMost(2));
  Peer first = server.Connect();
  Peer second = server.Connect();
  REQUIRE(server.RunUntilConnections(2));
  Peer third = server.Connect();
  third.Send(Get("/third"));
  server.loop.RunFor(milliseconds(50));
  CHECK(server.http.connections() == 2);
  CHECK(server.asked.empty());
  CHECK(server.http.counters().accepted == 2);
  REQUIRE_FALSE(server.lines.empty());
  CHECK(server.lines.back().find("event=listener_full listener=test connections=2") != std::string::npos);
  first.Close();
  CHECK(server.ReceiveUntil(third, "/third") == Ok("GET /third"));
  CHECK(server.http.connections() == 2);
}

TEST_CASE("a herd of connections does not pass the bound") {
  Server server(AtMost(10));
  std::vector<Peer> peers;
  for (int i = 0; i < 50; ++i) {
    peers.push_back(server.Connect());
    peers.back().Send(Get("/", "Connection: close\r\n"));
  }
  std::size_t most = 0;
  server.on_request = [&](const Request&) { most = std::max(most, server.http.connections()); };
  for (Peer& peer : peers) server.ReceiveAll(peer);
  CHECK(server.asked.size() == 50);
  CHECK(most == 10);
}

TEST_CASE("an upgraded connection is handed over with what came behind the request") {
  Server server;
  server.answers_at_once = false;
  net::StreamPtr stream;
  std::string unread;
  server.on_request = [&](const Request& request) { stream = server.http.Upgrade(request.connection, &unread); };
  Peer peer = server.Connect();
  peer.Send(Get("/ws") + "first bytes" + Get("/no request"));
  REQUIRE(server.RunUntilAsked(1));
  REQUIRE(stream != nullptr);
  CHECK(unread == "first bytes" + Get("/no request"));
  CHECK(server.http.connections() == 1);
  stream->Write("mine");
  CHECK(server.ReceiveUntil(peer, "mine") == "mine");
  std::string none;
  CHECK(server.http.Upgrade(server.asked[0].connection, &none) == nullptr);
  server.Answer(0);
  CHECK(server.http.connections() == 1);
  stream.reset();
  server.http.Release(server.asked[0].connection);
  CHECK(server.http.connections() == 0);
  CHECK(server.asked.size() == 1);
}

TEST_CASE("upgraded connections count until they are released, also in the turn of the upgrade") {
  Server server(AtMost(2));
  server.answers_at_once = false;
  std::vector<net::StreamPtr> streams;
  std::size_t most = 0;
  server.on_request = [&](const Request& request) {
    std::string unread;
    streams.push_back(server.http.Upgrade(request.connection, &unread));
    most = std::max(most, server.http.connections());
  };
  std::vector<Peer> peers;
  for (int i = 0; i < 5; ++i) {
    peers.push_back(server.Connect());
    peers.back().Send(Get("/ws"));
  }
  REQUIRE(server.RunUntilAsked(2));
  server.loop.RunFor(milliseconds(50));
  CHECK(server.asked.size() == 2);
  CHECK(server.http.counters().accepted == 2);
  for (std::size_t gone = 1; gone <= 3; ++gone) {
    streams[gone - 1].reset();
    server.http.Release(server.asked[gone - 1].connection);
    REQUIRE(server.RunUntilAsked(2 + gone));
    server.loop.RunFor(milliseconds(20));
    CHECK(server.asked.size() == 2 + gone);
  }
  CHECK(most == 2);
}

TEST_CASE("a shutdown closes who is idle, and the others after their answer") {
  Server server;
  server.answers_at_once = false;
  Peer idle = server.Connect();
  Peer half = server.Connect();
  Peer waiting = server.Connect();
  half.Send("GET / HT");
  waiting.Send(Get("/waiting") + Get("/ahead"));
  REQUIRE(server.RunUntilAsked(1));
  REQUIRE(server.RunUntilConnections(3));
  server.http.Shutdown();
  CHECK_FALSE(server.http.listening());
  CHECK(Peer::IsRefused(server.address));
  CHECK(server.ReceiveAll(idle) == "");
  CHECK(server.ReceiveAll(half) == "");
  CHECK(server.http.connections() == 1);
  server.Answer(0);
  CHECK(server.ReceiveAll(waiting) == Ok("GET /waiting", true));
  CHECK(server.http.connections() == 0);
  CHECK(server.asked.size() == 1);
}

TEST_CASE("a server that stops listening answers those that are there, as the last, and can listen again") {
  Server server;
  Peer before = server.Connect();
  Peer queued = server.Connect();
  server.http.StopListening();
  CHECK(server.http.connections() == 2);  // what was in the kernel's queue came in
  CHECK(Peer::IsRefused(server.address));
  queued.Send(Get("/queued"));
  CHECK(server.ReceiveAll(queued) == Ok("GET /queued", true));
  REQUIRE(server.http.Listen());
  CHECK(server.http.listening());
  before.Send(Get("/before"));
  CHECK(server.ReceiveUntil(before, "/before") == Ok("GET /before"));
  Peer after = server.Connect();
  after.Send(Get("/after"));
  CHECK(server.ReceiveUntil(after, "/after") == Ok("GET /after"));
}

TEST_CASE("a port that is closed takes nobody, and those who came by it get one more answer") {
  Server server;
  const auto other = server.http.Bind(*net::Address::Parse("127.0.0.1", 0));
  REQUIRE(other);
  REQUIRE(server.http.Listen());
  Peer here = server.Connect();
  Peer there = Peer::Connect(*other);
  REQUIRE(server.RunUntilConnections(2));
  server.http.ClosePort(0);
  here.Send(Get("/a"));
  CHECK(server.ReceiveAll(here) == Ok("GET /a", true));
  there.Send(Get("/b"));
  CHECK(server.ReceiveUntil(there, "/b") == Ok("GET /b"));

  SUBCASE("also when the server stops listening, and listens again") {
    server.http.StopListening();
    REQUIRE(server.http.Listen());
    there = Peer::Connect(*other);
    there.Send(Get("/c"));
    CHECK(server.ReceiveUntil(there, "/c") == Ok("GET /c"));
  }
  Server again;  // the address is free
  CHECK(again.http.Bind(server.address));
}

TEST_CASE("a port that is taken back leaves no trace") {
  Server server;
  const auto other = server.http.Bind(*net::Address::Parse("127.0.0.1", 0));
  REQUIRE(other);
  CHECK(server.http.ports() == 2);
  server.http.Unbind();
  CHECK(server.http.ports() == 1);
  Server again;
  CHECK(again.http.Bind(*other));
}

TEST_CASE("bounds that change count those who are there") {
  HttpLimits limits;
  Server server(limits);
  Peer first = server.Connect();
  Peer second = server.Connect();
  REQUIRE(server.RunUntilConnections(2));

  SUBCASE("on connections") {
    limits.connections = 2;
    server.http.SetLimits(limits);
    Peer third = server.Connect();
    third.Send(Get("/a"));
    server.loop.RunFor(milliseconds(50));
    CHECK(server.http.connections() == 2);
    limits.connections = 3;
    server.http.SetLimits(limits);
    CHECK(server.ReceiveUntil(third, "/a") == Ok("GET /a"));
  }
  SUBCASE("of one address, which may hold what it has") {
    limits.per_address = 1;
    server.http.SetLimits(limits);
    Peer third = server.Connect();
    CHECK(server.ReceiveAll(third).starts_with("HTTP/1.1 429 "));
    first.Send(Get("/a"));
    CHECK(server.ReceiveUntil(first, "/a") == Ok("GET /a"));
    first.Close();
    second.Close();
    REQUIRE(server.RunUntilConnections(0));
    Peer fourth = server.Connect();
    fourth.Send(Get("/b"));
    CHECK(server.ReceiveUntil(fourth, "/b") == Ok("GET /b"));
    limits.per_address = 0;
    server.http.SetLimits(limits);
    Peer fifth = server.Connect();
    fifth.Send(Get("/c"));
    CHECK(server.ReceiveUntil(fifth, "/c") == Ok("GET /c"));
  }
}

TEST_CASE("those that have not asked for anything are counted as arriving") {
  Server server;
  Peer first = server.Connect();
  Peer second = server.Connect();
  REQUIRE(server.RunUntilConnections(2));
  CHECK(server.http.arriving() == 2);
  first.Send(Get("/x"));
  server.ReceiveUntil(first, "/x");
  CHECK(server.http.arriving() == 1);
}

TEST_CASE("a server may go while connections are open, and requests wait") {
  Server server;
  server.answers_at_once = false;
  Peer idle = server.Connect();
  Peer waiting = server.Connect();
  waiting.Send(Get("/"));
  REQUIRE(server.RunUntilAsked(1));
}

}  // namespace
}  // namespace aphlict::server
