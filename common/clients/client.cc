#include "common/clients/client.h"

#include <utility>

#include "common/clients/clients.h"

namespace aphlict::clients {

namespace {

constexpr std::size_t kReplayWindow = 256 * 1024;  // unsent, beyond which a replay waits for the socket
constexpr int kReplayEntriesPerTurn = 2'000;       // looked at, so that a replay keeps nobody else waiting
constexpr std::size_t kMaxReplaysWaiting = 8;

}  // namespace

Client::Client(Clients& owner, std::uint64_t id, Audience& audience, net::StreamPtr stream)
    : owner_(owner),
      audience_(audience),
      id_(id),
      connection_(std::move(stream), websocket::Role::kServer, owner.readers_, *this) {}

bool Client::Deliver(const SharedBytes& frame) {
  if (replay_) return true;
  connection_.SendFrame(frame);
  owner_.CountDelivery(*this, frame.size());
  return connection_.unsent() <= owner_.options_.unsent_bytes;
}

std::uint16_t Client::Check(Time now, const char** reason) {
  const ClientLimits& limits = owner_.options_;
  if (connection_.unsent() > limits.stalled_bytes && now - connection_.last_progress() > limits.stalled_time) {
    *reason = "the client does not read what it is sent";
    return websocket::kTryAgainLater;
  }
  if (const Time since = connection_.in_message_since(); since != Time{} && now - since > limits.command_time) {
    *reason = "a message took too long to arrive";
    return websocket::kPolicyViolation;
  }
  const Duration silent = now - connection_.last_heard();
  if (silent > 3 * limits.ping_interval) {
    *reason = "no answer to two pings";
    return websocket::kGoingAway;
  }
  if (silent > limits.ping_interval && now - last_ping_ > limits.ping_interval) {
    last_ping_ = now;
    connection_.Send(websocket::Opcode::kPing, "");
  }
  return 0;
}

void Client::OnMessage(websocket::Opcode opcode, std::string_view payload) {
  if (opcode != websocket::Opcode::kText) return owner_.Ignore(*this, "a binary frame is no command");
  const auto command = ParseCommand(payload, owner_.options_.json_depth);
  if (!command) return owner_.Ignore(*this, command.error().text);
  std::visit([this](const auto& each) { Execute(each); }, *command);
}

void Client::OnClosed(std::uint16_t code, const std::string& reason) { owner_.OnClosed(*this, code, reason); }

void Client::Execute(const Subscribe& subscribe) {
  for (const std::string& phid : subscribe.phids) {
    audience_.index.Subscribe(*this, phid);
    if (subscriptions() > owner_.options_.subscriptions || subscription_bytes() > owner_.options_.subscription_bytes) {
      // The page comes back at once, and subscribes to what is still open in it.
      return owner_.Cut(*this, websocket::kPolicyViolation, "more subscriptions than a client may have");
    }
  }
}

void Client::Execute(const Unsubscribe& unsubscribe) {
  for (const std::string& phid : unsubscribe.phids) audience_.index.Unsubscribe(*this, phid);
}

void Client::Execute(const Ping&) { connection_.SendFrame(owner_.pong_frame_); }

void Client::Execute(const Replay& replay) {
  if (!replay_) return StartReplay(replay.age);
  if (replay_->next.size() >= kMaxReplaysWaiting) return owner_.Ignore(*this, "too many replays at once");
  replay_->next.push_back(replay.age);
}

void Client::StartReplay(Duration age) {
  const Time since = Now() - age;
  replay_ = std::make_unique<ReplayState>(ReplayState{owner_.history_.PositionAt(since), owner_.live_, since, {}});
  ContinueReplay();
}

void Client::ContinueReplay() {
  if (!replay_ || connection_.closed()) return;
  const history::History& history = owner_.history_;
  if (replay_->position < history.begin()) {
    if (replay_->live_from < history.begin()) {
      return owner_.Cut(*this, websocket::kTryAgainLater, "a replay fell behind the history");
    }
    replay_->position = history.begin();  // what has left is older than the history keeps
  }
  for (int looked_at = 0; replay_->position < owner_.live_; ++looked_at) {
    if (looked_at == kReplayEntriesPerTurn || connection_.unsent() >= kReplayWindow) {
      return connection_.NotifyWhenDrained();
    }
    const std::uint64_t position = replay_->position++;
    const history::Entry& entry = history.at(position);
    const history::Message* message = entry.message();
    if (message == nullptr || entry.repeat) continue;
    if (position < replay_->live_from && message->accepted() < replay_->since) continue;
    if (message->instance() != audience_.instance->name) continue;
    bool matches = false;
    message->ForEachSubscriber([&](std::string_view phid) {
      matches = audience_.index.IsSubscribed(*this, phid);
      return !matches;
    });
    if (!matches) continue;
    SharedBytes frame = message->client_frame();
    owner_.CountDelivery(*this, frame.size());
    connection_.SendFrame(std::move(frame));
  }
  const std::vector<Duration> next = std::move(replay_->next);
  replay_.reset();
  if (next.empty()) return;
  const Time since = Now() - next.front();
  replay_ = std::make_unique<ReplayState>(
      ReplayState{history.PositionAt(since), owner_.live_, since, {next.begin() + 1, next.end()}});
  connection_.NotifyWhenDrained();
}

}  // namespace aphlict::clients
