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
#include "common/net/timer.h"
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
  // Once each second.
  virtual void OnTick() {}
  // Whether what was taken has gone wherever the role sends it by itself.
  virtual bool flushed() const { return true; }
  // Lets go of everything: nothing comes in any more.
  virtual void Stop() = 0;
  // Takes Node::settings() anew, which have changed. REQUIRES: started.
  virtual void OnSettings() = 0;
  // Up to when the role has heard from everybody above; now, if there is nobody.
  virtual Time heard() const = 0;
  // An epoch that the history must not forget, or empty.
  virtual std::string own_epoch() const = 0;
  virtual std::vector<admin::UpstreamStatus> upstreams() const = 0;
  virtual std::vector<admin::PeerStatus> peers() const { return {}; }
  virtual std::uint64_t gaps() const = 0;
  virtual std::uint64_t repeats() const = 0;
};

class Node : private admin::StatusSource, private history::History::Observer {
 public:
  // `settings` is copied; all references outlive it. `publish` is null on a node that takes no publishes.
  Node(net::Loop& loop, const config::Settings& settings, Log& log, Role& role, admin::PublishHandler* publish);
  ~Node() override;

  // Takes all ports, for which it may have to be root, and nothing else. Errors: `code` is the exit code of
  // sysexits(3).
  Result<void> TakePorts();
  // Opens those of operators and repeaters. REQUIRES: all are taken. Errors likewise.
  Result<void> Open();
  // Opens the port of the browsers, if there is one: the node is there for everybody. Errors as Open().
  Result<void> OpenClients();
  // Whether that has been done.
  bool opened() const { return opened_; }
  // Called when it is done.
  void SetOnOpened(std::function<void()> call) { on_opened_ = std::move(call); }

  // Takes other settings while it runs: all of them or, where one cannot be taken, none. No connection ends by it. A
  // listener that `next` does not have is closed, and the connections that came by it stay.
  // REQUIRES: config::Compare() says that none of them needs another start. Errors: why not; nothing has changed.
  Result<void> Apply(const config::Settings& next);

  // Takes a message into the history, from where the repeaters below and the clients get it at the turn's end.
  // `repeat`: it came before under another number, and clients do not get it again. Returns false when its instance
  // is one more than there may be (nothing is done then).
  bool Accept(history::Message message, bool repeat);
  // One that it has accepted already, under another number: for the repeaters below only, and counted as one.
  void AcceptAgain(history::Message message);
  // What plain GET on the client port is answered with.
  void SetReady(bool ready);
  void SetAbove(std::vector<std::string> direct, std::vector<std::string> all);

  // Prepares to go: unready, the clients' port closed, publishes refused, repeaters asked to move, clients closed one
  // after the other over the configured time. Calls `drained` once, when the last client has gone and the repeaters
  // have been sent everything, or some time after that when they do not take it.
  void BeginDrain(std::function<void()> drained);
  // Takes it back. The clients' port is opened again, once it can be.
  void EndDrain();
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
  const Certificates& certificates() const { return *certificates_; }

  // A line for people: its clients, those below, and how far behind anything is.
  std::string Summary() const;

  // Writes what has changed in this node into the tree, for a report or a status.
  void RefreshTree() const;

 private:
  std::string StatusOf(std::string_view instance) const override;
  std::string MetricsAs(admin::MetricsFormat format) const override;
  admin::State state() const override;
  admin::Snapshot Look() const;
  void OnEnter(const history::Message& message) override;
  void OnLeave(const history::Message& message) override;
  // A port that is taken: whether it is listened on is for Open() and OpenClients().
  struct Listener {
    config::Server server;
    std::size_t port;  // its number in HttpOf(server.type)
    net::Address address;
  };
  // Makes what serves the types of servers that are new.
  void MakeServers(const config::Settings& settings);
  server::HttpServer& HttpOf(config::ServerType type);
  Result<Listener> Bind(const config::Settings& settings, const config::Server& server,
                        const Certificates& certificates);
  // Whether `server` may be used at that address. Errors: a feed that would be open to everybody there.
  Result<void> CheckAccess(const config::Settings& settings, const config::Server& server, const net::Address& address);
  // Binds each server that has no listener yet, and listens on it if others of its type do. Adds them to `*listeners`,
  // in the case of an error those that there are so far.
  Result<void> BindNew(const config::Settings& settings, const Certificates& certificates,
                       std::vector<Listener>* listeners);
  // What a listener asks of a server's entry in the settings, for the connections to come.
  void SetUp(const Listener& listener, const Certificates& certificates);
  bool ShouldListen(config::ServerType type) const;
  Result<void> Listen(config::ServerType type);
  void TakeListeners(std::vector<Listener> all, const Certificates& certificates);
  void TakeLimits();
  static std::vector<config::Server> ServersOf(const std::vector<Listener>& listeners);
  void LogListening(std::string_view event, const Listener& listener);
  // After a drain: another process may have taken the port meanwhile, so this may fail, and is tried each second.
  void ListenForClientsAgain();
  void EndTurn();
  void Tick();
  void CheckDrained();

  net::Loop& loop_;
  config::Settings settings_;
  Log& log_;
  Role& role_;
  std::string id_;
  Time started_;
  net::TicketKeys tickets_;  // shared by nodes with the same secret: a browser may come back to another
  std::unique_ptr<Certificates> certificates_;  // null until the ports are taken
  history::History history_;
  mutable history::Instances instances_;
  mutable feed::Tree tree_;
  std::unique_ptr<admin::Admin> admin_;
  std::unique_ptr<feed::Downstreams> downstreams_;  // null where no repeater may follow
  std::unique_ptr<clients::Clients> clients_;       // null where no browser is served
  std::vector<Listener> listeners_;
  std::vector<std::string> configured_instances_;  // those that the settings name
  std::vector<std::string> above_;
  std::uint64_t messages_in_ = 0;
  std::optional<Resources> resources_;  // once the ports are open
  bool report_now_ = false;
  bool ready_ = true;
  bool serving_ = false;  // the ports of operators and repeaters are open
  bool opened_ = false;   // and that of the browsers has been opened
  std::function<void()> on_opened_;
  std::string client_port_problem_;  // that was logged last, while it lasts
  bool draining_ = false;
  Time drain_until_{};
  std::function<void()> drained_;
  net::Timer tick_;
  net::Timer drain_check_;
};

}  // namespace aphlict::node
