// Borrowed bytes are a std::string_view, valid for the call unless the callee says otherwise. Bytes that
// outlive a call and are shared (a frame in many clients' queues) are SharedBytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>

namespace aphlict {

// A slice of an immutable, reference-counted buffer. Copying one costs an increment. The count is not
// atomic: a process has one thread (docs/design.md).
class SharedBytes {
 public:
  SharedBytes() = default;
  SharedBytes(const SharedBytes& other) : buffer_(other.buffer_), offset_(other.offset_), length_(other.length_) {
    if (buffer_ != nullptr) ++buffer_->references;
  }
  SharedBytes(SharedBytes&& other) noexcept
      : buffer_(std::exchange(other.buffer_, nullptr)),
        offset_(std::exchange(other.offset_, 0)),
        length_(std::exchange(other.length_, 0)) {}
  SharedBytes& operator=(SharedBytes other) noexcept {
    std::swap(buffer_, other.buffer_);
    std::swap(offset_, other.offset_);
    std::swap(length_, other.length_);
    return *this;
  }
  ~SharedBytes() {
    if (buffer_ != nullptr && --buffer_->references == 0) std::free(buffer_);
  }

  // Copies `bytes`. REQUIRES: less than 4 GiB.
  static SharedBytes Copy(std::string_view bytes) { return Concat(bytes, {}); }
  // Copies both, one after the other, into one buffer.
  static SharedBytes Concat(std::string_view first, std::string_view second);
  // A buffer of `size` bytes, which the caller fills through `*data` before it lets anyone else see it.
  static SharedBytes Uninitialized(std::size_t size, char** data);

  // A part of this slice, sharing the buffer. REQUIRES: offset <= size().
  SharedBytes Slice(std::size_t offset, std::size_t length = std::string_view::npos) const;

  const char* data() const { return buffer_ == nullptr ? nullptr : buffer_->data + offset_; }
  std::size_t size() const { return length_; }
  bool empty() const { return length_ == 0; }
  std::string_view view() const { return {data(), length_}; }

 private:
  struct Buffer {
    std::uint32_t references;
    char data[1];  // and on: the buffer is as long as it was asked for
  };

  Buffer* buffer_ = nullptr;
  std::uint32_t offset_ = 0;
  std::uint32_t length_ = 0;
};

// Unsigned integers in network byte order (RFC 1700).
// REQUIRES: sizeof(T) bytes at `data`.
template <class T>
T LoadBigEndian(const char* data) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    value = static_cast<T>(value << 8 | static_cast<unsigned char>(data[i]));
  }
  return value;
}

template <class T>
void StoreBigEndian(char* data, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    data[i] = static_cast<char>(value >> ((sizeof(T) - 1 - i) * 8) & 0xff);
  }
}

template <class T>
void AppendBigEndian(std::string& out, T value) {
  char bytes[sizeof(T)];
  StoreBigEndian(bytes, value);
  out.append(bytes, sizeof(T));
}

// Whether `text` is well-formed UTF-8 (RFC 3629: no overlong forms, no surrogates, at most U+10FFFF).
bool IsUtf8(std::string_view text);
// Whether all bytes are ASCII and none a control character below 0x20: no tab, and no line feed.
bool IsPlainAscii(std::string_view text);

}  // namespace aphlict
