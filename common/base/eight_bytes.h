// Looks at 8 bytes at once for those of a kind, in plain arithmetic.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace aphlict {

class EightBytes {
 public:
  // REQUIRES: 8 bytes at `data`.
  explicit EightBytes(const char* data) {
    std::memcpy(&word_, data, sizeof(word_));
    if constexpr (std::endian::native == std::endian::big) word_ = __builtin_bswap64(word_);
  }

  // Marks of the bytes that are `c`, or less than `limit`, or not ASCII. They can be united with `|`. Above the first
  // byte that a mark is right about, others can be wrong; that first one never is. REQUIRES: limit <= 0x80.
  std::uint64_t Equal(char c) const {
    const std::uint64_t zero_where_equal = word_ ^ kOnes * static_cast<unsigned char>(c);
    return (zero_where_equal - kOnes) & ~zero_where_equal & kHighBits;
  }
  std::uint64_t Below(unsigned char limit) const { return (word_ - kOnes * limit) & ~word_ & kHighBits; }
  std::uint64_t NotAscii() const { return word_ & kHighBits; }

  // The index of the first byte that is marked. REQUIRES: marks != 0.
  static std::size_t First(std::uint64_t marks) { return static_cast<std::size_t>(std::countr_zero(marks)) / 8; }

 private:
  static constexpr std::uint64_t kOnes = 0x0101010101010101;
  static constexpr std::uint64_t kHighBits = 0x80 * kOnes;

  std::uint64_t word_;
};

}  // namespace aphlict
