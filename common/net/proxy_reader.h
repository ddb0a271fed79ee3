// Takes the PROXY header off a connection before anybody else reads from it, and not a byte more: what follows may be
// HTTP, or TLS.
#pragma once

#include <uv.h>

#include <functional>
#include <string>

#include "common/base/result.h"
#include "common/base/time.h"
#include "common/net/handle.h"
#include "common/net/loop.h"
#include "common/net/proxy_header.h"

namespace aphlict::net {

class ProxyReader {
 public:
  // Errors: a wrong header; `code` is 1 where the peer has closed before its first byte, as a port scan does.
  using Done = std::function<void(const Result<ProxyHeader>&)>;

  // Owns the descriptor of a connected, non-blocking socket, and closes it at the end unless it was taken. Calls `done`
  // once, from the loop; it may not destroy the reader at once (Loop::DeleteLater()).
  ProxyReader(Loop& loop, int descriptor, Done done);
  ~ProxyReader();
  ProxyReader(const ProxyReader&) = delete;
  ProxyReader& operator=(const ProxyReader&) = delete;

  // The descriptor, for its next owner.
  int Take();
  Time since() const { return since_; }
  // The other end.
  Address peer() const;

 private:
  void Read();
  void Finish(const Result<ProxyHeader>& result);

  Loop& loop_;
  int descriptor_;
  Done done_;
  HandlePtr<uv_poll_t> poll_;
  std::string header_;  // as far as it has come
  Time since_;
};

}  // namespace aphlict::net
