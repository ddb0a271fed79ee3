// The commands: each does what its options say, and returns the exit code. Errors: `code` is an exit code of
// sysexits(3).
#pragma once

#include "common/base/result.h"
#include "common/commands/options.h"
#include "common/commands/session.h"

namespace aphlict::commands {

Result<int> ShowStatus(Session& session, const Options& options);
Result<int> Notify(Session& session, const Options& options);
Result<int> Listen(Session& session, const Options& options);
Result<int> Check(Session& session, const Options& options);
Result<int> PrintServers(Session& session, const Options& options);
// Converts Aphlict's file, and talks to nobody.
Result<int> ConvertFile(Session& session, const Options& options);

}  // namespace aphlict::commands
