// Why somebody was not served: a small, fixed set, for counters and the log. What exactly was wrong is in the text.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/base/counts.h"

namespace aphlict::server {

enum class Refusal : std::uint8_t {
  kMalformed,    // no request that can be understood
  kTooLarge,     // a head or a body over its bound
  kTooSlow,      // it did not arrive in time
  kHandshake,    // not the WebSocket handshake that the port takes
  kSecret,       // a wrong secret, or none where one is needed
  kNetwork,      // from an address that may not do this
  kOrigin,       // from a page of the web that may not do this
  kHost,         // for a name that is not this host's
  kPerAddress,   // more connections of one address than it may have
  kProxyHeader,  // a trusted proxy sent no PROXY header, or a wrong one
  kTls,          // the TLS handshake failed, or took too long
  kFull,         // as many of its kind as there may be are here
};
inline constexpr std::size_t kRefusals = 12;

// "too_large": a label of a metric.
constexpr std::string_view RefusalName(Refusal refusal) {
  constexpr std::array<std::string_view, kRefusals> kNames = {"malformed",   "too_large",    "too_slow", "handshake",
                                                              "secret",      "network",      "origin",   "host",
                                                              "per_address", "proxy_header", "tls",      "full"};
  return kNames[static_cast<std::size_t>(refusal)];
}

using RefusalCounts = Counts<Refusal, kRefusals>;

}  // namespace aphlict::server
