// What a master and a repeater have in common: the history, the repeaters below, the browsers, the admin port, and
// the order in which a message passes through them. The roles add where messages come from.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/admin/admin.h"
#include "common/admin/snapshot.h"
#include "common/base/log.h"
#include "common/base/random.h"
#include "common/base/resources.h"
#include "common/clients/clients.h"
#include "common/config/settings.h"
#include "common/feed/downstreams.h"
#include "common/feed/tree.h"
#include "common/history/history.h"
#include "common/history/instances.h"
#include "common/net/loop.h"
#include "common/node/certificates.h"

namespace aphlict::node {

// What a role adds to a node. Implemented by master::Master and repeater::Repeater.
class Role {
 public:
  virtual ~Role() = default;
  virtual std::string_view name() const = 0;
  // Begins to do what the role does, once the ports are taken.
  virtual Result<void> Start() = 0;
  // Before the ports are opened: reads what it needs.
  virtual Result<void> Prepare() { return {}; }
  // The end of a turn, before the feeds and the clients are served: puts into the history what the turn brought.
  virtual void Commit() {}
  // After that: answers those who wait for it. Returns whether this has brought more to commit (a request that was
  // sent ahead is read once the one before it is answered).
  virtual bool Answer() { return false; }
  // A node below has dealt with a sequence of that epoch which this node has not reached.
  virtual void OnAhead(const history::Epoch& /*epoch*/) {}
  // Once each second, and when something important has changed below: sends the tree's report upwards, if there
  // is anybody above.
  virtual void Report() = 0;
  // Lets go of everything: nothing comes in any more.
  virtual void Stop() = 0;
  // Up to when the role has heard from everybody above; now, if there is nobody.
  virtual Time heard() const = 0;
  // An epoch that the history must not forget, or empty.
  virtual std::string own_epoch() const = 0;
  virtual std::vector<admin::UpstreamStatus> upstreams() const = 0;
  virtual std::uint64_t gaps() const = 0;
  virtual std::uint64_t repeats() const = 0;
};

class Node : private admin::StatusSource, private history::History::Observer {
 public:
  // All references outlive it. `publish` is null on a node that takes no publishes.
  Node(net::Loop& loop, const config::Settings& settings, Log& log, Role& role, admin::PublishHandler* publish);
  ~Node() override;

  // Takes all ports, for which it may have to be root, and nothing else. Errors: `code` is the exit code of
  // sysexits(3).
  Result<void> TakePorts();
  // Opens those of operators and repeaters. REQUIRES: all are taken. Errors likewise.
  Result<void> Open();
  // Opens the port of the browsers. Errors as Open().
  Result<void> OpenClients();

  // Takes a message into the history, from where the repeaters below and the clients get it at the turn's end.
  // `repeat`: it came before under another number, and clients do not get it again. Returns false when its instance
  // is one more than there may be (nothing is done then).
  bool Accept(history::Message message, bool repeat);
  // What plain GET on the client port is answered with.
  void SetReady(bool ready);
  void SetAbove(std::vector<std::string> direct, std::vector<std::string> all);

  // Prepares to go: unready, the clients' port closed, publishes refused, repeaters asked to move, clients closed one
  // after the other over the configured time. Calls `drained` once, when the last client has gone and the repeaters
  // have been sent everything, or some time after that when they do not take it.
  void BeginDrain(std::function<void()> drained);
  // Takes it back. Errors: the clients' port could not be opened again.
  Result<void> EndDrain();
  bool draining() const { return draining_; }

  // Closes everything, clients with 1001. The loop runs on until all is gone.
  void Stop();

  // 16 characters, new at each start: Aphlict's `fingerprint`.
  const std::string& id() const { return id_; }
  const config::Settings& settings() const { return settings_; }
  net::Loop& loop() { return loop_; }
  Log& log() { return log_; }
  history::History& history() { return history_; }
  const history::History& history() const { return history_; }
  history::Instances& instances() { return instances_; }
  feed::Tree& tree() { return tree_; }
  admin::Admin& admin() { return *admin_; }
  // REQUIRES: the ports are taken.
  const Certificates& certificates() const { return certificates_; }

  // Reads the certificates anew.
  void Reload() { certificates_.Reload(); }

  // Writes what has changed in this node into the tree, for a report or a status.
  void RefreshTree() const;

 private:
  std::string StatusOf(std::string_view instance) const override;
  std::string MetricsAs(admin::MetricsFormat format) const override;
  admin::State state() const override;
  admin::Snapshot Look() const;
  void OnEnter(const history::Message& message) override;
  void OnLeave(const history::Message& message) override;
  Result<void> Bind(const config::Server& server);
  void LogListening(config::ServerType type);
  void EndTurn();
  void Tick();
  void CheckDrained();

  net::Loop& loop_;
  const config::Settings& settings_;
  Log& log_;
  Role& role_;
  std::string id_;
  Time started_;
  Certificates certificates_;
  history::History history_;
  mutable history::Instances instances_;
  mutable feed::Tree tree_;
  std::unique_ptr<admin::Admin> admin_;
  std::unique_ptr<feed::Downstreams> downstreams_;  // null where no repeater may follow
  std::unique_ptr<clients::Clients> clients_;       // null where no browser is served
  std::vector<std::pair<config::ServerType, std::string>> bound_;
  std::uint64_t messages_in_ = 0;
  std::optional<Resources> resources_;  // once the ports are open
  bool report_now_ = false;
  bool ready_ = true;
  bool draining_ = false;
  Time drain_until_{};
  std::function<void()> drained_;
  net::Timer tick_;
  net::Timer drain_check_;
};

}  // namespace aphlict::node
