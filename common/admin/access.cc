#include "common/admin/access.h"

#include "common/admin/host_names.h"
#include "common/http/authorization.h"

namespace aphlict::admin {

namespace {

// Nothing for what anybody may ask, from everywhere: whether the node is well, as those do who start and replace nodes,
// without a token and by an address that changes; and the dashboard, which is the same everywhere and knows nothing.
std::optional<Right> RightFor(const http::RequestHead& head) {
  if (head.method == "POST") return Right::kPublish;
  const std::string_view path = head.path();
  if (path == kHealthPath || path == kReadinessPath || IsDashboard(path)) return std::nullopt;
  return path == "/metrics" || path.starts_with("/metrics/") ? Right::kMetrics : Right::kStatus;
}

// Whether a page that is not this port's own makes its browser ask. A browser adds Origin to whatever a page posts, and
// to what it reads elsewhere; libcurl, and with it Phabricator, does not.
std::optional<Denial> DenyPage(const http::Headers& headers) {
  const auto origin = headers.Find("Origin");
  if (!origin) return std::nullopt;
  const std::size_t scheme = origin->find("://");
  const bool own = scheme != std::string_view::npos &&
                   http::EqualsIgnoreCase(origin->substr(scheme + 3), headers.Find("Host").value_or(""));
  if (own) return std::nullopt;
  return Denial{server::Refusal::kOrigin, "another server's page may not do this (Origin header)"};
}

}  // namespace

std::vector<Right> Access::open() const {
  std::vector<Right> rights;
  for (std::size_t i = 0; i < allow.size(); ++i) {
    if (!allow[i]) rights.push_back(static_cast<Right>(i));
  }
  return rights;
}

std::optional<Denial> Deny(const Access& access, const Secrets* secrets, const std::vector<std::string>& names,
                           const Asker& asker) {
  const std::optional<Right> needed = RightFor(asker.head);
  if (!needed) return std::nullopt;
  const Right right = *needed;
  const http::Headers& headers = asker.head.headers;
  if (auto denial = DenyPage(headers)) return denial;
  const auto token = secrets != nullptr ? http::BearerToken(headers) : std::nullopt;
  if (token && secrets->Accept(*token)) return std::nullopt;
  // Whoever publishes and is no page may call this host as it likes, as Phabricator does. A page cannot leave Origin
  // out of a POST (Fetch standard, "append a request `Origin` header"), and publishes by no name that others could
  // have.
  const auto is_checked = [&] {
    return right == Right::kPublish ? headers.Find("Origin").has_value() : asker.local().is_loopback();
  };
  if (const auto header = headers.Find("Host"); header && is_checked()) {
    const std::string host = HostOf(*header);
    if (!IsOwnHost(host, names) && !IsOwnHost(host, access.hosts)) {
      return Denial{server::Refusal::kHost, "\"" + host +
                                                "\" may be the name of a web page (DNS rebinding); if it is this "
                                                "host's, add it to `hosts` of the server"};
    }
  }
  const auto& allowed = access.allow[static_cast<std::size_t>(right)];
  if (!allowed) return std::nullopt;
  const net::Address peer = asker.peer();
  if (net::AnyContains(*allowed, peer)) return std::nullopt;
  const std::string what(kRightNames[static_cast<std::size_t>(right)]);
  if (token) return Denial{server::Refusal::kSecret, "the token is not this node's, and " + what + " needs one here"};
  return Denial{
      server::Refusal::kNetwork,
      what + " is not for " + peer.host() + (secrets != nullptr ? "; a token opens it (Authorization: Bearer)" : "")};
}

}  // namespace aphlict::admin
