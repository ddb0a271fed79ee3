// What Phabricator and Aphlict are configured with: the value of `notification.servers`, and Aphlict's own file.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/commands/tree.h"
#include "common/http/head.h"

namespace aphlict::commands {

struct Proposal {
  std::string text;                   // JSON, to paste or to save; empty where there is a problem
  std::vector<std::string> notes;     // what to know about it, a line each
  std::vector<std::string> problems;  // why there is none
};

// The value of `notification.servers` for a tree: the master that was asked as `admin` by the URL that led to it, and a
// `client` for each public URL, in the tree's order.
Proposal NotificationServers(const std::vector<TreeNode>& nodes, const http::Url& admin);

// The configuration of a master that does what Aphlict did with `text`, the content of its file `name`. What only this
// program has (the feed) is in it with its default; what the systemd units cannot write (logs, pidfile) is not.
// Problems: as of a configuration file that is not accepted.
Proposal ConvertAphlict(std::string_view name, std::string_view text);

}  // namespace aphlict::commands
