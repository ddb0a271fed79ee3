// Follows one master: by one of a group's addresses at a time, and by another when that one fails.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/admin/snapshot.h"
#include "common/base/log.h"
#include "common/base/random.h"
#include "common/config/settings.h"
#include "common/feed/upstream_connection.h"
#include "common/net/address.h"
#include "common/net/loop.h"
#include "common/net/timer.h"

namespace aphlict::repeater {

class UpstreamGroup;

// What a group brings to the repeater. Implemented by Repeater.
class FollowHandler {
 public:
  virtual ~FollowHandler() = default;
  virtual feed::Hello MakeHello(const UpstreamGroup& group) = 0;
  virtual void OnEpochs(const UpstreamGroup& group, const feed::Welcome& welcome) = 0;
  virtual void OnMessage(history::Message message) = 0;
  virtual void OnGap(const history::Gap& gap) = 0;
  virtual void OnHeartbeat(const feed::Heartbeat& heartbeat) = 0;
  // A connection came or went, was synchronised, or the nodes above have changed.
  virtual void OnStateChange() = 0;
};

class UpstreamGroup : private feed::UpstreamHandler {
 public:
  // All references outlive it. `secrets` may be null. `node_id` is this node's.
  UpstreamGroup(net::Loop& loop, const config::UpstreamGroup& settings, std::shared_ptr<const Secrets> secrets,
                std::string node_id, Log& log, FollowHandler& handler);
  ~UpstreamGroup() override;

  // `tls` is for URLs that ask for it; null where none does.
  void Start(std::shared_ptr<const net::TlsContext> tls);
  // Takes other settings while it follows. It stays where it is, if that is still one of the URLs and it is asked for
  // the same instances; else the feed goes on from another connection, at exactly the next message. Where it follows
  // nobody and waits, it tries again at once: what was changed may be the reason.
  void Change(const config::UpstreamGroup& settings, std::shared_ptr<const Secrets> secrets,
              std::shared_ptr<const net::TlsContext> tls);
  // `reason` is told to the node above.
  void Stop(std::string_view reason);

  // Sends what has changed in the tree since the last report.
  void Report(const feed::Tree& tree);

  const config::UpstreamGroup& settings() const { return settings_; }
  bool connected() const { return connected_; }
  // Whether everything that the present upstream had has come.
  bool synchronised() const { return synchronised_; }
  bool ever_synchronised() const { return ever_synchronised_; }
  Time last_heartbeat() const { return last_heartbeat_; }
  // The node that is followed, and those above it. Empty when there is none.
  std::string upstream_node() const { return connected_ ? node_ : ""; }
  const std::vector<std::string>& above() const { return above_; }
  // `history` is this node's.
  admin::UpstreamStatus status(const history::History& history) const;

 private:
  void Schedule();
  void Next();
  void TryUrl();
  void TryAddress();
  void Leave(std::string_view reason);
  // Leaves the node above for another connection, as it is meant to.
  void Move(const std::string& reason);
  // `failed`: it was not meant to end.
  void Ended(const std::string& reason, bool failed = true);
  // Whether there is another URL of the group, or another address of the one that is followed.
  bool has_alternative() const { return settings_.urls.size() > 1 || several_addresses_; }
  bool IsLoop(const std::string& node, const std::vector<std::string>& above) const;

  feed::Hello MakeHello() override { return handler_.MakeHello(*this); }
  void OnWelcome(const feed::Welcome& welcome) override;
  void OnMessage(history::Message message) override { handler_.OnMessage(std::move(message)); }
  void OnGap(const history::Gap& gap) override { handler_.OnGap(gap); }
  void OnHeartbeat(const feed::Heartbeat& heartbeat) override;
  void OnAbove(const std::vector<std::string>& nodes) override;
  void OnDrain() override;
  void OnLost(const std::string& reason) override;
  void OnRefused(int status, const std::string& reason) override;

  net::Loop& loop_;
  config::UpstreamGroup settings_;
  std::shared_ptr<const Secrets> secrets_;
  std::string node_id_;
  Log& log_;
  FollowHandler& handler_;
  std::shared_ptr<const net::TlsContext> tls_;  // set by Start()
  RandomGenerator random_;
  net::Resolver resolver_;
  net::Timer retry_;
  std::vector<http::Url> urls_;          // still to be tried in this round
  std::vector<net::Address> addresses_;  // of url_, still to be tried
  bool several_addresses_ = false;       // of the one that is tried or followed
  http::Url url_;                        // tried or followed
  net::Address address_;
  std::unique_ptr<feed::UpstreamConnection> connection_;
  int failures_ = 0;          // in a row
  std::size_t refusals_ = 0;  // of these, the last in a row that were refusals
  std::string last_failed_;   // authority of the URL that was lost: the last to be tried again
  std::string node_;
  std::string name_;
  std::vector<std::string> above_;
  Time last_heartbeat_{};
  Time level_at_;                 // when there was last nothing more above; at first, when the group was made
  history::Cursor newest_above_;  // that the node above had when it was connected to; empty once synchronised
  std::uint64_t connects_ = 0;
  std::uint64_t failures_in_all_ = 0;
  bool connected_ = false;
  bool synchronised_ = false;
  bool ever_synchronised_ = false;
  bool stopped_ = false;
};

}  // namespace aphlict::repeater
