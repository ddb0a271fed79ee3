// An outgoing connection: from a host's name to a stream, by way of the addresses that the name has, in any order. Each
// has 3 s, TLS included.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/base/result.h"
#include "common/net/address.h"
#include "common/net/loop.h"
#include "common/net/stream.h"
#include "common/net/timer.h"
#include "common/net/tls_context.h"

namespace aphlict::net {

class Dialer : private StreamHandler {
 public:
  // Told once, and later: the connected stream, whose handler is to be set, or what became of the last address. Gone
  // before that means cancelled.
  using Done = std::function<void(Result<StreamPtr>)>;

  // `host` is a name or an address. With `tls`, which outlives the dialer, the peer speaks that, and must be `host`.
  Dialer(Loop& loop, std::string host, std::uint16_t port, const TlsContext* tls, Done done);

 private:
  void OnTimer();
  void Resolve();
  void TryNext();
  void OnConnected() override;
  void OnBytes(std::string_view) override {}  // nothing is read before there is another handler
  void OnEnd(const std::string& reason) override;

  Loop& loop_;
  std::string host_;
  std::uint16_t port_;
  const TlsContext* tls_;
  Done done_;
  std::vector<Address> addresses_;  // those to try, the next one last
  std::string reason_;              // why the last one did not do
  StreamPtr stream_;
  Resolver resolver_;
  Timer next_;  // to be tried, now or when the present one has had its time
};

}  // namespace aphlict::net
