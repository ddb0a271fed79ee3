// The commands' options, declared once: for reading the command line, for --help, manual pages and completions.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "common/base/result.h"
#include "common/config/settings.h"
#include "common/http/head.h"

namespace aphlict::commands {

// What the options of all commands said.
struct Options {
  std::string command;  // "status", "notify" …

  // Of all.
  std::string admin;  // a URL
  std::string token_file;
  std::string ca;
  double timeout = 5;  // seconds

  std::string instance;  // empty: the default one
  std::string origin;

  // status
  bool json = false;
  bool watch = false;
  double watch_interval = 2;  // seconds

  // notify
  std::string type = "test";
  std::string message;

  // notify, listen
  std::vector<std::string> phids;

  // listen
  std::vector<std::string> urls;
  double replay = 0;        // seconds
  std::uint64_t count = 0;  // 0: without end
  bool time = false;

  // check
  std::vector<std::string> clients;
  std::vector<std::string> nodes;

  // config
  std::string from;

  // generate
  std::string what;
};

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
