// The repeater: follows its upstreams, puts what comes into its history, and serves its share of the browsers.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/history/repeats.h"
#include "common/net/timer.h"
#include "common/node/node.h"
#include "common/node/process.h"
#include "repeater/upstream_group.h"

namespace aphlict::repeater {

class Repeater : public node::Application, private node::Role, private FollowHandler {
 public:
  Repeater(net::Loop& loop, const config::Settings& settings, Log& log);

  node::Node& node() override { return node_; }

 private:
  // What the groups bring.
  feed::Hello MakeHello(const UpstreamGroup& group) override;
  void OnEpochs(const UpstreamGroup& group, const feed::Welcome& welcome) override;
  void OnMessage(history::Message message) override;
  void OnGap(const history::Gap& gap) override;
  void OnHeartbeat(const feed::Heartbeat& heartbeat) override;
  void OnStateChange() override;

  // What the node asks.
  std::string_view name() const override { return "repeater"; }
  Result<void> Start() override;
  void Report() override;
  void Stop() override;
  void OnSettings() override;
  Time heard() const override;
  std::string own_epoch() const override { return ""; }
  std::vector<admin::UpstreamStatus> upstreams() const override;
  std::uint64_t gaps() const override { return gaps_; }
  std::uint64_t repeats() const override { return repeats_dropped_; }

  void OpenClients();
  std::unique_ptr<UpstreamGroup> MakeGroup(const config::UpstreamGroup& settings);

  net::Loop& loop_;
  Log& log_;
  history::Repeats repeats_;
  std::uint64_t repeats_dropped_ = 0;
  LogLimiter dropped_limiter_;
  std::uint64_t gaps_ = 0;
  std::vector<std::string> above_;
  node::Node node_;
  net::Timer open_anyway_;  // clients are served after a while even if nothing has synchronised
  std::vector<std::unique_ptr<UpstreamGroup>> groups_;
};

}  // namespace aphlict::repeater
