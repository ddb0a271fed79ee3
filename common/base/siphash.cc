#include "common/base/siphash.h"

#include <bit>
#include <cstring>

#include "common/base/random.h"

namespace aphlict {

namespace {

// Of up to 8 bytes.
std::uint64_t LoadLittleEndian(const char* data, std::size_t size) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < size; ++i) {
    value |= static_cast<std::uint64_t>(static_cast<unsigned char>(data[i])) << (8 * i);
  }
  return value;
}

std::uint64_t LoadLittleEndian(const char* data) {
  if constexpr (std::endian::native != std::endian::little) return LoadLittleEndian(data, 8);
  std::uint64_t value;
  std::memcpy(&value, data, sizeof(value));
  return value;
}

struct State {
  std::uint64_t v0, v1, v2, v3;

  void Round() {
    v0 += v1;
    v2 += v3;
    v1 = std::rotl(v1, 13) ^ v0;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 = std::rotl(v0, 32);
    v2 += v1;
    v0 += v3;
    v1 = std::rotl(v1, 17) ^ v2;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 = std::rotl(v2, 32);
  }

  void Absorb(std::uint64_t word) {
    v3 ^= word;
    Round();
    Round();
    v0 ^= word;
  }
};

}  // namespace

SipKey SipKey::Random() { return {RandomSeed(), RandomSeed()}; }

std::uint64_t SipHash(const SipKey& key, std::string_view bytes) {
  State state{key.k0 ^ 0x736f6d6570736575, key.k1 ^ 0x646f72616e646f6d, key.k0 ^ 0x6c7967656e657261,
              key.k1 ^ 0x7465646279746573};
  const std::size_t whole = bytes.size() / 8 * 8;
  for (std::size_t i = 0; i < whole; i += 8) state.Absorb(LoadLittleEndian(bytes.data() + i));
  state.Absorb(LoadLittleEndian(bytes.data() + whole, bytes.size() - whole) | static_cast<std::uint64_t>(bytes.size())
                                                                                  << 56);
  state.v2 ^= 0xff;
  for (int i = 0; i < 4; ++i) state.Round();
  return state.v0 ^ state.v1 ^ state.v2 ^ state.v3;
}

std::size_t KeyedHash::operator()(std::string_view bytes) const {
  static const SipKey key = SipKey::Random();
  return SipHash(key, bytes);
}

}  // namespace aphlict
