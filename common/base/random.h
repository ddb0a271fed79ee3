// Random numbers: from the kernel where a stranger must not guess them, else from a generator.
#pragma once

#include <cstdint>
#include <random>
#include <string>

namespace aphlict {

// 16 characters of [a-z0-9], from getrandom(2): the form of a node's id, of an epoch, and of Aphlict's
// `fingerprint`.
std::string RandomId();

// 8 bytes from getrandom(2).
std::uint64_t RandomSeed();

// For jitter and for picking hosts, not for secrets.
using RandomGenerator = std::mt19937_64;

}  // namespace aphlict
