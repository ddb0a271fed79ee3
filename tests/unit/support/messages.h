// Messages for tests, of which each names only what matters to it.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "common/base/time.h"
#include "common/history/message.h"

namespace aphlict::testing {

// A moment on a clock of the tests' own: `ms` after its begin, which is no special moment of any other clock.
inline Time At(std::int64_t ms) { return Time(std::chrono::hours(1000)) + milliseconds(ms); }

struct Parts {
  std::string epoch{"aaaaaaaaaaaaaaaa"};
  history::Sequence sequence = 1;
  Time accepted = At(0);
  std::string instance{"default"};
  std::string unique_id{};
  std::vector<std::string> subscribers{"PHID-USER-1"};
  std::string body{"{}"};

  bool operator==(const Parts&) const = default;
};

inline std::ostream& operator<<(std::ostream& out, const Parts& parts) {
  out << parts.epoch << ":" << parts.sequence << " at " << parts.accepted.time_since_epoch().count() << " for "
      << parts.instance << " [" << parts.unique_id << "]";
  for (const std::string& subscriber : parts.subscribers) out << " " << subscriber;
  return out << " " << parts.body.substr(0, 100);
}

inline history::Message Make(const Parts& parts) {
  return history::Message::Create(parts.epoch, parts.sequence, parts.accepted,
                                  {parts.instance, parts.unique_id, parts.subscribers, parts.body});
}

}  // namespace aphlict::testing
