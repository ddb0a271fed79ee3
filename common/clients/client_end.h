// Why a client's connection has ended: a small, fixed set, for counters and the log.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/base/counts.h"
#include "common/websocket/frame.h"

namespace aphlict::clients {

enum class ClientEnd : std::uint8_t {
  // Of its own accord, or by the network.
  kLeft,  // it has closed
  kLost,  // the connection broke, or ended without a close
  // By a rule of RFC 6455.
  kProtocolError,  // 1002
  kNotUtf8,        // 1007
  kTooLarge,       // 1009: a message over its bound
  kFragments,      // 1008: a message of too many fragments
  kUnfinished,     // 1013: a message that has not come whole, while such messages take too much
  // By this node.
  kSlowMessage,
  kSubscriptions,
  kUnread,
  kUnsent,
  kSilent,
  kReplay,
  kDrained,
};
inline constexpr std::size_t kClientEnds = 14;

struct ClientEndInfo {
  std::string_view name;  // a label of a metric
  std::uint16_t code;     // what it is closed with, if this node closes it
  std::string_view text;  // and why
};

inline const ClientEndInfo& InfoOf(ClientEnd end) {
  static constexpr std::array<ClientEndInfo, kClientEnds> kInfos = {{
      {"left", 0, ""},
      {"lost", 0, ""},
      {"protocol_error", 0, ""},
      {"not_utf8", 0, ""},
      {"too_large", 0, ""},
      {"fragments", 0, ""},
      {"unfinished", 0, ""},
      {"slow_message", websocket::kPolicyViolation, "a message took too long to arrive"},
      // The page comes back at once, and subscribes to what is still open in it.
      {"subscriptions", websocket::kPolicyViolation, "more subscriptions than a client may have"},
      {"unread", websocket::kTryAgainLater, "the client does not read what it is sent"},
      {"unsent", websocket::kTryAgainLater, "more unsent bytes than a client may have"},
      {"silent", websocket::kGoingAway, "no answer to two pings"},
      {"replay", websocket::kTryAgainLater, "a replay fell behind the history"},
      {"drained", websocket::kGoingAway, "the server stops"},
  }};
  return kInfos[static_cast<std::size_t>(end)];
}

// What a close code says that the connection was closed with, by either side.
ClientEnd EndOfCode(std::uint16_t code);

using ClientEndCounts = Counts<ClientEnd, kClientEnds>;

}  // namespace aphlict::clients
