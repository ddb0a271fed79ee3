// What a client wants to be answered with (RFC 9110 section 12.5.1).
#pragma once

#include <string_view>

#include "common/http/head.h"

namespace aphlict::http {

struct Preference {
  int quality = 1000;  // thousandths; 0: not wanted
  bool named = false;  // by its own name, and not by `*/*` or the like
};

// How much a media type is wanted, by all Accept headers; where there is none, everything is. A range that names a
// `version` is only of that one; other parameters but the quality are not looked at.
Preference PreferenceFor(const Headers& headers, std::string_view media_type, std::string_view version);

}  // namespace aphlict::http
