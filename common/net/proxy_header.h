// The header by which a proxy says, before anything else, whose connection it passes on: "The PROXY protocol, Versions
// 1 & 2" (Willy Tarreau, HAProxy, doc/proxy-protocol.txt, 2020/03/05).
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "common/base/result.h"
#include "common/net/address.h"

namespace aphlict::net {

struct ProxyHeader {
  std::size_t size = 0;  // in bytes; what follows is the connection's own
  // Who has connected to the proxy. Nothing where that is the proxy itself (v2 LOCAL: its health check), or is not told
  // as TCP over IPv4 or IPv6 (v1 UNKNOWN; v2 UNSPEC, UNIX, datagrams): then it is the other end of the connection.
  std::optional<Address> source;
};

// A header of v2 with all its TLVs may be that long. They are not looked at.
inline constexpr std::size_t kMostProxyHeaderBytes = 4096;

// Reads a header of version 1 (section 2.1) or 2 (section 2.2) from the front of a connection's bytes. Nothing: it is
// not complete, and all of `bytes` belongs to it. Errors: it is none, or a wrong one, as soon as that can be told.
Result<std::optional<ProxyHeader>> ParseProxyHeader(std::string_view bytes);

}  // namespace aphlict::net
