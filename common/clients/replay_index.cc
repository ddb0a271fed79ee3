#include "common/clients/replay_index.h"

#include <utility>

#include "common/base/siphash.h"

namespace aphlict::clients {

std::size_t ReplayIndex::ChainOf(std::string_view phid) { return KeyedHash()(phid) % kChains; }

void ReplayIndex::Add(std::uint64_t position, const history::Message& message) {
  if (newest_.empty()) newest_.resize(kChains);
  message.ForEachSubscriber([&](std::string_view phid) {
    const std::uint64_t id = first_ + links_.size();
    links_.push_back({position, std::exchange(newest_[ChainOf(phid)], id)});
    return true;
  });
}

void ReplayIndex::DropBefore(std::uint64_t position) {
  while (!links_.empty() && links_.front().position < position) {
    links_.pop_front();
    ++first_;
  }
}

}  // namespace aphlict::clients
