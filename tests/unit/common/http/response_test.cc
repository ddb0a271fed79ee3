#include "common/http/response.h"

#include <doctest/doctest.h>

using namespace aphlict;
using namespace aphlict::http;

TEST_CASE("a response is serialized with its length") {
  Response response;
  response.body = "hello";
  CHECK(Serialize(response, false) ==
        "HTTP/1.1 200 OK\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        "Content-Length: 5\r\n"
        "Connection: keep-alive\r\n"
        "\r\n"
        "hello");

  SUBCASE("and to a HEAD request without its body") {
    const std::string head = Serialize(response, false, true);
    CHECK(head.find("Content-Length: 5\r\n") != std::string::npos);
    CHECK(head.ends_with("\r\n\r\n"));
  }
  SUBCASE("and says when the connection ends") {
    CHECK(Serialize(response, true).find("Connection: close\r\n") != std::string::npos);
    CHECK(Serialize(response, true).find("keep-alive") == std::string::npos);
  }
  SUBCASE("and with further headers") {
    response.status = 503;
    response.headers = {{"Retry-After", "2"}, {"Allow", "POST"}};
    const std::string text = Serialize(response, false);
    CHECK(text.starts_with("HTTP/1.1 503 Service Unavailable\r\n"));
    CHECK(text.find("\r\nRetry-After: 2\r\nAllow: POST\r\n") != std::string::npos);
  }
  SUBCASE("and an empty body has the length 0") {
    response.body.clear();
    CHECK(Serialize(response, false).find("Content-Length: 0\r\n") != std::string::npos);
  }
}

TEST_CASE("a status that has no body gets neither body nor length") {
  for (int status : {101, 204, 304}) {
    CAPTURE(status);
    Response response;
    response.status = status;
    response.body = "ignored";
    const std::string text = Serialize(response, false);
    CHECK(text.find("Content-") == std::string::npos);
    CHECK(text.ends_with("\r\n\r\n"));
  }
}

TEST_CASE("a header's value cannot begin another header") {
  Response response;
  response.headers = {{"Location", "/a\r\nSet-Cookie: b"}};
  const std::string text = Serialize(response, false);
  CHECK(text.find("Location: /a  Set-Cookie: b\r\n") != std::string::npos);
  CHECK(text.find("\nSet-Cookie") == std::string::npos);
}

TEST_CASE("statuses have the phrases of RFC 9110") {
  CHECK(ReasonPhrase(101) == "Switching Protocols");
  CHECK(ReasonPhrase(200) == "OK");
  CHECK(ReasonPhrase(413) == "Content Too Large");
  CHECK(ReasonPhrase(431) == "Request Header Fields Too Large");
  CHECK(ReasonPhrase(505) == "HTTP Version Not Supported");
  CHECK(ReasonPhrase(299) == "Unknown");
}

TEST_CASE("a prepared response has the same bytes as one that is made anew") {
  for (const int status : {200, 204}) {
    Response response;
    response.status = status;
    response.body = "body";
    const PreparedResponse prepared(response);
    for (const bool close : {false, true}) {
      for (const bool head_request : {false, true}) {
        CHECK(prepared.Bytes(close, head_request).view() == Serialize(response, close, head_request));
      }
    }
  }
}

TEST_CASE("an error is answered in JSON") {
  const Response response = ErrorResponse(400, "missing \"subscribers\"");
  CHECK(response.status == 400);
  CHECK(response.content_type == "application/json");
  CHECK(response.body == R"({"error":"missing \"subscribers\""})");
}
