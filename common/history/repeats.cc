#include "common/history/repeats.h"

#include <algorithm>
#include <iterator>
#include <string>

#include "common/base/bytes.h"

namespace aphlict::history {

bool Repeats::Seen(std::string_view instance, std::string_view unique_id, Time now) {
  if (unique_id.empty()) return false;
  const auto drop_oldest = [this] {
    seen_.erase(order_.front().second);
    order_.pop_front();
  };
  while (!order_.empty() && now - order_.front().first > age_) drop_oldest();
  const std::uint64_t hash = Hash(instance, unique_id);
  if (!seen_.insert(hash).second) return true;
  order_.emplace_back(now, hash);
  if (order_.size() > most_) drop_oldest();
  return false;
}

void Repeats::Forget(std::string_view instance, std::string_view unique_id) {
  if (unique_id.empty()) return;
  // It is among the newest: nothing was committed since.
  const std::uint64_t hash = Hash(instance, unique_id);
  if (seen_.erase(hash) == 0) return;
  const auto entry =
      std::find_if(order_.rbegin(), order_.rend(), [&](const auto& each) { return each.second == hash; });
  order_.erase(std::next(entry).base());
}

std::uint64_t Repeats::Hash(std::string_view instance, std::string_view unique_id) const {
  std::string both;
  AppendBigEndian(both, static_cast<std::uint32_t>(instance.size()));  // so that ("a", "bc") is not ("ab", "c")
  both.append(instance).append(unique_id);
  return SipHash(key_, both);
}

}  // namespace aphlict::history
