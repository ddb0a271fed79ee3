// Networks in CIDR notation (RFC 4632, RFC 4291 section 2.3), and which addresses lie in them.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"
#include "common/net/address.h"

namespace aphlict::net {

// The 16 bytes of an address as IPv6; IPv4 is mapped (RFC 4291 section 2.5.5.2), so that one which came in through a
// dual-stack socket is the same. All zero for what is neither.
using AddressBytes = std::array<std::uint8_t, 16>;
AddressBytes BytesOf(const Address& address);

Address AddressOf(const AddressBytes& bytes, std::uint16_t port);

// What connections are counted by: an IPv4 address, or the /64 of an IPv6 one, which is what a household or a host has.
AddressBytes HolderOf(const Address& address);

class Network {
 public:
  // "10.0.0.0/8", "2001:db8::/32", or an address alone. Errors: it is neither; the prefix is too long; bits are set
  // behind the prefix, where it is not clear what is meant.
  static Result<Network> Parse(std::string_view text);
  // 127.0.0.0/8 and ::1.
  static std::vector<Network> Loopback();

  bool Contains(const Address& address) const;

  bool operator==(const Network&) const = default;

 private:
  AddressBytes bytes_{};
  int prefix_ = 128;  // of the IPv6 form
};

bool AnyContains(const std::vector<Network>& networks, const Address& address);

}  // namespace aphlict::net
