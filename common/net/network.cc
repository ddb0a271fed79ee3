#include "common/net/network.h"

#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace aphlict::net {

namespace {

constexpr int kMappedPrefix = 96;  // of ::ffff:0:0/96, in which IPv4 lies

// Whether the first `prefix` bits are equal.
bool Agree(const AddressBytes& a, const AddressBytes& b, int prefix) {
  const auto whole = static_cast<std::size_t>(prefix / 8);
  if (std::memcmp(a.data(), b.data(), whole) != 0) return false;
  const int rest = prefix % 8;
  return rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0;
}

// Without the bits behind the prefix.
AddressBytes Masked(AddressBytes bytes, int prefix) {
  for (int bit = prefix; bit < 128; ++bit) {
    bytes[static_cast<std::size_t>(bit / 8)] &= static_cast<std::uint8_t>(~(0x80 >> bit % 8));
  }
  return bytes;
}

}  // namespace

AddressBytes BytesOf(const Address& address) {
  AddressBytes bytes{};
  if (address.family() == AF_INET) {
    bytes[10] = bytes[11] = 0xff;
    std::memcpy(&bytes[12], &reinterpret_cast<const sockaddr_in*>(address.get())->sin_addr, 4);
  } else if (address.family() == AF_INET6) {
    std::memcpy(bytes.data(), &reinterpret_cast<const sockaddr_in6*>(address.get())->sin6_addr, 16);
  }
  return bytes;
}

Address AddressOf(const AddressBytes& bytes, std::uint16_t port) {
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  std::memcpy(&address.sin6_addr, bytes.data(), bytes.size());
  return {reinterpret_cast<const sockaddr*>(&address), sizeof(address)};
}

AddressBytes HolderOf(const Address& address) {
  const AddressBytes bytes = BytesOf(address);
  AddressBytes mapped{};
  mapped[10] = mapped[11] = 0xff;
  return Agree(bytes, mapped, kMappedPrefix) ? bytes : Masked(bytes, 64);
}

Result<Network> Network::Parse(std::string_view text) {
  const std::size_t slash = text.find('/');
  const std::string host(text.substr(0, slash));
  const auto address = Address::Parse(host, 0);
  if (!address || host.find('%') != std::string::npos) {
    return Error{"expected a network such as 10.0.0.0/8, fd00::/8 or 192.0.2.7, got \"" + std::string(text) + "\""};
  }
  Network network;
  network.bytes_ = BytesOf(*address);
  if (slash == std::string_view::npos) return network;
  const int most = address->family() == AF_INET ? 32 : 128;
  const std::string_view digits = text.substr(slash + 1);
  int prefix = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), prefix);
  if (error != std::errc() || end != digits.data() + digits.size() || digits[0] == '-' || prefix > most) {
    return Error{"expected a prefix from 0 to " + std::to_string(most) + " in \"" + std::string(text) + "\""};
  }
  network.prefix_ = prefix + 128 - most;
  if (Masked(network.bytes_, network.prefix_) != network.bytes_) {
    return Error{"\"" + std::string(text) + "\" is an address inside of a network: bits are set behind the prefix"};
  }
  return network;
}

std::vector<Network> Network::Loopback() { return {*Parse("127.0.0.0/8"), *Parse("::1")}; }

bool Network::Contains(const Address& address) const {
  if (address.family() != AF_INET && address.family() != AF_INET6) return false;
  return Agree(BytesOf(address), bytes_, prefix_);
}

bool AnyContains(const std::vector<Network>& networks, const Address& address) {
  return std::any_of(networks.begin(), networks.end(), [&](const Network& each) { return each.Contains(address); });
}

}  // namespace aphlict::net
