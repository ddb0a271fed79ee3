// What a page sends: Aphlict's commands, as JSON objects in text frames.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/base/result.h"
#include "common/base/time.h"

namespace aphlict::clients {

struct Subscribe {
  std::vector<std::string> phids;
};
struct Unsubscribe {
  std::vector<std::string> phids;
};
// Asks for the messages that were accepted from then on.
struct ReplayRequest {
  Time since;
};
struct Ping {};

using Command = std::variant<Subscribe, Unsubscribe, ReplayRequest, Ping>;

// Reads {"command": …, "data": …}. Entries of a list of PHIDs that are not strings are left out, as Aphlict does;
// an age that is missing, 0, or not a number is 60 s, and counts from `sent`, the earliest time at which the page can
// have sent this. Errors say why this is no command; the connection is expected to stay.
Result<Command> ParseCommand(std::string_view text, int max_depth, Time sent);

// The instance that a WebSocket's path names: what stands between its first '~' and the next, or the end, without
// slashes, and without decoding; "default" when there is none.
std::string InstanceOfPath(std::string_view path);

}  // namespace aphlict::clients
