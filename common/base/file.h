// Files, read whole, and the folders they are in.
#pragma once

#include <string>

#include "common/base/result.h"

namespace aphlict {

// What is in a file. Errors: `code` is errno, and `text` says what that means.
Result<std::string> ReadWholeFile(const std::string& path);

// Makes the folders that lead to a file, as far as they are missing. Where it fails, opening the file tells why.
void MakeFolderOf(const std::string& path);

}  // namespace aphlict
