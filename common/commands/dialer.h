// An outgoing connection: from a URL's host to a stream, by way of each of the addresses that the name has.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "common/base/result.h"
#include "common/http/head.h"
#include "common/net/address.h"
#include "common/net/loop.h"
#include "common/net/stream.h"
#include "common/net/tls_context.h"

namespace aphlict::commands {

class Dialer : private net::StreamHandler {
 public:
  // Told once, and later: the connected stream, whose handler is to be set, or what became of the last address. Gone
  // before that means cancelled.
  using Done = std::function<void(Result<net::StreamPtr>)>;

  // `tls` is used where the URL asks for it, and outlives the dialer.
  Dialer(net::Loop& loop, const http::Url& url, const net::TlsContext* tls, Done done);

 private:
  void Resolve();
  void TryNext();
  void OnConnected() override;
  void OnBytes(std::string_view) override {}  // nothing is read before there is another handler
  void OnEnd(const std::string& reason) override;

  net::Loop& loop_;
  http::Url url_;
  const net::TlsContext* tls_;
  Done done_;
  std::vector<net::Address> addresses_;  // those to try, the next one last
  std::string reason_;                   // why the last one did not do
  net::StreamPtr stream_;
  net::Resolver resolver_;
  net::Timer next_;
};

}  // namespace aphlict::commands
