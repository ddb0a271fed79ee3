// What answers a repeater's handshake: one head and nothing else is taken for one, and only the right answer to the key
// that was sent is accepted.
#include "common/http/response_parser.h"
#include "common/websocket/handshake.h"
#include "tests/fuzz/fuzz.h"

namespace aphlict::fuzz {
namespace {

// The example of RFC 6455 section 1.3.
constexpr std::string_view kKey = "dGhlIHNhbXBsZSBub25jZQ==";
constexpr std::string_view kAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
constexpr std::string_view kProtocol = "aphlict-relay.v1";

void Test(std::string_view bytes) {
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
