// The file and the command line, into Settings.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/config/settings.h"

namespace aphlict::config {

// What became of a command line.
struct Invocation {
  enum class Action { kRun, kCheckConfig, kExit };
  Action action = Action::kRun;
  Settings settings;  // for kRun and kCheckConfig
  // For kExit: what to print and where, and the exit code of sysexits(3): 0 after --help and --version, 64 for
  // a wrong option, 78 for a wrong configuration, 77 for a file that cannot be read or written.
  int exit_code = 0;
  std::string text;
  bool to_stderr = false;
  std::vector<std::string> problems;  // the lines of `text` that say what is wrong with a configuration, if that it is
};

// Reads the options of a role and the file they name anew at each call, and looks at what these name. Reports every
// problem at once, one line each, with file and key, or with the option: "/etc/aphlict.json: servers[1].port: expected
// a number from 0 to 65535, got a string (line 7)". `footer`: what --help says behind the options.
Invocation Load(Role role, int argc, const char* const* argv, const std::string& footer = "");

// The file's part alone: merges the configuration `text` of the file named `file` into `*settings`, and adds
// a line to `*problems` for each thing that is wrong. Returns the types that the file switches off
// (`"port": null`).
std::vector<ServerType> ReadFile(std::string_view file, std::string_view text, Settings* settings,
                                 std::vector<std::string>* problems);

// Whether a server is a feed that lets everybody in who reaches it.
bool IsOpenFeed(const Settings& settings, const Server& server);
// Why such a feed may not be offered on `host`, which others than this one reach.
std::string OpenFeedProblem(const std::string& host);

// What everybody may do who reaches an admin port on `host`, for a warning; empty where that is nobody else than this
// host, or nothing.
std::string OpenAdminNotice(const std::string& host, const admin::Access& access);

inline constexpr std::int64_t kMaxDrainSeconds = 3600;

// "process" or "power".
Result<Durability> ParseDurability(const std::string& text);

// "127.0.0.1:22281", "[::1]:22280", "name:22280", ":22280" or "22280" (the host stays as `*host` was).
// Returns the problem, or nothing.
std::string ParseListenAddress(std::string_view text, std::string* host, std::uint16_t* port);

}  // namespace aphlict::config
