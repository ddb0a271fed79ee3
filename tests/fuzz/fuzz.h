// What the fuzz targets share: properties, values out of the fuzzer's bytes, and the ways to cut bytes.
//
// A target is a file with LLVMFuzzerTestOneInput(), and a line in meson.build. It states what must hold for every
// input, by Check(); crashes, undefined behaviour, leaks and what takes too long are found besides.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace aphlict::fuzz {

// A property. Where it does not hold, the fuzzer keeps the input.
inline void Check(bool holds, const char* property) {
  if (holds) return;
  std::fprintf(stderr, "This does not hold: %s\n", property);
  std::abort();
}

// As Check(), and shows the two.
inline void CheckSame(const std::string& a, const std::string& b, const char* property) {
  if (a != b) std::fprintf(stderr, "--- one\n%s\n--- the other\n%s\n---\n", a.c_str(), b.c_str());
  Check(a == b, property);
}

inline std::string_view Text(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// Values out of the fuzzer's bytes, for targets that build what they test. All of them are 0 or empty at the end.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : rest_(Text(data, size)) {}

  bool empty() const { return rest_.empty(); }
  std::string_view Rest() { return Take(rest_.size()); }
  std::string_view Bytes(std::size_t most) { return Take(most == 0 ? 0 : Byte() % (most + 1)); }
  std::uint8_t Byte() { return Integer<std::uint8_t>(); }
  bool Flag() { return (Byte() & 1) != 0; }

  template <class T>
  T Integer() {
    T value = 0;
    const std::string_view bytes = Take(sizeof(T));
    std::memcpy(&value, bytes.data(), bytes.size());
    return value;
  }

 private:
  std::string_view Take(std::size_t size) {
    const std::string_view taken = rest_.substr(0, size);
    rest_.remove_prefix(taken.size());
    return taken;
  }

  std::string_view rest_;
};

// The lengths of pieces.
using Cutting = std::vector<std::size_t>;

// Calls visit(const Cutting&) for ways to cut `bytes` that a target compares with the whole: byte by byte; in pieces of
// all sizes; and in two, at every place of short ones, and at some of long ones, others for other bytes.
template <class Visit>
void ForEachCutting(std::string_view bytes, Visit visit) {
  constexpr std::size_t kMostPlaces = 4;
  const std::size_t size = bytes.size();
  visit(Cutting(size, 1));
  const std::size_t step = size / kMostPlaces + 1;
  for (std::size_t at = 1 + std::hash<std::string_view>()(bytes) % step; at < size; at += step) {
    visit(Cutting{at, size - at});
  }
  Cutting mixed;
  std::size_t left = size;
  for (std::size_t next = 1; left > 0; next = next * 5 % 61) {
    mixed.push_back(next < left ? next : left);
    left -= mixed.back();
  }
  visit(mixed);
}

// Calls take(std::string_view) for each piece. Each lies alone in memory, for as long as the call: who looks past its
// end or keeps it is found by the address sanitizer.
template <class Take>
void ForEachPiece(std::string_view bytes, const Cutting& cutting, Take take) {
  for (const std::size_t length : cutting) {
    if (length == 1) {
      const char byte = bytes[0];
      bytes.remove_prefix(1);
      take(std::string_view(&byte, 1));
      continue;
    }
    const auto piece = std::make_unique<char[]>(length);
    std::memcpy(piece.get(), bytes.data(), length);
    take(std::string_view(piece.get(), length));
    bytes.remove_prefix(length);
  }
}

}  // namespace aphlict::fuzz
