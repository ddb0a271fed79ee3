// Who is behind a proxy, by what the proxy says.
#pragma once

#include <vector>

#include "common/http/head.h"
#include "common/net/address.h"
#include "common/net/network.h"

namespace aphlict::server {

// The client's address by X-Forwarded-For: each proxy adds the address that it was reached from at the right, so the
// right-most one that is not itself a trusted proxy is the client's; what stands left of it, anybody can have written.
// `hop` is the trusted proxy that the request came from; it is the answer where the header says nothing that can be
// understood. Where all are trusted, it is the left-most. The port is 0 unless the header has it.
net::Address ForwardedFor(const http::Headers& headers, const net::Address& hop,
                          const std::vector<net::Network>& trusted);

}  // namespace aphlict::server
