// Who may do what on an admin port.
#pragma once

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/secret.h"
#include "common/http/head.h"
#include "common/net/address.h"
#include "common/net/network.h"
#include "common/server/refusal.h"

namespace aphlict::admin {

inline constexpr std::string_view kHealthPath = "/healthz";
inline constexpr std::string_view kReadinessPath = "/readyz";
inline constexpr std::string_view kDashboardPath = "/dashboard/";
// With its last slash or without.
constexpr bool IsDashboard(std::string_view path) {
  return path == kDashboardPath || path == kDashboardPath.substr(0, kDashboardPath.size() - 1);
}

// What a request on the admin port asks for. The spelling in the file is "publish", "status", "metrics".
enum class Right { kPublish, kStatus, kMetrics };
inline constexpr std::array<std::string_view, 3> kRightNames = {"publish", "status", "metrics"};

// Of one admin port.
struct Access {
  // By right, from where it is given without a token; nothing: to everybody who reaches the port.
  std::array<std::optional<std::vector<net::Network>>, kRightNames.size()> allow;
  // Further names, in lower case, by which the port is asked for over loopback, and from anywhere by its own page.
  std::vector<std::string> hosts;

  // The rights that everybody has who reaches the port.
  std::vector<Right> open() const;
};

// A request as far as access is concerned. Borrows everything. Addresses are looked up, which costs a system call, only
// where something depends on them: what Phabricator publishes, as a rule, needs none.
struct Asker {
  const http::RequestHead& head;
  std::function<net::Address()> peer;   // who asks
  std::function<net::Address()> local;  // where
};

struct Denial {
  server::Refusal refusal;
  std::string text;
};

// Why a request is refused (403), or nothing. A token out of `secrets` (null: none is taken) opens everything.
// `names` are this host's (host_names.h).
std::optional<Denial> Deny(const Access& access, const Secrets* secrets, const std::vector<std::string>& names,
                           const Asker& asker);

}  // namespace aphlict::admin
