#include "common/net/proxy_header.h"

#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <string>

#include "common/base/bytes.h"

namespace aphlict::net {

namespace {

using Parsed = Result<std::optional<ProxyHeader>>;

constexpr std::string_view kText = "PROXY ";                        // of v1
constexpr std::string_view kSignature("\r\n\r\n\0\r\nQUIT\n", 12);  // of v2
constexpr std::size_t kMostTextBytes = 107;                         // with the line's end (section 2.1)
constexpr std::size_t kFixedBytes = 16;                             // of v2, before the addresses

Error Wrong(const char* why) { return {std::string("the PROXY header: ") + why}; }

bool BeginsLike(std::string_view bytes, std::string_view whole) {
  const std::size_t size = std::min(bytes.size(), whole.size());
  return bytes.substr(0, size) == whole.substr(0, size);
}

// A decimal number without signs, spaces or zeros in front.
std::optional<std::uint16_t> ParsePort(std::string_view text) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > 65'535) return std::nullopt;
  if (text.size() > 1 && text[0] == '0') return std::nullopt;
  return static_cast<std::uint16_t>(value);
}

// "TCP4 192.0.2.1 192.0.2.2 51234 443": what stands between "PROXY " and the line's end.
Parsed ParseText(std::string_view line, std::size_t size) {
  if (line == "UNKNOWN" || line.starts_with("UNKNOWN ")) return std::optional(ProxyHeader{size, std::nullopt});
  std::array<std::string_view, 5> words;
  std::size_t count = 0;
  for (std::size_t begin = 0; begin <= line.size(); ++count) {
    const std::size_t end = std::min(line.find(' ', begin), line.size());
    if (count == words.size()) return Wrong("more than a family, two addresses and two ports");
    words[count] = line.substr(begin, end - begin);
    begin = end + 1;
  }
  const auto& [family, source, destination, source_port, destination_port] = words;
  if (count != words.size()) return Wrong("less than a family, two addresses and two ports");
  if (family != "TCP4" && family != "TCP6") return Wrong("a family that is neither TCP4, TCP6 nor UNKNOWN");
  const auto port = ParsePort(source_port);
  if (!port || !ParsePort(destination_port)) return Wrong("a port is no number from 0 to 65535");
  const int wanted = family == "TCP4" ? AF_INET : AF_INET6;
  const auto address = Address::Parse(std::string(source), *port);
  const auto other = Address::Parse(std::string(destination), 0);
  if (!address || !other || address->family() != wanted || other->family() != wanted) {
    return Wrong("an address is not of the family");
  }
  return std::optional(ProxyHeader{size, *address});
}

Parsed ParseVersion1(std::string_view bytes) {
  const std::size_t end = bytes.substr(0, kMostTextBytes).find('\n');
  if (end != std::string_view::npos) {
    if (bytes[end - 1] != '\r') return Wrong("a line that does not end with CR LF");
    return ParseText(bytes.substr(kText.size(), end - 1 - kText.size()), end + 1);
  }
  if (bytes.size() >= kMostTextBytes) return Wrong("longer than 107 bytes");
  return std::optional<ProxyHeader>();
}

// Of `size` bytes at `data`, an address; and 2 at `port`.
Address AddressAt(const char* data, std::size_t size, const char* port) {
  if (size == 4) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    std::memcpy(&address.sin_addr, data, size);
    std::memcpy(&address.sin_port, port, 2);
    return {reinterpret_cast<const sockaddr*>(&address), sizeof(address)};
  }
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  std::memcpy(&address.sin6_addr, data, size);
  std::memcpy(&address.sin6_port, port, 2);
  return {reinterpret_cast<const sockaddr*>(&address), sizeof(address)};
}

Parsed ParseVersion2(std::string_view bytes) {
  if (bytes.size() > kSignature.size()) {
    const auto version = static_cast<unsigned char>(bytes[12]) >> 4;
    const auto command = static_cast<unsigned char>(bytes[12]) & 0x0f;
    if (version != 2) return Wrong("a version other than 2 behind the signature");
    if (command > 1) return Wrong("a command that is neither LOCAL nor PROXY");
  }
  if (bytes.size() < kFixedBytes) return std::optional<ProxyHeader>();
  const auto family = static_cast<unsigned char>(bytes[13]) >> 4;
  const auto transport = static_cast<unsigned char>(bytes[13]) & 0x0f;
  if (family > 3 || transport > 2) return Wrong("an address family or transport that is not defined");
  const auto length = LoadBigEndian<std::uint16_t>(&bytes[14]);
  constexpr std::array<std::size_t, 4> kAddressBytes = {0, 12, 36, 216};  // UNSPEC, IPv4, IPv6, UNIX
  const bool local = (static_cast<unsigned char>(bytes[12]) & 0x0f) == 0;
  // Of LOCAL, the addresses are to be skipped, whatever they are (section 2.2).
  if (!local && length < kAddressBytes[family]) return Wrong("shorter than its addresses");
  const std::size_t size = kFixedBytes + length;
  if (size > kMostProxyHeaderBytes) return Wrong("longer than 4096 bytes");
  if (bytes.size() < size) return std::optional<ProxyHeader>();
  ProxyHeader header{size, std::nullopt};
  constexpr unsigned kStream = 1;
  if (!local && transport == kStream && (family == 1 || family == 2)) {
    const std::size_t address_size = family == 1 ? 4 : 16;
    const char* addresses = bytes.data() + kFixedBytes;
    header.source = AddressAt(addresses, address_size, addresses + 2 * address_size);
  }
  return std::optional(header);
}

}  // namespace

Parsed ParseProxyHeader(std::string_view bytes) {
  if (BeginsLike(bytes, kSignature)) return ParseVersion2(bytes);
  if (!BeginsLike(bytes, kText)) return Wrong("the connection does not begin with one");
  if (bytes.size() < kText.size()) return std::optional<ProxyHeader>();
  return ParseVersion1(bytes);
}

}  // namespace aphlict::net
