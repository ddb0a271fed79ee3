// What a publish's body must be, and what the master reads of it. The body itself goes on byte for byte.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "common/base/result.h"
#include "common/history/message.h"

namespace aphlict::master {

struct PublishLimits {
  int json_depth = 1024;
  std::size_t subscribers = 65'536;
};

struct Publish {
  history::SubscriberList subscribers;
  std::string unique_id;  // empty: none, or not a string
};

// Reads a JSON object's `subscribers`, which must be a list of strings, and its `uniqueID`. Of two equal keys the
// last one counts, as it does for the pages that read the message. Errors say what is wrong; `code` is the status
// to answer with.
Result<Publish> ParsePublish(std::string_view body, const PublishLimits& limits);

}  // namespace aphlict::master
