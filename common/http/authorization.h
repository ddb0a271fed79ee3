// The Authorization header of a peer that knows a secret (RFC 6750 section 2.1).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "common/http/head.h"

namespace aphlict::http {

// The token of `Authorization: Bearer TOKEN`; the scheme's case does not matter (RFC 9110 section 11.1). Nothing where
// the header is missing, is there twice, or is of another scheme. Borrowed from `headers`.
std::optional<std::string_view> BearerToken(const Headers& headers);

// The header's value.
std::string BearerValue(std::string_view token);

}  // namespace aphlict::http
