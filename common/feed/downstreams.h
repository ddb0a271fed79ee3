// The serving end of the feed: the repeaters that follow this node.
//
// Each is a position in the history. What lies past it is sent as fast as its connection takes it, so that a
// follower passes from resuming to live without a seam, and a slow one costs no memory. docs/protocol.md has
// the wire format.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/feed/control.h"
#include "common/feed/tree.h"
#include "common/history/history.h"
#include "common/http/head.h"
#include "common/net/loop.h"
#include "common/net/timer.h"
#include "common/server/http_server.h"
#include "common/server/websocket_connection.h"

namespace aphlict::feed {

class Downstreams : private server::HttpHandler {
 public:
  struct Options {
    std::string node;  // this node's id
    std::string name;
    std::string version;
    std::size_t most = 1024;                 // repeaters; past it 503
    std::shared_ptr<const Secrets> secrets;  // one of which lets a repeater in; null: all are let in
    server::HttpLimits http;
  };

  struct Counters {
    std::uint64_t connected = 0;
    std::uint64_t messages = 0;  // sent, over all followers
    std::uint64_t gaps = 0;      // told to followers
  };

  // All references outlive it.
  Downstreams(net::Loop& loop, const Options& options, const history::History& history, Tree& tree, Log& log);
  ~Downstreams() override;

  // Where ports are taken, and listened on.
  server::HttpServer& http() { return http_; }
  // For repeaters to come; those that are there stay.
  void SetOptions(const Options& options) {
    options_ = options;
    http_.SetLimits(options_.http);
  }

  // Sends what has entered the history. Called at the end of each turn.
  void Pump();
  // The nodes above have changed.
  void SetAbove(std::vector<std::string> above);
  // Called when the reports from below have changed something that should not wait for the next interval.
  void SetOnImportantChange(std::function<void()> call) { on_important_change_ = std::move(call); }

  // Called when a repeater says that it has dealt with a sequence that this node has not reached, before it is
  // welcomed.
  void SetOnAhead(std::function<void(const history::Epoch&)> call) { on_ahead_ = std::move(call); }

  // Asks the repeaters that have another upstream to move there.
  void AskToMove();
  // Whether all that the history has is with the kernel, for every repeater.
  bool flushed() const;

  // Takes no more repeaters, and closes those that are there, after all that is queued for them.
  void Shutdown(std::uint16_t code, std::string_view reason);

  std::size_t size() const { return followers_.size(); }
  const Counters& counters() const { return counters_; }

 private:
  class Follower;

  void OnHead(const server::RequestStart& request) override;
  void OnRequest(const server::Request& request) override;
  void Remove(Follower& follower);
  void Beat();

  net::Loop& loop_;
  Options options_;
  const history::History& history_;
  Tree& tree_;
  Log& log_;
  websocket::ReaderPool readers_;
  server::HttpServer http_;
  std::vector<std::unique_ptr<Follower>> followers_;
  std::vector<std::string> above_;
  std::function<void()> on_important_change_ = [] {};
  std::function<void(const history::Epoch&)> on_ahead_ = [](const history::Epoch&) {};
  Counters counters_;
  net::Timer heartbeat_;
};

}  // namespace aphlict::feed
