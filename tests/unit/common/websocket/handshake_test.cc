#include "common/websocket/handshake.h"

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

namespace aphlict::websocket {
namespace {

// The example of RFC 6455, section 1.3.
constexpr std::string_view kKey = "dGhlIHNhbXBsZSBub25jZQ==";
constexpr std::string_view kAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

using Fields = std::vector<std::pair<std::string, std::string>>;

http::Headers MakeHeaders(const Fields& fields) {
  http::Headers headers;
  for (const auto& [name, value] : fields) headers.Add(name, value);
  return headers;
}

// A request that is fine, but for the headers in `changed`: these replace those of the same name,
// or remove them where the value is empty.
http::RequestHead Request(const Fields& changed = {}, const Fields& added = {}) {
  Fields fields = {{"Host", "example.com"},
                   {"Upgrade", "websocket"},
                   {"Connection", "Upgrade"},
                   {"Sec-WebSocket-Key", std::string(kKey)},
                   {"Sec-WebSocket-Version", "13"}};
  for (const auto& [name, value] : changed) {
    std::erase_if(fields, [&](const auto& field) { return field.first == name; });
    if (!value.empty()) fields.emplace_back(name, value);
  }
  fields.insert(fields.end(), added.begin(), added.end());
  http::RequestHead request;
  request.method = "GET";
  request.target = "/ws/";
  request.headers = MakeHeaders(fields);
  return request;
}

// The status that a handshake is answered with.
int Status(const http::RequestHead& request) {
  const Result<std::string> accept = AcceptHandshake(request);
  return accept ? 101 : accept.error().code;
}

TEST_CASE("the handshake of RFC 6455, section 1.3, is accepted") {
  const Result<std::string> accept = AcceptHandshake(Request());
  REQUIRE(accept);
  CHECK(*accept == kAccept);
  CHECK(SwitchingProtocols(*accept, "") ==
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
  CHECK(SwitchingProtocols(*accept, "chat").ends_with("\r\nSec-WebSocket-Protocol: chat\r\n\r\n"));
}

TEST_CASE("tokens of a handshake are found among others, in any case") {
  CHECK(Status(Request({{"Connection", "keep-alive, UPGRADE"}})) == 101);
  CHECK(Status(Request({{"Upgrade", "WebSocket"}})) == 101);
  CHECK(Status(Request({}, {{"Connection", "keep-alive"}})) == 101);
}

TEST_CASE("a request without `Upgrade: websocket` is plain HTTP") {
  CHECK(IsUpgrade(Request()));
  CHECK(IsUpgrade(Request({{"Upgrade", "h2c, WebSocket"}})));
  CHECK_FALSE(IsUpgrade(Request({{"Upgrade", ""}})));
  CHECK_FALSE(IsUpgrade(Request({{"Upgrade", "h2c"}})));
  CHECK_FALSE(IsUpgrade(Request({{"Upgrade", "websockets"}})));
}

TEST_CASE("a handshake against the rules is answered with the status that says so") {
  SUBCASE("405 for a method other than GET") {
    http::RequestHead request = Request();
    request.method = "POST";
    CHECK(Status(request) == 405);
  }
  SUBCASE("400 for HTTP/1.0") {
    http::RequestHead request = Request();
    request.version_minor = 0;
    CHECK(Status(request) == 400);
  }
  SUBCASE("400 without the tokens") {
    CHECK(Status(Request({{"Upgrade", "h2c"}})) == 400);
    CHECK(Status(Request({{"Connection", "keep-alive"}})) == 400);
    CHECK(Status(Request({{"Connection", ""}})) == 400);
  }
  SUBCASE("426 for a version other than 13") {
    CHECK(Status(Request({{"Sec-WebSocket-Version", "99"}})) == 426);
    CHECK(Status(Request({{"Sec-WebSocket-Version", "8"}})) == 426);
    CHECK(Status(Request({{"Sec-WebSocket-Version", "013"}})) == 426);
    CHECK(Status(Request({{"Sec-WebSocket-Version", ""}})) == 426);
    CHECK(Status(Request({{"Sec-WebSocket-Version", "8"}, {"Sec-WebSocket-Key", ""}})) == 426);
  }
  SUBCASE("400 for two versions") { CHECK(Status(Request({}, {{"Sec-WebSocket-Version", "13"}})) == 400); }
  SUBCASE("400 unless there is exactly one key") {
    CHECK(Status(Request({{"Sec-WebSocket-Key", ""}})) == 400);
    CHECK(Status(Request({}, {{"sec-websocket-key", std::string(kKey)}})) == 400);
  }
  SUBCASE("400 for a key that is not 16 bytes in base64") {
    for (const char* key : {"x", "dGhlIHNhbXBsZSBub25jZQ=", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZTA=",
                            "dGhlIHNhbXBsZSBub25jZTAw", "dGhlIHNhbXBsZSBub25jZQ===", "dGhlIHNhbXBsZSBub25j====",
                            "dGhlIHNhbXBsZSBub25j Q==", "dGhlIHNhbXBsZSBub25j_Q==", "SGVsbG8sIHdvcmxkIQ=="}) {
      CAPTURE(key);
      CHECK(Status(Request({{"Sec-WebSocket-Key", key}})) == 400);
    }
  }
}

TEST_CASE("a client's handshake is one that a server accepts") {
  http::Headers further;
  further.Add("Authorization", "Bearer secret");
  CHECK(HandshakeRequest("example.com:80", "/feed/?a=b", kKey, "chat", further) ==
        "GET /feed/?a=b HTTP/1.1\r\nHost: example.com:80\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat\r\n"
        "Authorization: Bearer secret\r\n\r\n");
  CHECK(HandshakeRequest("a", "/", kKey, "", {}).find("Protocol") == std::string::npos);

  const std::string key = RandomKey();
  CHECK(key != RandomKey());
  CHECK(Status(Request({{"Sec-WebSocket-Key", key}})) == 101);
}

TEST_CASE("a client takes only the answer to its own handshake") {
  auto check = [](int status, const Fields& fields, std::string_view protocol = "") {
    return CheckHandshakeResponse({status, MakeHeaders(fields)}, kKey, protocol);
  };
  const Fields good = {
      {"Upgrade", "websocket"}, {"Connection", "upgrade"}, {"Sec-WebSocket-Accept", std::string(kAccept)}};
  auto with = [&](const char* name, const char* value) {
    Fields fields = good;
    fields.emplace_back(name, value);
    return fields;
  };
  auto without = [&](std::size_t index) {
    Fields fields = good;
    fields.erase(fields.begin() + static_cast<std::ptrdiff_t>(index));
    return fields;
  };
  CHECK(check(101, good));
  CHECK(check(101, with("Sec-WebSocket-Protocol", "chat"), "chat"));

  SUBCASE("with status 101") {
    const Result<void> refused = check(503, good);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == 503);
    CHECK(refused.error().text == "answered with status 503 in place of 101");
  }
  SUBCASE("with all of its headers") {
    for (std::size_t i = 0; i < good.size(); ++i) CHECK_FALSE(check(101, without(i)));
  }
  SUBCASE("with the value that belongs to its key") {
    Fields fields = good;
    fields[2].second = "AAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    CHECK_FALSE(check(101, fields));
    CHECK_FALSE(check(101, with("Sec-WebSocket-Accept", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=")));
  }
  SUBCASE("with the subprotocol that it asked for") {
    CHECK_FALSE(check(101, good, "chat"));
    CHECK_FALSE(check(101, with("Sec-WebSocket-Protocol", "chat")));
    CHECK_FALSE(check(101, with("Sec-WebSocket-Protocol", "other"), "chat"));
  }
  SUBCASE("without extensions") { CHECK_FALSE(check(101, with("Sec-WebSocket-Extensions", "permessage-deflate"))); }
}

}  // namespace
}  // namespace aphlict::websocket
