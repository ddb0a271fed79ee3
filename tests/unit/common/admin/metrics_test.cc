// What a node tells of itself: its metrics, its status, and what travels up the tree.
#include "common/admin/metrics.h"

#include <doctest/doctest.h>

#include <memory>
#include <set>
#include <sstream>
#include <string>

#include "common/admin/status.h"
#include "common/json/value.h"
#include "tests/unit/support/loop.h"
#include "tests/unit/support/messages.h"

namespace aphlict::admin {
namespace {

using testing::At;

// A node whose parts have counted something. Nothing listens.
class Site {
 public:
  Site() {
    tree.SetOwn({"own", "the name", "1.2", "", "", {}, {}});
    clients = std::make_unique<clients::Clients>(loop, clients::ClientLimits(), history, instances, *log);
    downstreams = std::make_unique<feed::Downstreams>(loop, feed::Downstreams::Options(), history, tree, *log);
  }

  Snapshot Look() {
    return {role,
            state,
            At(0),
            At(90'000),
            history,
            instances,
            tree,
            loop_,
            {{"admin", 3, admin}},
            publishes,
            upstreams,
            peers,
            with_clients ? clients.get() : nullptr,
            with_clients ? downstreams.get() : nullptr,
            11,
            2,
            1,
            configured};
  }
  std::string Metrics(MetricsFormat format = MetricsFormat::kPrometheus) { return WriteMetrics(Look(), {}, format); }
  std::string Figures() { return WriteFigures(Look()); }
  json::Value Status() {
    tree.UpdateOwnFigures(Figures());
    return *json::Parse(WriteStatus(Look(), "default"));
  }
  // The value of one sample in the text, or nothing.
  std::string Value(const std::string& sample) {
    std::istringstream lines(Metrics());
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with(sample + " ")) return line.substr(sample.size() + 1);
    }
    return "";
  }

