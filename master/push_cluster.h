// Aphlict's push cluster: each message that this master accepts is posted to its push peers, which may be masters of
// this kind or Aphlict. A message carries the list of the nodes that it has come by (`touched`), so that it goes to
// none of them again.
//
// Aphlict adds itself to the list and posts to everybody who is not on it, so that in a mesh each node posts to each.
// This node also lists those whom it posts to itself, where they keep up with it, so that they do not post to each
// other.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/admin/snapshot.h"
#include "common/base/log.h"
#include "common/history/message.h"
#include "common/http/head.h"
#include "common/net/loop.h"
#include "common/net/tls_context.h"
#include "master/push_peer.h"

namespace aphlict::master {

class PushCluster {
 public:
  // `id` is this node's, and its fingerprint. All references outlive it.
  PushCluster(net::Loop& loop, std::string id, Log& log);

  // Those that were peers before, and are again, keep what waits for them.
  void SetPeers(const std::vector<http::Url>& urls, std::shared_ptr<const net::TlsContext> tls,
                const PushLimits& limits);

  // What waits is given up.
  void Stop();

  bool empty() const { return peers_.empty(); }
  // Whether a message that has come from a peer has been at this node before. `depth`: of its JSON, at most.
  bool HasBeenHere(std::string_view body, int depth) const;
  void Push(const history::Message& message, int depth);

  // Once a second.
  void Expire();
  // Whether nothing waits for anybody.
  bool flushed() const;
  // In the order of the settings.
  std::vector<admin::PeerStatus> status() const;

 private:
  net::Loop& loop_;
  std::string id_;
  Log& log_;
  std::vector<std::unique_ptr<PushPeer>> peers_;
};

}  // namespace aphlict::master
