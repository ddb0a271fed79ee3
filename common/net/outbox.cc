#include "common/net/outbox.h"

#include <sys/socket.h>
#include <sys/types.h>

#include <cerrno>
#include <utility>

#include "common/base/fetch_ahead.h"
#include "common/net/loop.h"
#include "common/net/stream.h"

namespace aphlict::net {

namespace {

// Streams with a queue of their own: those that come next are fetched while one is sent.
constexpr std::size_t kFetched = 2;

// Of the places, from turn to turn: 2 MiB.
constexpr std::size_t kMostKept = 64 * 1024;

}  // namespace

std::uint32_t Outbox::Enter(Stream* stream, SharedBytes slice, int descriptor) {
  outgoing_.push_back({stream, std::move(slice), descriptor});
  return static_cast<std::uint32_t>(outgoing_.size() - 1);
}

void Outbox::SendAll() {
  // A stream that fails tells its handler, which may write to others: the list can grow on the way.
  for (std::size_t i = 0; i < outgoing_.size(); ++i) SendOne(i);
  outgoing_.clear();
  if (outgoing_.capacity() > kMostKept) std::vector<Outgoing>().swap(outgoing_);
}

void Outbox::SendOne(std::size_t place) {
  if (place + 2 * kFetched < outgoing_.size()) FetchLine(&outgoing_[place + 2 * kFetched]);
  const std::size_t later = place + kFetched;
  if (later < outgoing_.size() && outgoing_[later].stream != nullptr && !outgoing_[later].IsSentHere()) {
    outgoing_[later].stream->Prefetch();
  }
  Stream* const stream = std::exchange(outgoing_[place].stream, nullptr);
  if (stream == nullptr) return;
  const SharedBytes slice = std::move(outgoing_[place].slice);
  if (slice.empty()) return stream->Flush();
  const int descriptor = outgoing_[place].descriptor;
  if (descriptor < 0) return stream->SendRest(slice, 0);
  const ssize_t sent = send(descriptor, slice.data(), slice.size(), MSG_NOSIGNAL);
  if (sent != static_cast<ssize_t>(slice.size())) return stream->SendRest(slice, sent < 0 ? -errno : sent);
  counters_.sent += slice.size();
  counters_.unsent -= slice.size();
}

}  // namespace aphlict::net
