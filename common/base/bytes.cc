#include "common/base/bytes.h"

#include <algorithm>
#include <cassert>
#include <cstdlib>
#include <limits>
#include <new>

#include "common/base/eight_bytes.h"

namespace aphlict {

SharedBytes SharedBytes::Uninitialized(std::size_t size, char** data) {
  assert(size <= std::numeric_limits<std::uint32_t>::max());
  SharedBytes result;
  result.buffer_ = static_cast<Buffer*>(std::malloc(sizeof(Buffer) + size));
  if (result.buffer_ == nullptr) throw std::bad_alloc();
  result.buffer_->references = 1;
  result.length_ = static_cast<std::uint32_t>(size);
  *data = result.buffer_->data;
  return result;
}

SharedBytes SharedBytes::Concat(std::string_view first, std::string_view second) {
  char* data = nullptr;
  SharedBytes result = Uninitialized(first.size() + second.size(), &data);
  if (!first.empty()) std::memcpy(data, first.data(), first.size());
  if (!second.empty()) std::memcpy(data + first.size(), second.data(), second.size());
  return result;
}

SharedBytes SharedBytes::Slice(std::size_t offset, std::size_t length) const {
  assert(offset <= length_);
  SharedBytes result = *this;
  result.offset_ += static_cast<std::uint32_t>(offset);
  result.length_ = static_cast<std::uint32_t>(std::min(length, length_ - offset));
  return result;
}

namespace {

// The length of the well-formed sequence that starts at `at`, 0 if there is none (Unicode 15, table 3-7).
std::size_t SequenceLength(const unsigned char* at, std::size_t available) {
  auto continues = [&](std::size_t i, unsigned char low, unsigned char high) {
    return i < available && at[i] >= low && at[i] <= high;
  };
  const unsigned char lead = at[0];
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead <= 0xdf) return continues(1, 0x80, 0xbf) ? 2 : 0;
  if (lead >= 0xe0 && lead <= 0xef) {
    const unsigned char low = lead == 0xe0 ? 0xa0 : 0x80;
    const unsigned char high = lead == 0xed ? 0x9f : 0xbf;
    return continues(1, low, high) && continues(2, 0x80, 0xbf) ? 3 : 0;
  }
  if (lead >= 0xf0 && lead <= 0xf4) {
    const unsigned char low = lead == 0xf0 ? 0x90 : 0x80;
    const unsigned char high = lead == 0xf4 ? 0x8f : 0xbf;
    return continues(1, low, high) && continues(2, 0x80, 0xbf) && continues(3, 0x80, 0xbf) ? 4 : 0;
  }
  return 0;
}

}  // namespace

bool IsUtf8(std::string_view text) {
  const auto* at = reinterpret_cast<const unsigned char*>(text.data());
  std::size_t left = text.size();
  while (left > 0) {
    const auto plain = [at](std::size_t offset) {
      return EightBytes(reinterpret_cast<const char*>(at) + offset).NotAscii() == 0;
    };
    if (left >= 16 && plain(0) && plain(8)) {
      at += 16;
      left -= 16;
      continue;
    }
    const std::size_t length = SequenceLength(at, left);
    if (length == 0) return false;
    at += length;
    left -= length;
  }
  return true;
}

bool IsPlainAscii(std::string_view text) {
  if (text.size() < 8) {
    return std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) - 0x20U < 0x60U; });
  }
  const auto marks_at = [text](std::size_t at) {
    const EightBytes eight(text.data() + at);
    return eight.Below(0x20) | eight.NotAscii();
  };
  const std::size_t last = text.size() - 8;
  std::uint64_t marks = marks_at(last);
  for (std::size_t at = 0; at < last; at += 8) marks |= marks_at(at);
  return marks == 0;
}

}  // namespace aphlict
