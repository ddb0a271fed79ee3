#include "common/commands/dialer.h"

#include <algorithm>
#include <utility>

namespace aphlict::commands {

Dialer::Dialer(net::Loop& loop, const http::Url& url, const net::TlsContext* tls, Done done)
    : loop_(loop), url_(url), tls_(tls), done_(std::move(done)), resolver_(loop), next_(loop, [this] {
        addresses_.empty() && reason_.empty() ? Resolve() : TryNext();
      }) {
  next_.Start(Duration::zero());  // so that nobody is called back from a constructor
}

void Dialer::Resolve() {
  resolver_.Resolve(url_.host, url_.port, [this](Result<std::vector<net::Address>> resolved) {
    if (!resolved) return done_(resolved.error());
    addresses_ = std::move(*resolved);
    std::reverse(addresses_.begin(), addresses_.end());
    reason_ = "resolve " + url_.host + ": it has no address";
    TryNext();
  });
}

void Dialer::TryNext() {
  if (addresses_.empty()) return done_(Error{reason_});
  const net::Address address = addresses_.back();
  addresses_.pop_back();
  auto stream = net::Stream::Connect(loop_, address, url_.secure() ? tls_ : nullptr, url_.host);
  if (!stream) return OnEnd(stream.error().text);
  stream_ = std::move(*stream);
  stream_->SetHandler(this);
}

void Dialer::OnConnected() { done_(std::move(stream_)); }

void Dialer::OnEnd(const std::string& reason) {
  reason_ = reason;
  stream_.reset();
  next_.Start(Duration::zero());
}

}  // namespace aphlict::commands
