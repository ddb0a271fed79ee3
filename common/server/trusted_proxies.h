#pragma once

#include <vector>

#include "common/net/network.h"

namespace aphlict::server {

// Whose word about who is behind them a port takes.
struct TrustedProxies {
  std::vector<net::Network> networks;
  // Whether their connections begin with a PROXY header (common/net/proxy_header.h), without which they are refused.
  // Else it is X-Forwarded-For that tells.
  bool proxy_protocol = false;

  bool operator==(const TrustedProxies&) const = default;
};

}  // namespace aphlict::server
