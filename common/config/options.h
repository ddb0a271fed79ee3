// The options of a node, as CLI11 knows them: what the command line is read with, and what manual pages and completions
// are made from.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/config/settings.h"

namespace aphlict::config {

// "aphlict-master" or "aphlict-repeater".
std::string ProgramName(Role role);

// What the options said, before the file is known.
struct Options {
  std::string file;
  std::vector<std::string> admin;
  std::vector<std::string> clients;
  std::vector<std::string> repeaters;
  std::vector<std::string> upstream;
  std::string name;
  std::string public_url;
  net::TlsFiles tls;
  std::string state;
  std::string durability;
  std::optional<std::int64_t> drain;
  std::string log_level;
  std::string log_format;
  bool debug = false;
  bool reuse_port = false;
  std::string user;
  std::string secret_file;
  std::string admin_secret_file;
  bool check_config = false;
  bool check_ports = false;
  bool list_settings = false;
};

// What the program is for, in a sentence.
std::string Purpose(Role role);

// Declares a role's options. `options` outlives the parsing.
void Declare(CLI::App& app, Role role, Options& options);

// The first argument that ends behind its `=`, or nothing: CLI11 would take the next argument for its value.
std::string OptionWithoutValue(int argc, const char* const* argv);

}  // namespace aphlict::config
