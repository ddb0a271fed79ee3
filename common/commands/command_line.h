// The commands' options, declared once: for reading the command line, for --help, manual pages and completions.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "common/commands/options.h"
#include "common/config/settings.h"

namespace aphlict::commands {

// The program's options and, below it, the commands with theirs: all that the command line knows.
struct CommandLine {
  std::unique_ptr<CLI::App> app;
  std::unique_ptr<Options> options;  // outlive `app`'s parsing
  std::shared_ptr<void> node_options;
};
CommandLine MakeCommandLine(config::Role role);

// Whether the first argument is a command's name; else the rest is for the node.
bool IsCommand(config::Role role, int argc, const char* const* argv);

// The commands that are for people, in their order. Borrowed from `app`.
std::vector<const CLI::App*> ShownCommands(const CLI::App& app);

// The commands with what they are for, a line each: what --help of the node says behind its options.
std::string ListOfCommands(config::Role role);

}  // namespace aphlict::commands
