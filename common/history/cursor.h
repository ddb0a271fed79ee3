// A cursor: for each epoch, the sequence of the last message dealt with.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace aphlict::history {

// The name of one numbering by one master: 16 characters (RandomId()).
using Epoch = std::string;

// Counts from 1 within an epoch; 0 is before the first.
using Sequence = std::uint64_t;

// What JSON numbers are read to (json::Value::integer()): cursors travel in them.
inline constexpr Sequence kMaxSequence = INT64_MAX;

// An epoch that is not in it has not been heard of.
using Cursor = std::map<Epoch, Sequence>;

inline constexpr std::size_t kEpochLength = 16;

}  // namespace aphlict::history
