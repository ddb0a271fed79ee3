#include "common/http/origin.h"

#include <algorithm>
#include <utility>

#include "common/http/head.h"

namespace aphlict::http {

namespace {

constexpr std::string_view kWildcard = "*.";

// An origin is a URL of scheme, host and port (RFC 6454 section 6.2); browsers write it without a path.
Result<Url> ParseOrigin(std::string_view text) {
  auto url = ParseUrl(text);
  if (!url) return url;
  if (url->scheme != "http" && url->scheme != "https") return Error{"an origin begins with http:// or https://"};
  const std::size_t authority = text.find("://") + 3;
  if (text.find_first_of("/?", authority) != std::string_view::npos) return Error{"an origin has no path"};
  url->host = ToLower(std::move(url->host));
  return url;
}

}  // namespace

Result<OriginPattern> OriginPattern::Parse(std::string_view text) {
  const auto wrong = [&](const std::string& why) {
    return Error{"expected an origin such as https://phabricator.example.com or https://*.example.com, got \"" +
                 std::string(text) + "\": " + why};
  };
  std::string plain(text);
  const std::size_t begin = std::min(plain.find("://"), plain.size());
  const bool wildcard = plain.compare(std::min(begin + 3, plain.size()), kWildcard.size(), kWildcard) == 0;
  if (wildcard) plain.erase(begin + 3, kWildcard.size());
  auto url = ParseOrigin(plain);
  if (!url) return wrong(url.error().text);
  OriginPattern pattern;
  pattern.scheme_ = url->scheme;
  pattern.host_ = (wildcard ? "." : "") + url->host;
  pattern.port_ = url->port;
  return pattern;
}

bool OriginPattern::Matches(std::string_view origin) const {
  const auto url = ParseOrigin(origin);
  if (!url || url->scheme != scheme_ || url->port != port_) return false;
  if (host_.starts_with('.')) return url->host.size() > host_.size() && url->host.ends_with(host_);
  return url->host == host_;
}

bool AnyMatches(const std::vector<OriginPattern>& patterns, std::string_view origin) {
  return std::any_of(patterns.begin(), patterns.end(), [&](const auto& each) { return each.Matches(origin); });
}

}  // namespace aphlict::http
