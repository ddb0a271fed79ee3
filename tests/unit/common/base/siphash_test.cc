#include "common/base/siphash.h"

#include <doctest/doctest.h>

#include <string>

using namespace aphlict;

namespace {

// The key of the test vectors in the paper's appendix A and in its reference implementation.
constexpr SipKey kPaperKey{0x0706050403020100, 0x0f0e0d0c0b0a0908};

std::string Counting(std::size_t size) {
  std::string bytes;
  while (bytes.size() < size) bytes.push_back(static_cast<char>(bytes.size()));
  return bytes;
}

}  // namespace

TEST_CASE("SipHash-2-4 gives the values of its authors") {
  CHECK(SipHash(kPaperKey, Counting(15)) == 0xa129ca6149be45e5);
  CHECK(SipHash(kPaperKey, "") == 0x726fdb47dd0e0e31);
  CHECK(SipHash(kPaperKey, Counting(1)) == 0x74f839c593dc67fd);
  CHECK(SipHash(kPaperKey, Counting(8)) == 0x93f5f5799a932462);
  CHECK(SipHash(kPaperKey, Counting(63)) == 0x958a324ceb064572);
}

TEST_CASE("the hash depends on the key") {
  CHECK(SipHash(SipKey::Random(), "PHID-USER-1") != SipHash(SipKey::Random(), "PHID-USER-1"));
}

TEST_CASE("the hash of tables is the same for equal text throughout the process") {
  CHECK(KeyedHash()("PHID-USER-1") == KeyedHash()(std::string("PHID-USER-1")));
  CHECK(KeyedHash()("PHID-USER-1") != KeyedHash()("PHID-USER-2"));
}
