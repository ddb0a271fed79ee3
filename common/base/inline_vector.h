// A vector that keeps its first element within itself: for lists of which most have one, and of which there are many.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <type_traits>

namespace aphlict {

// The size of three pointers at most, like std::vector; without an allocation for up to one element. Not movable: what
// it is part of stays where it is. REQUIRES: fewer than 2^32 elements.
template <class T>
class InlineVector {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 16);

 public:
  InlineVector() = default;
  InlineVector(const InlineVector&) = delete;
  InlineVector& operator=(const InlineVector&) = delete;
  ~InlineVector() {
    if (capacity_ > 1) std::free(heap_);
  }

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T* begin() { return capacity_ > 1 ? heap_ : reinterpret_cast<T*>(inside_); }
  T* end() { return begin() + size_; }
  const T* begin() const { return const_cast<InlineVector*>(this)->begin(); }
  const T* end() const { return begin() + size_; }
  // REQUIRES: index < size().
  T& operator[](std::size_t index) { return begin()[index]; }
  const T& operator[](std::size_t index) const { return begin()[index]; }
  // REQUIRES: !empty().
  T& back() { return begin()[size_ - 1]; }
  const T& back() const { return begin()[size_ - 1]; }

  void push_back(const T& element) {
    const T copy = element;  // it may be one of ours
    if (size_ == capacity_) Grow();
    new (end()) T(copy);
    ++size_;
  }
  // REQUIRES: !empty().
  void pop_back() {
    assert(size_ > 0);
    --size_;
  }

 private:
  void Grow() {
    const std::uint32_t larger = capacity_ < 2 ? 4 : 2 * capacity_;
    auto* grown = static_cast<T*>(std::malloc(larger * sizeof(T)));
    if (grown == nullptr) throw std::bad_alloc();
    std::memcpy(static_cast<void*>(grown), begin(), size_ * sizeof(T));
    if (capacity_ > 1) std::free(heap_);
    heap_ = grown;
    capacity_ = larger;
  }

  union {
    T* heap_ = nullptr;                           // with a capacity of more than one
    alignas(T) unsigned char inside_[sizeof(T)];  // else the element
  };
  std::uint32_t size_ = 0;
  std::uint32_t capacity_ = 1;
};

}  // namespace aphlict
