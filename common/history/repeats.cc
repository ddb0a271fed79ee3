#include "common/history/repeats.h"

#include <string>

#include "common/base/bytes.h"

namespace aphlict::history {

bool Repeats::Seen(std::string_view instance, std::string_view unique_id, Time now) {
  if (unique_id.empty()) return false;
  while (!order_.empty() && (now - order_.front().first > age_ || order_.size() >= most_)) {
    seen_.erase(order_.front().second);
    order_.pop_front();
  }
  std::string both;
  AppendBigEndian(both, static_cast<std::uint32_t>(instance.size()));  // so that ("a", "bc") is not ("ab", "c")
  both.append(instance).append(unique_id);
  const std::uint64_t hash = SipHash(key_, both);
  if (!seen_.insert(hash).second) return true;
  order_.emplace_back(now, hash);
  return false;
}

}  // namespace aphlict::history
