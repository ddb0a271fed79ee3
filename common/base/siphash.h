// SipHash-2-4 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012): a hash whose collisions
// cannot be chosen by somebody who does not know the key.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace aphlict {

struct SipKey {
  std::uint64_t k0;
  std::uint64_t k1;

  static SipKey Random();
};

std::uint64_t SipHash(const SipKey& key, std::string_view bytes);

// The hash of every table whose keys strangers choose (PHIDs, instances, uniqueIDs). The key is drawn once
// a process. Transparent, so that a table of strings is searched with a view.
struct KeyedHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view bytes) const;
};

}  // namespace aphlict
