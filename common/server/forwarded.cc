#include "common/server/forwarded.h"

#include <charconv>
#include <optional>
#include <string>
#include <string_view>

namespace aphlict::server {

namespace {

// "192.0.2.1", "192.0.2.1:5", "2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:5": proxies write all of these.
std::optional<net::Address> ParseEntry(std::string_view text) {
  std::string_view host = text;
  std::string_view port;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) return std::nullopt;
    host = text.substr(1, end - 1);
    port = text.substr(end + 1);
  } else if (const std::size_t colon = text.find(':'); colon != std::string_view::npos && colon == text.rfind(':')) {
    host = text.substr(0, colon);
    port = text.substr(colon);
  }
  std::uint16_t number = 0;
  if (!port.empty()) {
    const auto [end, error] = std::from_chars(port.data() + 1, port.data() + port.size(), number);
    if (port[0] != ':' || error != std::errc() || end != port.data() + port.size()) return std::nullopt;
  }
  const auto address = net::Address::Parse(std::string(host), number);
  return address ? std::optional(*address) : std::nullopt;
}

}  // namespace

net::Address ForwardedFor(const http::Headers& headers, const net::Address& hop,
                          const std::vector<net::Network>& trusted) {
  net::Address last = hop;
  // Several headers of the name are one list (RFC 9110 section 5.3).
  for (std::size_t i = headers.size(); i-- > 0;) {
    if (!http::EqualsIgnoreCase(headers[i].name, "X-Forwarded-For")) continue;
    std::string_view rest = headers[i].value;
    while (true) {
      const std::size_t comma = rest.rfind(',');
      const auto address =
          ParseEntry(http::TrimWhiteSpace(comma == std::string_view::npos ? rest : rest.substr(comma + 1)));
      if (!address) return last;
      last = *address;
      if (!net::AnyContains(trusted, last)) return last;
      if (comma == std::string_view::npos) break;
      rest = rest.substr(0, comma);
    }
  }
  return last;
}

}  // namespace aphlict::server
