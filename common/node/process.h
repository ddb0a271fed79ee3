// A node as a process: the command line, logs, pid file, signals, and the exit code.
#pragma once

#include <functional>
#include <memory>

#include "common/base/log.h"
#include "common/config/settings.h"
#include "common/net/loop.h"
#include "common/node/node.h"

namespace aphlict::node {

// A role and its node, as master::Master and repeater::Repeater make them.
class Application {
 public:
  virtual ~Application() = default;
  virtual Node& node() = 0;
};

using MakeApplication =
    std::function<std::unique_ptr<Application>(net::Loop& loop, const config::Settings& settings, Log& log)>;

// Runs a node until a signal ends it, or the command that the command line names. Returns the exit code of sysexits(3).
int RunProcess(config::Role role, int argc, const char* const* argv, const MakeApplication& make);

}  // namespace aphlict::node
