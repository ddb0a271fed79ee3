#include "common/base/random.h"

#include <sys/random.h>

#include <cerrno>
#include <cstdlib>

namespace aphlict {

namespace {

void FillRandom(void* data, std::size_t size) {
  // Up to 256 bytes come whole once the kernel's generator is seeded (getrandom(2)).
  ssize_t got;
  do {
    got = getrandom(data, size, 0);
  } while (got < 0 && errno == EINTR);
  if (got != static_cast<ssize_t>(size)) std::abort();
}

}  // namespace

std::string RandomId() {
  static constexpr char kAlphabet[] = "abcdefghijklmnopqrstuvwxyz0123456789";
  std::string id;
  while (id.size() < 16) {
    unsigned char bytes[32];
    FillRandom(bytes, sizeof(bytes));
    for (unsigned char byte : bytes) {
      // 252 is the largest multiple of 36 that fits: taking all bytes would favour the first letters.
      if (byte < 252 && id.size() < 16) id.push_back(kAlphabet[byte % 36]);
    }
  }
  return id;
}

std::uint64_t RandomSeed() {
  std::uint64_t seed;
  FillRandom(&seed, sizeof(seed));
  return seed;
}

}  // namespace aphlict
