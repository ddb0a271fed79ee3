// What a stream has to send: slices of buffers that are shared with others, in order, in chunks that a loop lends to
// its queues. Most streams never need one (Outbox).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "common/base/bytes.h"

namespace aphlict::net {

class WriteQueue {
 public:
  struct Chunk {
    static constexpr std::size_t kSlots = 16;
    SharedBytes slots[kSlots];
    std::uint16_t begin = 0;
    std::uint16_t end = 0;
    Chunk* last = nullptr;  // of the list, in its first
    std::unique_ptr<Chunk> next;
  };
  using SpareChunks = std::vector<std::unique_ptr<Chunk>>;

  bool empty() const { return bytes_ == 0; }
  std::size_t bytes() const { return bytes_; }

  // REQUIRES: the slice is not empty.
  void Push(SharedBytes slice, SpareChunks& spare);
  // Calls visit(const SharedBytes&) for each slice in order, until one returns false.
  template <class Visit>
  void ForEach(Visit visit) const {
    for (const Chunk* chunk = chunks_.get(); chunk != nullptr; chunk = chunk->next.get()) {
      for (std::size_t i = chunk->begin; i < chunk->end; ++i) {
        if (!visit(chunk->slots[i])) return;
      }
    }
  }
  // Takes away as many bytes from the front. REQUIRES: there are as many.
  void Consume(std::size_t bytes, SpareChunks& spare);
  void Clear();

 private:
  std::unique_ptr<Chunk> chunks_;  // the first of a list
  std::uint32_t bytes_ = 0;
};

}  // namespace aphlict::net
