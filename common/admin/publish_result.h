// What came of a publish: a small, fixed set, for counters.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/base/counts.h"

namespace aphlict::admin {

enum class PublishResult : std::uint8_t {
  kAccepted,   // 200: numbered, and on its way
  kRepeat,     // 200: the same message as one before, and dropped
  kInvalid,    // 400: not a message
  kFull,       // 503: as many instances as there may be are in use
  kNotStored,  // 507, 500: the state folder did not take it
  kDraining,   // 503: the node is about to stop
  kNoMaster,   // 503: a repeater takes none
};
inline constexpr std::size_t kPublishResults = 7;

// "not_stored": a label of a metric.
constexpr std::string_view PublishResultName(PublishResult result) {
  constexpr std::array<std::string_view, kPublishResults> kNames = {"accepted",   "repeat",   "invalid",  "full",
                                                                    "not_stored", "draining", "no_master"};
  return kNames[static_cast<std::size_t>(result)];
}

using PublishCounts = Counts<PublishResult, kPublishResults>;

}  // namespace aphlict::admin
