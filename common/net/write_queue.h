// What a stream has to send: slices of buffers that are shared with others, in order.
//
// Most queues hold one slice, for the length of a turn: it is kept in the queue itself, and what comes behind it in
// chunks, which a loop lends to its queues.
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
    static constexpr std::size_t kSlots = 14;
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
    if (!first_.empty() && !visit(first_)) return;
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
  SharedBytes& Front() { return first_.empty() ? chunks_->slots[chunks_->begin] : first_; }

  SharedBytes first_;              // before all chunks; empty where there are some, it may have been sent
  std::unique_ptr<Chunk> chunks_;  // the first of a list
  std::uint32_t bytes_ = 0;
};

}  // namespace aphlict::net
