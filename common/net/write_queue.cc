#include "common/net/write_queue.h"

namespace aphlict::net {

namespace {

constexpr std::size_t kMostSpare = 1024;

}  // namespace

void WriteQueue::Push(SharedBytes slice, SpareChunks& spare) {
  bytes_ += static_cast<std::uint32_t>(slice.size());
  if (!chunks_ || chunks_->last->end == Chunk::kSlots) {
    std::unique_ptr<Chunk> chunk;
    if (spare.empty()) {
      chunk = std::make_unique<Chunk>();
    } else {
      chunk = std::move(spare.back());
      spare.pop_back();
    }
    Chunk* const added = chunk.get();
    (chunks_ ? chunks_->last->next : chunks_) = std::move(chunk);
    chunks_->last = added;
  }
  Chunk& last = *chunks_->last;
  last.slots[last.end++] = std::move(slice);
}

void WriteQueue::Consume(std::size_t bytes, SpareChunks& spare) {
  bytes_ -= static_cast<std::uint32_t>(bytes);
  while (bytes > 0) {
    SharedBytes& front = chunks_->slots[chunks_->begin];
    if (bytes < front.size()) {
      front = front.Slice(bytes);
      return;
    }
    bytes -= front.size();
    front = SharedBytes();
    if (++chunks_->begin < chunks_->end) continue;
    std::unique_ptr<Chunk> spent = std::move(chunks_);
    chunks_ = std::move(spent->next);
    if (chunks_) chunks_->last = spent->last;
    spent->begin = spent->end = 0;
    if (spare.size() < kMostSpare) spare.push_back(std::move(spent));
  }
}

void WriteQueue::Clear() {
  while (chunks_) chunks_ = std::move(chunks_->next);
  bytes_ = 0;
}

}  // namespace aphlict::net
