#include "master/push_cluster.h"

#include <algorithm>
#include <utility>

#include "master/touched.h"

namespace aphlict::master {

PushCluster::PushCluster(net::Loop& loop, std::string id, Log& log) : loop_(loop), id_(std::move(id)), log_(log) {}

void PushCluster::SetPeers(const std::vector<http::Url>& urls, std::shared_ptr<const net::TlsContext> tls,
                           const PushLimits& limits) {
  std::vector<std::unique_ptr<PushPeer>> peers;
  for (const http::Url& url : urls) {
    const auto same =
        std::find_if(peers_.begin(), peers_.end(), [&](const auto& peer) { return peer && peer->url() == url; });
    if (same == peers_.end()) {
      peers.push_back(std::make_unique<PushPeer>(loop_, url, tls, limits, log_));
    } else {
      (*same)->Change(tls, limits);
      peers.push_back(std::move(*same));
    }
  }
  for (const auto& peer : peers_) {
    if (peer) peer->GiveUp("it is a peer no more");
  }
  peers_ = std::move(peers);
}

void PushCluster::Stop() {
  for (const auto& peer : peers_) peer->GiveUp("this master stops");
  peers_.clear();
}

bool PushCluster::HasBeenHere(std::string_view body, int depth) const {
  // Hardly any message has.
  return body.find(id_) != std::string_view::npos && FindTouched(body, depth).Has(id_);
}

void PushCluster::Push(const history::Message& message, int depth) {
  if (peers_.empty()) return;
  const SharedBytes body = message.body();
  const Touched touched = FindTouched(body.view(), depth);
  const auto has_it = [&](const std::string& fingerprint) {
    return fingerprint == id_ || (!fingerprint.empty() && touched.Has(fingerprint));
  };
  std::vector<PushPeer*> receivers;
  std::vector<std::string> served;  // by this node, as far as one can know
  for (const auto& peer : peers_) {
    if (has_it(peer->fingerprint())) continue;
    receivers.push_back(peer.get());
    if (peer->keeps_up()) served.push_back(peer->fingerprint());
  }
  const std::string target = "/?instance=" + http::PercentEncode(message.instance());
  for (PushPeer* peer : receivers) {
    std::vector<std::string> more{id_};
    for (const std::string& other : served) {
      if (other != peer->fingerprint()) more.push_back(other);
    }
    peer->Push(
        {message.accepted(), target, body.Slice(0, touched.begin), touched.Insertion(more), body.Slice(touched.end)});
  }
}

void PushCluster::Expire() {
  for (const auto& peer : peers_) peer->Expire();
}

bool PushCluster::flushed() const {
  return std::all_of(peers_.begin(), peers_.end(), [](const auto& peer) { return peer->queued() == 0; });
}

std::vector<admin::PeerStatus> PushCluster::status() const {
  std::vector<admin::PeerStatus> all;
  for (const auto& peer : peers_) {
    const PushPeer::Counters& counters = peer->counters();
    all.push_back({peer->url().scheme + "://" + peer->url().authority(), peer->fingerprint(), peer->connected(),
                   peer->queued(), counters.taken, counters.refused, counters.dropped, counters.failures});
  }
  return all;
}

}  // namespace aphlict::master
