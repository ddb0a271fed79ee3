// Files, read whole.
#pragma once

#include <string>

#include "common/base/result.h"

namespace aphlict {

// What is in a file. Errors: `code` is errno, and `text` says what that means.
Result<std::string> ReadWholeFile(const std::string& path);

}  // namespace aphlict
