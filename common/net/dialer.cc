#include "common/net/dialer.h"

#include <algorithm>
#include <utility>

#include "common/base/random.h"

namespace aphlict::net {

namespace {

constexpr Duration kAddressTime = seconds(3);

}  // namespace

Dialer::Dialer(Loop& loop, std::string host, std::uint16_t port, const TlsContext* tls, Done done)
    : loop_(loop),
      host_(std::move(host)),
      port_(port),
      tls_(tls),
      done_(std::move(done)),
      resolver_(loop),
      next_(loop, [this] { OnTimer(); }) {
  next_.Start(Duration::zero());  // so that nobody is called back from a constructor
}

void Dialer::OnTimer() {
  if (addresses_.empty() && reason_.empty()) return Resolve();
  if (stream_) reason_ = "no connection within 3 s";
  stream_.reset();
  TryNext();
}

void Dialer::Resolve() {
  resolver_.Resolve(host_, port_, [this](Result<std::vector<Address>> resolved) {
    if (!resolved) return done_(resolved.error());
    addresses_ = std::move(*resolved);
    std::shuffle(addresses_.begin(), addresses_.end(), RandomGenerator(RandomSeed()));
    reason_ = "resolve " + host_ + ": it has no address";
    TryNext();
  });
}

void Dialer::TryNext() {
  if (addresses_.empty()) return done_(Error{reason_});
  const Address address = addresses_.back();
  addresses_.pop_back();
  auto stream = Stream::Connect(loop_, address, tls_, host_);
  if (!stream) return OnEnd(stream.error().text);
  stream_ = std::move(*stream);
  stream_->SetHandler(this);
  next_.Start(kAddressTime);
}

void Dialer::OnConnected() {
  next_.Stop();
  done_(std::move(stream_));
}

void Dialer::OnEnd(const std::string& reason) {
  reason_ = reason;
  stream_.reset();
  next_.Start(Duration::zero());
}

}  // namespace aphlict::net
