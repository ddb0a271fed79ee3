// Origins of web pages (RFC 6454), and lists of those that are let in.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"

namespace aphlict::http {

// "https://phabricator.example.com", with a port where it is not the scheme's own, or "https://*.example.com": every
// name below example.com, at any depth, and not example.com itself.
class OriginPattern {
 public:
  // Errors: it is no such text, or has a path.
  static Result<OriginPattern> Parse(std::string_view text);

  // Whether the value of an Origin header is meant. "null", the origin of what has none, never is.
  bool Matches(std::string_view origin) const;

  bool operator==(const OriginPattern&) const = default;

 private:
  std::string scheme_;
  std::string host_;  // in lower case; of a wildcard with the dot before it: ".example.com"
  std::uint16_t port_ = 0;
};

bool AnyMatches(const std::vector<OriginPattern>& patterns, std::string_view origin);

}  // namespace aphlict::http
