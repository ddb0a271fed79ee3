// What the options of all commands said. Apart from command_line.h, so that few files know CLI11.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace aphlict::commands {

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

}  // namespace aphlict::commands
