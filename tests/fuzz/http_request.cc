// The requests on a connection: how the bytes are cut does not matter; each request ends where a slow and separate
// reading says; and a request means the same when it is written in the plainest way.
#include <algorithm>
#include <charconv>
#include <optional>

#include "common/clients/command.h"
#include "common/http/parser.h"
#include "common/websocket/handshake.h"
#include "tests/fuzz/fuzz.h"

namespace aphlict::fuzz {
namespace {

using State = http::RequestParser::State;

constexpr http::ParserLimits kLimits{.head_bytes = 600, .headers = 10, .body_bytes = 300};

std::string Describe(const http::RequestHead& head, bool with_framing) {
  std::string text = head.method + " " + head.target + " " + std::to_string(head.version_minor);
  if (head.keep_alive) text += " keep-alive";
  if (with_framing && head.expects_continue) text += " expects";
  for (std::size_t i = 0; i < head.headers.size(); ++i) {
    const http::HeaderView header = head.headers[i];
    const bool framing = http::EqualsIgnoreCase(header.name, "Content-Length") ||
                         http::EqualsIgnoreCase(header.name, "Transfer-Encoding");
    if (framing && !with_framing) continue;
    text.append("\n").append(header.name).append("|").append(header.value);
  }
  return text;
}

// What came of some bytes.
struct Outcome {
  std::string text;                // all of it
  std::vector<std::size_t> ends;   // where each complete request ends
  std::vector<std::string> plain;  // each in the plainest way, with what it means
  std::vector<std::string> meanings;
};

std::string Plain(const http::RequestHead& head, const std::string& body) {
  std::string text = head.method + " " + head.target + " HTTP/1." + std::to_string(head.version_minor) + "\r\n";
  for (std::size_t i = 0; i < head.headers.size(); ++i) {
    const http::HeaderView header = head.headers[i];
    if (http::EqualsIgnoreCase(header.name, "Content-Length")) continue;
    if (http::EqualsIgnoreCase(header.name, "Transfer-Encoding")) continue;
    text.append(header.name).append(":").append(header.value).append("\r\n");
  }
  return text + "Content-Length:" + std::to_string(body.size()) + "\r\n\r\n" + body;
}

// What else is read of a head.
void Use(const http::RequestHead& head) {
  const std::string path(head.path());
  Check(!path.empty(), "a request has a path");
  http::QueryParameter(head.query(), "instance");
  clients::InstanceOfPath(path);
  if (const auto accept = websocket::AcceptHandshake(head); accept) {
    Check(websocket::IsUpgrade(head) && accept->size() == 28, "an accepted handshake asked for a WebSocket");
  }
}

Outcome Run(std::string_view bytes, const Cutting& cutting) {
  Outcome outcome;
  http::RequestParser parser(kLimits);
  std::size_t at = 0;
  bool failed = false;
  ForEachPiece(bytes, cutting, [&](std::string_view piece) {
    while (!piece.empty() && !failed) {
      const bool had_head = parser.state() != State::kHead;
      const auto taken = parser.Feed(piece);
      if (!taken) {
        failed = true;
        outcome.text += std::to_string(taken.error().code) + " " + taken.error().text + "\n";
        Check(taken.error().code >= 400 && taken.error().code <= 599, "an error has the status to answer with");
        return;
      }
      Check(*taken <= piece.size(), "no more is taken than there is");
      Check(
          *taken == piece.size() || parser.state() == State::kComplete || (!had_head && parser.state() == State::kBody),
          "feeding stops early only at the end of a head or a request");
      at += *taken;
      piece.remove_prefix(*taken);
      if (parser.state() != State::kComplete) continue;
      const http::RequestHead& head = parser.head();
      Check(parser.body().size() <= kLimits.body_bytes && head.headers.size() <= kLimits.headers, "bounds are kept");
      Use(head);
      outcome.text += Describe(head, true) + "\n" + parser.body() + "\n";
      outcome.ends.push_back(at);
      outcome.plain.push_back(Plain(head, parser.body()));
      outcome.meanings.push_back(Describe(head, false) + "\n\n" + parser.body());
      parser.Next();
    }
  });
  outcome.text += std::to_string(static_cast<int>(parser.state())) + (parser.started() ? " started" : "");
  return outcome;
}

// Takes the next line of `*rest`, without its CRLF. Nothing: it has no end.
std::optional<std::string_view> TakeLine(std::string_view* rest) {
  const std::size_t end = rest->find("\r\n");
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view line = rest->substr(0, end);
  rest->remove_prefix(end + 2);
  return line;
}

bool IsHeader(std::string_view line, std::string_view name, std::string_view* value) {
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos || !http::EqualsIgnoreCase(line.substr(0, colon), name)) return false;
  *value = line.substr(colon + 1);
  value->remove_prefix(std::min(value->find_first_not_of(" \t"), value->size()));
  value->remove_suffix(value->size() - value->find_last_not_of(" \t") - 1);
  return true;
}

// How long the request is that `bytes` begin with (RFC 9112 section 6.3), read by lines. REQUIRES: it was accepted.
std::size_t SlowLength(std::string_view bytes) {
  std::string_view rest = bytes;
  while (rest.starts_with("\r\n")) rest.remove_prefix(2);
  const std::size_t begin = bytes.size() - rest.size();
  std::size_t length = 0;
  bool chunked = false;
  int framings = 0;
  for (auto line = TakeLine(&rest); line && !line->empty(); line = TakeLine(&rest)) {
    Check(line->find_first_of("\r\n") == std::string_view::npos && !line->starts_with(' ') && !line->starts_with('\t'),
          "an accepted head has no bare CR or LF and no folded line");
    std::string_view value;
    if (IsHeader(*line, "Content-Length", &value)) {
      ++framings;
      std::from_chars(value.data(), value.data() + value.size(), length);
    } else if (IsHeader(*line, "Transfer-Encoding", &value)) {
      ++framings;
      chunked = true;
      Check(http::EqualsIgnoreCase(value, "chunked"), "no other coding is accepted");
    }
  }
  Check(bytes.size() - rest.size() - begin <= kLimits.head_bytes, "an accepted head is within its bound");
  Check(framings <= 1, "the framing of an accepted request is declared once");
  if (!chunked) return bytes.size() - rest.size() + length;
  for (std::size_t size = 1; size > 0;) {
    const auto line = TakeLine(&rest);
    Check(line.has_value(), "an accepted chunk's size is on a line");
    const auto [end, error] = std::from_chars(line->data(), line->data() + line->size(), size, 16);
    Check(error == std::errc() && (end == line->data() + line->size() || *end == ';' || *end == ' '),
          "an accepted chunk's size is a number");
    if (size == 0) break;
    Check(size + 2 <= rest.size() && rest.substr(size, 2) == "\r\n", "an accepted chunk ends after its size");
    rest.remove_prefix(size + 2);
  }
  for (auto line = TakeLine(&rest); line && !line->empty(); line = TakeLine(&rest)) {
  }
  return bytes.size() - rest.size();
}

void Test(std::string_view bytes) {
  const Outcome whole = Run(bytes, {bytes.size()});
  ForEachCutting(bytes, [&](const Cutting& cutting) {
    CheckSame(whole.text, Run(bytes, cutting).text, "the outcome is the same however the bytes are cut");
  });
  std::size_t begin = 0;
  for (std::size_t i = 0; i < whole.ends.size(); ++i) {
    Check(whole.ends[i] - begin == SlowLength(bytes.substr(begin)), "a request ends where its framing says");
    begin = whole.ends[i];
    if (whole.plain[i].size() > kLimits.head_bytes) continue;  // it may have become longer
    const Outcome again = Run(whole.plain[i], {whole.plain[i].size()});
    if (again.meanings.empty() && again.text.starts_with("431")) continue;  // a header more than before
    Check(again.meanings.size() == 1, "a request in the plainest way is one request");
    CheckSame(whole.meanings[i], again.meanings[0], "a request in the plainest way means the same");
  }
}

}  // namespace
}  // namespace aphlict::fuzz

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  aphlict::fuzz::Test(aphlict::fuzz::Text(data, size));
  return 0;
}
