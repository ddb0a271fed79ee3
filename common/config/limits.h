// The keys of `limits` in the file: what each sets, and between which bounds.
#pragma once

#include <cstdint>
#include <string_view>

#include "common/config/settings.h"

namespace aphlict::config {

// Calls `visit(key, member, least, most)` for each, in the order of README.md. `member` is a pointer to a member of
// Limits, whose types differ: hence no table.
template <class Visitor>
void ForEachLimit(Visitor&& visit) {
  constexpr std::int64_t kCount = 100'000'000;
  constexpr std::int64_t kBytes = std::int64_t{1} << 40;
  constexpr std::int64_t kClientBytes = std::int64_t{1} << 31;
  constexpr std::int64_t kFrameBytes = 48 * 1024 * 1024;  // what one message of the feed can hold
  constexpr std::int64_t kTime = 86'400;
  constexpr std::int64_t kHeadBytes = 16 * 1024 * 1024;
  const auto each = [&](std::string_view key, auto member, std::int64_t least, std::int64_t most) {
    visit(key, member, least, most);
  };
  each("publish.bytes", &Limits::publish_bytes, 1, kFrameBytes);
  each("json.depth", &Limits::json_depth, 1, 100'000);
  each("message.subscribers", &Limits::message_subscribers, 1, 1'000'000);
  each("instance.bytes", &Limits::instance_bytes, 1, 65'535);
  each("instances", &Limits::instances, 1, kCount);
  each("head.bytes", &Limits::head_bytes, 256, kHeadBytes);
  each("head.fields", &Limits::head_fields, 8, 10'000);
  each("head.seconds", &Limits::head_time, 1, kTime);
  each("unfinished.bytes", &Limits::unfinished_bytes, 65'536, kBytes);
  each("clients", &Limits::clients, 0, kCount);
  each("connections.per.address", &Limits::connections_per_address, 0, kCount);
  each("command.bytes", &Limits::command_bytes, 128, kFrameBytes);
  each("command.fragments", &Limits::command_fragments, 1, kCount);
  each("command.seconds", &Limits::command_time, 1, kTime);
  each("client.subscriptions", &Limits::client_subscriptions, 1, kCount);
  each("client.subscription.bytes", &Limits::client_subscription_bytes, 1, kClientBytes);
  each("client.stalled.bytes", &Limits::client_stalled_bytes, 1, kClientBytes);
  each("client.stalled.seconds", &Limits::client_stalled_time, 1, kTime);
  each("client.unsent.bytes", &Limits::client_unsent_bytes, 1, kClientBytes);
  each("client.ping.seconds", &Limits::client_ping_interval, 1, kTime);
  each("history.seconds", &Limits::history_time, 1, kTime);
  each("history.bytes", &Limits::history_bytes, 1, kBytes);
  each("repeaters", &Limits::repeaters, 1, kCount);
}

}  // namespace aphlict::config
