#include "common/websocket/client_handshake.h"

#include <doctest/doctest.h>

#include "common/http/parser.h"
#include "common/websocket/handshake.h"

namespace aphlict::websocket {
namespace {

// What a server answers to it.
std::string AnswerTo(const ClientHandshake& handshake, std::string_view protocol = "") {
  http::RequestParser parser(http::ParserLimits{});
  const std::string request = handshake.Request("example.com", "/path");
  REQUIRE(parser.Feed(request));
  REQUIRE(parser.state() == http::RequestParser::State::kComplete);
  const auto accept = AcceptHandshake(parser.head());
  REQUIRE(accept);
  return SwitchingProtocols(*accept, protocol);
}

TEST_CASE("a client's handshake is done when the answer's head has come, and gives back what came behind it") {
  ClientHandshake handshake("chat");
  const std::string answer = AnswerTo(handshake, "chat") + "frames";
  SUBCASE("at once") {
    const auto taken = handshake.Take(answer);
    REQUIRE(taken);
    REQUIRE(*taken);
    CHECK(**taken == "frames");
  }
  SUBCASE("byte by byte") {
    const std::size_t head = answer.size() - 6;
    for (std::size_t i = 0; i + 1 < head; ++i) CHECK_FALSE(handshake.Take(answer.substr(i, 1)));
    const auto taken = handshake.Take(answer.substr(head - 1));
    REQUIRE(taken);
    REQUIRE(*taken);
    CHECK(**taken == "frames");
  }
}

TEST_CASE("a client's handshake tells why it was refused") {
  const auto refused = [](const std::string& answer) {
    ClientHandshake handshake;
    const auto taken = handshake.Take(answer);
    REQUIRE(taken);
    REQUIRE_FALSE(*taken);
    return taken->error();
  };
  const std::string head = "HTTP/1.1 403 Forbidden\r\n\r\n";
  CHECK(refused(head).code == 403);
  CHECK(refused(head).text == "answered with status 403 in place of 101");
  CHECK(refused(head + R"({"error":"no"})").text == "answered with status 403 in place of 101: no");
  CHECK(refused(head + "not here").text == "answered with status 403 in place of 101: not here");
  CHECK(refused(head + std::string(1000, 'x')).text.size() < 400);

  SUBCASE("also by what is no answer at all") {
    CHECK(refused("SSH-2.0-OpenSSH_9.2\r\n\r\n").code == 0);
    CHECK(refused(std::string(20'000, 'x')).text == "the answer to the handshake is too long");
  }
  SUBCASE("also when the answer belongs to another key") {
    CHECK(refused(AnswerTo(ClientHandshake())).text.find("key") != std::string::npos);
  }
}

}  // namespace
}  // namespace aphlict::websocket
