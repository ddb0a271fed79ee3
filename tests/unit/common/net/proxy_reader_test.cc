#include "common/net/proxy_reader.h"

#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <string>

#include "tests/unit/support/loop.h"

namespace aphlict::net {
namespace {

const std::string kHeader = "PROXY TCP4 192.0.2.1 198.51.100.7 51234 443\r\n";

// A reader, the other end of its connection, and what came of it.
struct Reading {
  Reading() {
    reader = std::make_unique<ProxyReader>(loop, pair.descriptor,
                                           [this](const Result<ProxyHeader>& result) { outcome = result; });
  }
  bool RunUntilDone() {
    return loop.RunUntil([&] { return outcome.has_value(); });
  }
  // What the next owner of the descriptor reads.
  std::string Rest() {
    const int descriptor = reader->Take();
    char buffer[64] = {};
    const ssize_t got = recv(descriptor, buffer, sizeof(buffer), 0);
    close(descriptor);
    return {buffer, static_cast<std::size_t>(got < 0 ? 0 : got)};
  }

  testing::TestLoop loop;
  testing::SocketPair pair;
  std::optional<Result<ProxyHeader>> outcome;
  std::unique_ptr<ProxyReader> reader;
};

TEST_CASE("the header is taken off, and what follows it is left") {
  Reading reading;
  reading.pair.peer.Send(kHeader + "GET /");
  REQUIRE(reading.RunUntilDone());
  REQUIRE(*reading.outcome);
  CHECK((*reading.outcome)->source->ToString() == "192.0.2.1:51234");
  CHECK(reading.Rest() == "GET /");
}

TEST_CASE("a header that comes byte by byte is the same, and does not keep the loop busy") {
  Reading reading;
  for (const char byte : kHeader) {
    CHECK_FALSE(reading.outcome.has_value());
    reading.pair.peer.Send({&byte, 1});
    const std::uint64_t before = reading.loop->turn();
    reading.loop.RunFor(milliseconds(3));
    CHECK(reading.loop->turn() < before + 50);
  }
  REQUIRE(reading.RunUntilDone());
  CHECK((*reading.outcome)->source->ToString() == "192.0.2.1:51234");
  reading.pair.peer.Send("x");
  CHECK(reading.Rest() == "x");
}

TEST_CASE("a connection without a header is an error") {
  Reading reading;
  reading.pair.peer.Send("GET / HTTP/1.1\r\n");
  REQUIRE(reading.RunUntilDone());
  REQUIRE_FALSE(*reading.outcome);
  CHECK(reading.outcome->error().text == "the PROXY header: the connection does not begin with one");
  CHECK(reading.outcome->error().code == 0);
}

TEST_CASE("one that ends is told from one that only looked whether somebody listens") {
  Reading reading;
  int code = 1;
  SUBCASE("before its first byte") {}
  SUBCASE("in its header") {
    reading.pair.peer.Send("PRO");
    reading.loop.RunFor(milliseconds(10));
    code = 0;
  }
  reading.pair.peer.CloseWrite();
  REQUIRE(reading.RunUntilDone());
  REQUIRE_FALSE(*reading.outcome);
  CHECK(reading.outcome->error().code == code);
}

TEST_CASE("a reader that goes closes the connection") {
  Reading reading;
  reading.reader.reset();
  CHECK(reading.loop.RunUntil([&] { return reading.pair.peer.AtEnd(); }));
}

}  // namespace
}  // namespace aphlict::net
