// What answers a repeater's handshake: one head and nothing else is taken for one, and only the right answer to the key
// that was sent is accepted. And what answers a push peer's requests: the outcome does not depend on how it is cut.
#include <string>

#include "common/http/response_parser.h"
#include "common/websocket/handshake.h"
#include "tests/fuzz/fuzz.h"

namespace aphlict::fuzz {
namespace {

// The example of RFC 6455 section 1.3.
constexpr std::string_view kKey = "dGhlIHNhbXBsZSBub25jZQ==";
constexpr std::string_view kAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
constexpr std::string_view kProtocol = "aphlict-relay.v1";

// The responses that come of bytes, in pieces of `step` bytes, and how it ends.
std::string Responses(std::string_view bytes, std::size_t step) {
  http::ResponseParser parser({.body_bytes = 4096});
  std::string text;
  while (!bytes.empty()) {
    const auto taken = parser.Feed(bytes.substr(0, step));
    if (!taken) {
      Check(!taken.error().text.empty(), "a refusal says why");
      return text + "refused: " + taken.error().text;
    }
    bytes.remove_prefix(*taken);
    if (!parser.complete()) continue;
    Check(parser.head().status >= 200 && parser.body().size() <= 4096, "a response is one, and bounded");
    text += std::to_string(parser.head().status) + " " + parser.body() + (parser.keep_alive() ? "\n" : " close\n");
    parser.Next();
  }
  const bool started = parser.started();
  const auto ended = parser.End();
  return text + (ended ? "ends with " + parser.body() : started ? ended.error().text : "");
}

void Test(std::string_view bytes) {
  CheckSame(Responses(bytes, std::string_view::npos), Responses(bytes, 1), "the outcome does not depend on the cuts");

  // What follows the head is not the head's: a connection cuts it off.
  const std::string head(
      bytes.substr(0, std::min(bytes.find("\r\n\r\n"), bytes.size() - std::min<std::size_t>(bytes.size(), 4)) + 4));
  const auto response = http::ParseResponseHead(head);
  if (!response) {
    Check(!response.error().text.empty(), "a refusal says why");
    return;
  }
  Check(head.ends_with("\r\n\r\n") && head.find("\r\n\r\n") == head.size() - 4, "a head ends at its empty line");
  Check(!http::ParseResponseHead(head + "x"), "a head is not taken with what follows it");
  Check(!http::ParseResponseHead(head.substr(0, head.size() - 1)), "a head is not taken before its end");

  const auto accepted = websocket::CheckHandshakeResponse(*response, kKey, kProtocol);
  if (!accepted) {
    Check(accepted.error().code == response->status && !accepted.error().text.empty(), "a refusal says why");
    return;
  }
  Check(response->status == 101 && response->headers.Find("Sec-WebSocket-Accept") == kAccept &&
            response->headers.Find("Sec-WebSocket-Protocol") == kProtocol,
        "only the right answer is accepted");
  Check(!websocket::CheckHandshakeResponse(*response, "AAAAAAAAAAAAAAAAAAAAAA==", kProtocol),
        "the answer to one key is not one to another");
  Check(!websocket::CheckHandshakeResponse(*response, kKey, ""), "a subprotocol that was not offered is refused");
}

}  // namespace
}  // namespace aphlict::fuzz

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  aphlict::fuzz::Test(aphlict::fuzz::Text(data, size));
  return 0;
}
