// What the status of a node says about the tree below it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/base/time.h"
#include "common/json/value.h"

namespace aphlict::commands {

// A node of the tree. What an older node does not tell is not there.
struct TreeNode {
  std::string id;
  std::string name;
  std::string role;    // "master" or "repeater"
  int depth = 0;       // 0: the node that was asked
  bool again = false;  // it was listed before, below another node; those below it are not listed again
  std::string url;     // its public URL, or empty
  std::string version;
  std::string state;  // "ready", "synchronising" …, or empty
  std::optional<std::uint64_t> clients;
  std::optional<std::uint64_t> deliveries;  // messages written to clients
  std::optional<std::uint64_t> lag;         // messages that it has not dealt with
  std::optional<milliseconds> lag_time;     // since when it has not been level with those above
  std::optional<std::uint64_t> unsent;      // bytes
  std::optional<std::uint64_t> gaps;
  std::optional<milliseconds> since;  // how long it has been there: connected, or of the node that was asked, up
};

// In the order of the status, each before those below it; the first is the node that was asked. REQUIRES: it is a
// node's status, as Session::ReadStatus() returns it.
std::vector<TreeNode> ReadTree(const json::Value& status);

// A table of them, and a line of what the status sums up for its instance. `width`: see Table::Render.
std::string RenderTree(const std::vector<TreeNode>& nodes, const json::Value& status, std::size_t width);

}  // namespace aphlict::commands
