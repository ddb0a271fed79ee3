// The feed's control messages: JSON objects in text frames. docs/protocol.md is the specification.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/base/result.h"
#include "common/base/time.h"
#include "common/history/cursor.h"
#include "common/history/history.h"
#include "common/json/value.h"

namespace aphlict::feed {

inline constexpr std::string_view kSubprotocol = "aphlict-relay.v1";
inline constexpr std::string_view kPath = "/feed/";

// What one message may take: a message at the publish bound, its subscribers, and what stands around them. A
// node whose bounds are set higher still reads what fits here.
inline constexpr std::size_t kMaxMessageBytes = 64 * 1024 * 1024;
inline constexpr std::size_t kMaxAbove = 4096;  // nodes; a tree is not that deep

// Both ends send something at least this often, and drop a connection that was silent for kSilence.
inline constexpr Duration kHeartbeatInterval = seconds(1);
inline constexpr Duration kSilence = seconds(15);

// A node's monotonic clock, in microseconds, which means nothing but by comparison.
using ClockReading = std::int64_t;
ClockReading ReadClock(Time now);
Time FromClock(ClockReading reading);

// From below, first: who follows, and from where on.
struct Hello {
  std::string node;
  std::string name;
  std::string version;
  std::string url;       // where browsers reach it, or empty
  bool resumes = false;  // whether it had synchronised before: an epoch that it does not list is then a loss
  history::Cursor cursor;
  std::optional<std::vector<std::string>> instances;  // nothing: all
};

// From above, in answer.
struct Welcome {
  struct Epoch {
    history::Sequence floor = 1;
    history::Sequence newest = 0;
  };
  std::string node;
  std::string name;
  std::string version;
  std::vector<std::string> above;  // the nodes above the sender
  std::map<history::Epoch, Epoch> epochs;
  ClockReading clock = 0;
};

// From above, at least once each kHeartbeatInterval: everything up to these sequences that concerns the follower
// has been sent. `live`: and there is nothing more for now.
struct Heartbeat {
  ClockReading clock = 0;
  history::Cursor cursor;
  bool live = false;
};

// From above, whenever it changes: the nodes above the sender.
struct Above {
  std::vector<std::string> nodes;
};

// From above, at most once: the sender is about to go. A follower that has another upstream moves there.
struct Drain {};

// From below, at least once each kHeartbeatInterval: see Tree.
struct Status {
  json::Value report;
};

using Control = std::variant<Hello, Welcome, Heartbeat, history::Gap, Above, Drain, Status>;

// Errors: it is not JSON, not an object, of no known type, or lacks what its type must have.
Result<Control> ParseControl(std::string_view text);

std::string Encode(const Hello& hello);
std::string Encode(const Welcome& welcome);
std::string Encode(const Heartbeat& heartbeat);
std::string Encode(const history::Gap& gap);
std::string Encode(const Above& above);
std::string Encode(const Drain& drain);

}  // namespace aphlict::feed
