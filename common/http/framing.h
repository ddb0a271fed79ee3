// Where a message's body ends (RFC 9112 section 6).
#pragma once

#include <cstdint>

#include "common/base/result.h"
#include "common/http/head.h"

namespace aphlict::http {

// The body's framing as the headers declare it.
struct Framing {
  bool chunked = false;
  std::uint64_t length = 0;
};

// Errors: the headers contradict each other, or name a coding that is not known; `code` is the status for a request.
Result<Framing> CheckFraming(int version_minor, const Headers& headers);

}  // namespace aphlict::http
