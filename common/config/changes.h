// The settings by their keys, what differs between two configurations, and what of it a running node can take.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/config/settings.h"

namespace aphlict::config {

// One key of the file, spelled as in README.md: "limits.clients", "servers[].origins".
struct Setting {
  using Comparison = std::function<bool(const Settings& before, const Settings& after)>;

  std::string key;
  bool reloads = true;  // whether a running node takes another value: all others are taken at its start only
  Comparison same;
};

// Every key, in the order of README.md. This is the one place that knows which of them a running node takes.
std::vector<Setting> AllSettings();

struct Changes {
  std::vector<std::string> keys;        // that differ, in the order of AllSettings()
  std::vector<std::string> at_restart;  // those of them that only another start takes
};
// `before` is what a node runs with now, `at_start` what it was started with: a state folder is made for that.
Changes Compare(const Settings& before, const Settings& after, const Settings& at_start);

// For each server of `after`, its place in `before`: those of one type on the same address and port are the same
// listener, whatever else has changed. Nothing: it is new.
std::vector<std::optional<std::size_t>> MatchServers(const std::vector<Server>& before,
                                                     const std::vector<Server>& after);

// The candidate that is most like `word`, whose case does not count, or nothing where none is like it.
std::optional<std::string> Nearest(std::string_view word, const std::vector<std::string>& candidates);
// How many characters must be put in, left out or replaced to make `b` of `a`.
std::size_t EditDistance(std::string_view a, std::string_view b);

}  // namespace aphlict::config