  std::string_view role = "repeater";
  State state = State::kReady;
  bool with_clients = true;
  std::vector<std::string> logged;
  std::unique_ptr<Log> log = Log::ForTest(&logged);
  testing::TestLoop loop;
  net::Loop& loop_ = loop;
  history::History history{{}};
  history::Instances instances;
  feed::Tree tree;
  server::HttpCounters admin;
  PublishCounts publishes;
  std::vector<UpstreamStatus> upstreams;
  std::vector<PeerStatus> peers;
  std::vector<std::string> configured;
  std::unique_ptr<clients::Clients> clients;
  std::unique_ptr<feed::Downstreams> downstreams;
};

TEST_CASE("a node tells its version, its role and its state") {
  Site site;
  CHECK(site.Value(R"(aphlict_relay_build_info{version="1.2",role="repeater"})") == "1");
  for (const State state : {State::kReady, State::kNotListening, State::kSynchronising, State::kDraining}) {
    site.state = state;
    for (const char* name : {"ready", "not_listening", "synchronising", "draining"}) {
      CHECK(site.Value("aphlict_relay_state{state=\"" + std::string(name) + "\"}") ==
            (name == StateName(state) ? "1" : "0"));
    }
  }
}

TEST_CASE("every reason is there before it comes up") {
  Site site;
  site.admin.accepted = 9;
  site.admin.refused.Add(server::Refusal::kHost);
  site.publishes.Add(PublishResult::kRepeat);
  CHECK(site.Value(R"(aphlict_relay_refused_total{listener="admin",reason="host"})") == "1");
  CHECK(site.Value(R"(aphlict_relay_refused_total{listener="admin",reason="full"})") == "0");
  CHECK(site.Value(R"(aphlict_relay_publishes_total{result="repeat"})") == "1");
  CHECK(site.Value(R"(aphlict_relay_publishes_total{result="accepted"})") == "0");
  CHECK(site.Value(R"(aphlict_relay_clients_closed_total{reason="unread"})") == "0");
  CHECK(site.Value(R"(aphlict_relay_connections_accepted_total{listener="admin"})") == "9");
  CHECK(site.Value(R"(aphlict_relay_connections{listener="admin"})") == "3");
}

TEST_CASE("a node that serves no browsers has no metrics of them") {
  Site site;
  CHECK(site.Value("aphlict_relay_clients") == "0");
  site.with_clients = false;
  CHECK(site.Value("aphlict_relay_clients") == "");
  CHECK(site.Value("aphlict_relay_repeaters") == "");
  CHECK(site.Metrics().find("delivery_latency") == std::string::npos);
  CHECK(site.Value("aphlict_relay_messages_in_total") == "11");
  CHECK(site.Value("aphlict_relay_gaps_total") == "2");
  CHECK(site.Value("aphlict_relay_repeats_total") == "1");
}

TEST_CASE("groups of upstreams are told apart by their number, whatever they call themselves") {
  Site site;
  CHECK(site.Metrics().find("upstream") == std::string::npos);
  UpstreamStatus first{"http://evil.example.com:1", true, true, "node", "\"name\""};
  first.connects = 3;
  first.failures = 5;
  UpstreamStatus second;
  second.lag_messages = 7;
  second.lag = milliseconds(2500);
  site.upstreams = {first, second};
  const auto values = [&](const std::string& name) {
    return site.Value("aphlict_relay_upstream_" + name + "{upstream=\"0\"}") + " " +
           site.Value("aphlict_relay_upstream_" + name + "{upstream=\"1\"}");
  };
  CHECK(values("connected") == "1 0");
  CHECK(values("synchronised") == "1 0");
  CHECK(values("lag_messages") == "0 7");
  CHECK(values("lag_seconds") == "0 2.5");
  CHECK(values("connects_total") == "3 0");
  CHECK(values("reconnects_total") == "2 0");
  CHECK(values("failures_total") == "5 0");
  CHECK(site.Metrics().find("evil") == std::string::npos);
}

TEST_CASE("push peers are told apart by their number likewise") {
  Site site;
  CHECK(site.Metrics().find("push") == std::string::npos);
  PeerStatus first{"http://evil.example.com:1", "\"id\"", true, 1, 2, 3, 4, 5};
  site.peers = {first, PeerStatus()};
  const auto values = [&](const std::string& name) {
    return site.Value("aphlict_relay_push_" + name + "{peer=\"0\"}") + " " +
           site.Value("aphlict_relay_push_" + name + "{peer=\"1\"}");
  };
  CHECK(values("waiting_messages") == "1 0");
  CHECK(values("taken_total") == "2 0");
  CHECK(values("refused_total") == "3 0");
  CHECK(values("dropped_total") == "4 0");
  CHECK(values("failures_total") == "5 0");
  CHECK(site.Metrics().find("evil") == std::string::npos);
}

TEST_CASE("only instances of the configuration are labels") {
  Site site;
  site.instances.Get("made up by a browser")->messages_in = 5;
  history::Instance* dog = site.instances.Get("dog");
  dog->messages_in = 3;
  dog->messages_out = 4;
  dog->clients_active = 1;
  CHECK(site.Metrics().find("instance=") == std::string::npos);
  CHECK(site.Value("aphlict_relay_instances") == "2");
  site.configured = {"cat", "dog"};
  CHECK(site.Value(R"(aphlict_relay_instance_messages_in_total{instance="dog"})") == "3");
  CHECK(site.Value(R"(aphlict_relay_instance_messages_out_total{instance="dog"})") == "4");
  CHECK(site.Value(R"(aphlict_relay_instance_clients{instance="dog"})") == "1");
  CHECK(site.Value(R"(aphlict_relay_instance_clients{instance="cat"})") == "0");
  CHECK(site.Metrics().find("made up") == std::string::npos);
}

TEST_CASE("the history has messages, bytes and an age") {
  Site site;
  CHECK(site.Value("aphlict_relay_history_age_seconds") == "0");
  site.history.AddGap({"aaaaaaaaaaaaaaaa", 1, 4}, At(0));
  CHECK(site.Value("aphlict_relay_history_age_seconds") == "0");
  site.history.Add(testing::Make({.sequence = 5, .accepted = At(60'000)}), false, At(60'000));
  site.history.Add(testing::Make({.sequence = 6, .accepted = At(80'000)}), false, At(80'000));
  CHECK(site.Value("aphlict_relay_history_age_seconds") == "30");
  CHECK(site.Value("aphlict_relay_history_messages") == "2");
  CHECK(site.Value("aphlict_relay_history_bytes") == std::to_string(site.history.bytes()));
}

// A report of a node below.
void Report(Site& site, const std::string& id, const std::string& figures, int sequence) {
  const std::string node = R"({"nodes":[{"id":")" + id + R"(","revision":)" + std::to_string(sequence) +
                           R"(,"above":["own"],"cursor":{"aaaaaaaaaaaaaaaa":)" + std::to_string(sequence) +
                           R"(},"figures":)" + figures + R"(,"instances":{"default":[)" + std::to_string(sequence) +
                           R"(,2,3,4]}}]})";
  REQUIRE(site.tree.Apply(sequence, "10.0.0.1:1", *json::Parse(node), At(0)));
}

TEST_CASE("the tree is summed up, with those who have gone") {
  Site site;
  for (history::Sequence i = 1; i <= 9; ++i) site.history.Add(testing::Make({.sequence = i}), false, At(0));
  site.tree.UpdateOwnFigures(R"({"clients_total":1,"messages_out":10,"gaps":1})");
  Report(site, "a", R"({"clients_total":5,"messages_out":100,"gaps":2})", 4);
  Report(site, "b", R"({"clients_total":7,"messages_out":1000})", 7);
  const auto sums = [&] {
    return site.Value("aphlict_relay_tree_nodes") + " " + site.Value("aphlict_relay_tree_clients") + " " +
           site.Value("aphlict_relay_tree_clients_accepted_total") + " " +
           site.Value("aphlict_relay_tree_messages_out_total") + " " + site.Value("aphlict_relay_tree_gaps_total") +
           " " + site.Value("aphlict_relay_tree_lag_messages");
  };
  CHECK(sums() == "3 4 13 1110 3 5");
  site.tree.Drop(4);
  CHECK(sums() == "2 2 13 1110 3 2");
}

TEST_CASE("figures are what travels: nothing of them is left out when they are read") {
  Site site;
  site.admin.refused.Add(server::Refusal::kHost);
  UpstreamStatus upstream;
  upstream.lag = milliseconds(1700);
  site.upstreams = {upstream};
  const std::string text = site.Figures();
  CHECK(feed::Figures::Parse(text).text == text);
  const json::Value figures = *json::Parse(text);
  CHECK(figures["state"].string() == "ready");
  CHECK(figures["messages_in"].integer() == 11);
  CHECK(figures["gaps"].integer() == 2);
  CHECK(figures["repeats"].integer() == 1);
  CHECK(figures["lag_ms"].integer() == 1700);
  CHECK(figures["refused"]["admin.host"].integer() == 1);
  CHECK(figures["refused"].members().size() == 1);
  CHECK(figures["closed"].members().empty());
  CHECK(figures["latency"]["counts"].elements().size() == figures["latency"]["bounds_us"].elements().size() + 1);

  SUBCASE("also when every reason has come up") {
    server::HttpCounters all;
    for (std::size_t i = 0; i < server::kRefusals; ++i) {
      for (int times = 0; times < 3; ++times) all.refused.Add(static_cast<server::Refusal>(i));
    }
    Snapshot node = site.Look();
    node.ports.clear();
    for (const char* type : {"admin", "client", "repeater"}) node.ports.push_back({type, 0, all});
    const std::string full = WriteFigures(node);
    CHECK(feed::Figures::Parse(full).text == full);
  }
}

TEST_CASE("the status has the same figures for the node itself and for those below") {
  Site site;
  Report(site, "a", site.Figures(), 4);
  const json::Value status = site.Status();
  REQUIRE(status["repeaters"].elements().size() == 1);
  const json::Value& below = status["repeaters"].elements()[0];
  REQUIRE(status["figures"].members().size() > 8);
  REQUIRE(below["figures"].members().size() == status["figures"].members().size());
  for (const auto& [name, value] : status["figures"].members()) CHECK(below["figures"].has(name));
}

TEST_CASE("a scraper gets OpenMetrics where it asks for it") {
  const auto format = [](const char* accept) {
    http::Headers headers;
    if (accept != nullptr) headers.Add("Accept", accept);
    return FormatFor(headers) == MetricsFormat::kOpenMetrics ? "OpenMetrics" : "Prometheus";
  };
  CHECK(format(nullptr) == std::string("Prometheus"));
  CHECK(format("*/*") == std::string("Prometheus"));
  CHECK(format("text/html, */*;q=0.8") == std::string("Prometheus"));
  CHECK(format("application/openmetrics-text") == std::string("OpenMetrics"));
  CHECK(format("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3") == std::string("OpenMetrics"));
  CHECK(format("application/openmetrics-text;version=1.0.0;q=0.3,text/plain;q=0.5") == std::string("Prometheus"));
  CHECK(format("application/openmetrics-text;version=2.0.0, text/plain;q=0.1") == std::string("Prometheus"));
  CHECK(format("application/openmetrics-text;q=0") == std::string("Prometheus"));
}

TEST_CASE("each metric is told of once, with a type and a sentence, in both formats") {
  Site site;
  site.upstreams = {UpstreamStatus()};
  site.peers = {PeerStatus()};
  site.configured = {"dog"};
  for (const MetricsFormat format : {MetricsFormat::kPrometheus, MetricsFormat::kOpenMetrics}) {
    std::set<std::string> types;
    std::set<std::string> helps;
    std::istringstream lines(site.Metrics(format));
    for (std::string line; std::getline(lines, line);) {
      std::istringstream words(line);
      std::string hash, what, name;
      words >> hash >> what >> name;
      if (hash != "#") continue;
      if (what == "TYPE") CHECK(types.insert(name).second);
      if (what == "HELP") {
        CHECK(helps.insert(name).second);
        CHECK(line.ends_with('.'));
      }
    }
    CHECK(types == helps);
    CHECK(types.size() > 40);
  }
  CHECK(site.Metrics(MetricsFormat::kOpenMetrics).ends_with("\n# EOF\n"));
}

}  // namespace
}  // namespace aphlict::admin
