// A command line that is a command.
#pragma once

#include <optional>

#include "common/config/settings.h"

namespace aphlict::commands {

// Runs the command that the first argument names, and returns the exit code of sysexits(3), or 1 when a check failed.
// Nothing: it names none, and the command line is the node's.
std::optional<int> Run(config::Role role, int argc, const char* const* argv);

}  // namespace aphlict::commands
