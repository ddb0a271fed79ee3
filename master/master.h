// The master: takes publishes, numbers them, and puts them into its history, from where the feeds and the clients
// get them.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/history/repeats.h"
#include "common/node/node.h"
#include "common/node/process.h"
#include "master/journal.h"
#include "master/numbering.h"
#include "master/publish.h"
#include "master/push_cluster.h"

namespace aphlict::master {

class Master : public node::Application, private node::Role, private admin::PublishHandler {
 public:
  Master(net::Loop& loop, const config::Settings& settings, Log& log);

  node::Node& node() override { return node_; }

 private:
  // A publish that waits for the end of its turn.
  struct Pending {
    server::ConnectionId connection;
    std::string instance;
    std::string body;
    Publish publish;
    history::Repeats::Key repeat_key;
  };
  struct Answered {
    server::ConnectionId connection;
    admin::PublishResult result;
    std::optional<http::Response> refusal;  // else the receipt
  };

  void OnPublish(server::ConnectionId connection, const std::string& instance, std::string& body) override;
  Answered Number(const Pending& pending, Time now);
  void Settle();
  Result<void> OpenJournal();
  void SetPeers();
  static PublishLimits LimitsOf(const config::Settings& settings) {
    return {settings.limits.json_depth, settings.limits.message_subscribers};
  }

  std::string_view name() const override { return "master"; }
  Result<void> Prepare() override;
  Result<void> Start() override;
  void Commit() override;
  bool Answer() override;
  void OnAhead(const history::Epoch& epoch) override;
  void Report() override {}  // nobody is above
  void OnTick() override { cluster_.Expire(); }
  bool flushed() const override { return cluster_.flushed(); }
  void Stop() override { cluster_.Stop(); }
  void OnSettings() override;
  Time heard() const override { return Now(); }
  std::string own_epoch() const override { return numbering_.epoch(); }
  std::vector<admin::UpstreamStatus> upstreams() const override { return {}; }
  std::vector<admin::PeerStatus> peers() const override { return cluster_.status(); }
  std::uint64_t gaps() const override { return 0; }
  std::uint64_t repeats() const override { return repeats_dropped_; }

  Log& log_;
  std::unique_ptr<Journal> journal_;  // null without a state folder
  Numbering numbering_;
  std::uint64_t first_of_this_life_ = 0;  // position in the history
  history::Repeats repeats_;
  std::uint64_t repeats_dropped_ = 0;
  PublishLimits limits_;
  LogLimiter refused_limiter_;
  LogLimiter store_limiter_;
  std::vector<Pending> pending_;
  std::vector<history::Message> numbered_;  // by Commit(), between whose calls it is empty
  std::vector<Answered> answers_;           // to what was committed in this turn
  std::vector<history::Message> to_push_;   // what was committed in this turn
  node::Node node_;
  PushCluster cluster_;
  http::PreparedResponse receipt_;  // each 200
};

}  // namespace aphlict::master
