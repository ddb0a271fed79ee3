#include "common/commands/tree.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace aphlict::commands {
namespace {

constexpr char kTree[] = R"({
  "instance": "default", "uptime": 93784000, "clients.active": 12, "clients.total": 345, "messages.in": 10,
  "messages.out": 40, "history.size": 9, "history.age": 3000, "fingerprint": "m", "name": "master", "role": "master",
  "relay.version": "0.1.0", "gaps": 0, "public.url": "wss://main.example.com/",
  "figures": {"state": "ready", "clients": 2, "messages_out": 4, "unsent_bytes": 0, "gaps": 0, "lag_ms": 0},
  "repeaters": [
    {"id": "a", "name": "left", "address": "10.0.0.1:1", "url": "https://a.example.com/ws/", "version": "0.1.0",
     "connected": 60000, "clients": 5, "lag": 3,
     "figures": {"state": "synchronising", "clients": 5, "messages_out": 1234567, "unsent_bytes": 2048, "gaps": 1,
                 "lag_ms": 1500},
     "repeaters": [{"id": "b", "name": "bottom", "url": "", "version": "0.1.0", "connected": 1000, "clients": 5,
                    "lag": 0, "repeaters": [{"id": "c", "name": "leaf", "clients": 0, "repeaters": []}]}]},
    {"id": "d", "name": "right", "url": "", "version": "0.0.9", "connected": 1000, "clients": 0, "lag": 0,
     "repeaters": [{"id": "b", "name": "bottom", "url": "", "version": "0.1.0", "connected": 1000, "clients": 5,
                    "lag": 0, "repeaters": [{"id": "c", "name": "leaf", "clients": 0, "repeaters": []}]}]}
  ]})";

json::Value Json(const std::string& text) {
  auto value = json::Parse(text);
  REQUIRE(value);
  return std::move(*value);
}

std::vector<TreeNode> Read(const std::string& text) { return ReadTree(Json(text)); }

TEST_CASE("each node comes before those below it, and one that is there twice is not followed again") {
  std::string order;
  for (const TreeNode& node : Read(kTree)) {
    order += std::string(static_cast<std::size_t>(node.depth), '>') + node.name + (node.again ? "*" : "") + " ";
  }
  CHECK(order == "master >left >>bottom >>>leaf >right >>bottom* ");
}

TEST_CASE("a node's figures are those that it tells") {
  const TreeNode left = Read(kTree)[1];
  CHECK(left.state == "synchronising");
  CHECK(left.clients == 5);
  CHECK(left.deliveries == 1'234'567);
  CHECK(left.lag == 3);
  CHECK(left.lag_time == milliseconds(1500));
  CHECK(left.unsent == 2048);
  CHECK(left.gaps == 1);
  CHECK(left.since == milliseconds(60'000));
  CHECK(left.url == "https://a.example.com/ws/");
}

TEST_CASE("the node that was asked tells some things by other names") {
  const TreeNode master = Read(kTree)[0];
  CHECK(master.id == "m");
  CHECK(master.role == "master");
  CHECK(master.version == "0.1.0");
  CHECK(master.url == "wss://main.example.com/");
  CHECK(master.since == milliseconds(93'784'000));
}

TEST_CASE("an older node tells no figures, and that is fine") {
  const TreeNode bottom = Read(kTree)[2];
  CHECK(bottom.clients == 5);
  CHECK(bottom.state.empty());
  CHECK(!bottom.deliveries);
  CHECK(!bottom.unsent);
}

TEST_CASE("figures of the wrong type are as if they were not there") {
  const auto nodes = Read(R"({"uptime": 1, "clients.active": 1, "figures": {"clients": "many", "gaps": -1, "state": 7},
                              "repeaters": [{"name": 5, "lag": null, "repeaters": {}}]})");
  REQUIRE(nodes.size() == 2);
  CHECK(!nodes[0].clients);
  CHECK(!nodes[0].gaps);
  CHECK(!nodes[1].lag);
}

TEST_CASE("the table shows the tree within 100 columns") {
  const std::string text = RenderTree(Read(kTree), Json(kTree), 100);
  CAPTURE(text);
  std::istringstream lines(text);
  std::string line;
  std::getline(lines, line);
  CHECK(line.find("NODE") == 0);
  std::getline(lines, line);
  CHECK(line.find("master      ready") == 0);
  CHECK(line.find("1d2h") != std::string::npos);
  std::getline(lines, line);
  CHECK(line.find("  left      synchronising        5  1.2M    3      1.5s    2.0K     1  0.1.0       1m  https") == 0);
  std::getline(lines, line);
  CHECK(line.find("    bottom  -                    5     -    0         -       -     -  0.1.0") == 0);
  for (std::istringstream all(text); std::getline(all, line);) {
    if (line.starts_with("instance")) continue;
    CHECK(std::count_if(line.begin(), line.end(), [](char each) { return (each & 0xc0) != 0x80; }) <= 100);
  }
  CHECK(text.find("(above)") != std::string::npos);
  CHECK(text.find("instance default: 12 clients in the tree, 10 messages in, 40 delivered") != std::string::npos);
}

}  // namespace
}  // namespace aphlict::commands
