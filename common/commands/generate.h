// Manual pages and completions, made from the declarations that the command line is read with, so that they cannot say
// anything else.
#pragma once

#include <string>

#include "common/config/settings.h"

namespace aphlict::commands {

// `what`: "man" (section 8, for man(7)), "bash", "zsh" or "fish".
std::string Generate(config::Role role, const std::string& what);

}  // namespace aphlict::commands
