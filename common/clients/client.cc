#include "common/clients/client.h"

#include <utility>

#include "common/clients/clients.h"

namespace aphlict::clients {

namespace {

constexpr std::size_t kReplayWindow = 256 * 1024;  // unsent, beyond which a replay waits for the socket
constexpr std::size_t kPhidsAtOnce = 256;          // of a command, before it is another client's turn
constexpr int kReplayEntriesAtOnce = 512;          // looked at before it is another client's turn
constexpr std::size_t kMaxReplaysWaiting = 8;

// What a command takes while it waits, whose text had that many bytes.
std::size_t MemoryOf(const Command& command, std::size_t text) {
  std::size_t phids = 0;
  if (const auto* subscribe = std::get_if<Subscribe>(&command)) phids = subscribe->phids.size();
  if (const auto* unsubscribe = std::get_if<Unsubscribe>(&command)) phids = unsubscribe->phids.size();
  return sizeof(Command) + phids * sizeof(std::string) + text;
}

}  // namespace

Client::Client(Clients& owner, std::uint64_t id, Audience& audience, net::StreamPtr stream)
    : owner_(owner),
      audience_(audience),
      connection_(std::move(stream), websocket::Role::kServer, owner.readers_, *this),
      id_(id) {}

bool Client::Deliver(const SharedBytes& frame) {
  if (replays_ || connection_.closed()) return true;
  connection_.SendFrame(frame);
  owner_.CountDelivery(*this, frame.size());
  return connection_.unsent() <= owner_.options_.unsent_bytes;
}

std::optional<ClientEnd> Client::Check(Time now, Time heard) {
  const ClientLimits& limits = owner_.options_;
  if (connection_.unsent() > limits.stalled_bytes && now - connection_.last_progress() > limits.stalled_time) {
    return ClientEnd::kUnread;
  }
  // What has come already and waits to be read is in time.
  if (const Time since = connection_.in_message_since(); since != Time{} && heard - since > limits.command_time) {
    return ClientEnd::kSlowMessage;
  }
  if (heard - connection_.last_heard() <= limits.ping_interval) {
    unanswered_pings_ = 0;
    return std::nullopt;
  }
  if (now - last_ping_ <= limits.ping_interval) return std::nullopt;
  // Pings are counted, and not the time: this process itself may have stood still.
  if (unanswered_pings_ == 2) {
    return ClientEnd::kSilent;
  }
  ++unanswered_pings_;
  last_ping_ = now;
  connection_.Send(websocket::Opcode::kPing, "");
  return std::nullopt;
}

void Client::OnMessage(websocket::Opcode opcode, std::string_view payload) {
  if (opcode != websocket::Opcode::kText) return owner_.Ignore(*this, "a binary frame is no command");
  auto command = ParseCommand(payload, owner_.options_.json_depth, owner_.loop_.heard_until());
  if (!command) return owner_.Ignore(*this, command.error().text);
  if (!backlog_) {
    if (Execute(*command)) return;
    backlog_ = std::make_unique<Backlog>();
    connection_.PauseReading();
    owner_.Schedule(*this);
  }
  const std::size_t bytes = MemoryOf(*command, payload.size());
  backlog_->commands.push_back(std::move(*command));
  backlog_->bytes += bytes;
  owner_.backlog_bytes_ += bytes;
  // Where too much waits already, a long turn is the lesser evil.
  while (backlog_ && owner_.backlog_bytes_ > owner_.options_.commands.unfinished_bytes) ContinueBacklog();
}

void Client::OnClosed(std::uint16_t code, const std::string& reason) { owner_.OnClosed(*this, code, reason); }

bool Client::Execute(Command& command) {
  return std::visit([this](auto& each) { return Execute(each); }, command);
}

bool Client::Execute(Subscribe& subscribe) {
  for (std::size_t i = 0; i < kPhidsAtOnce && !subscribe.phids.empty(); ++i) {
    const std::string phid = std::move(subscribe.phids.back());
    subscribe.phids.pop_back();
    // Before one too many makes its tables grow.
    const bool over = subscriptions() >= owner_.options_.subscriptions && !audience_.index.IsSubscribed(*this, phid);
    if (!over) audience_.index.Subscribe(*this, phid);
    if (over || subscription_bytes() > owner_.options_.subscription_bytes) {
      owner_.Cut(*this, ClientEnd::kSubscriptions);
      return true;
    }
  }
  return subscribe.phids.empty();
}

bool Client::Execute(Unsubscribe& unsubscribe) {
  for (std::size_t i = 0; i < kPhidsAtOnce && !unsubscribe.phids.empty(); ++i) {
    audience_.index.Unsubscribe(*this, unsubscribe.phids.back());
    unsubscribe.phids.pop_back();
  }
  return unsubscribe.phids.empty();
}

bool Client::Execute(const Ping&) {
  connection_.SendFrame(owner_.pong_frame_);
  return true;
}

bool Client::Execute(const ReplayRequest& request) {
  if (!replays_) {
    replays_ = std::make_unique<Replays>(Replays{MakeReplay(request), {}});
    owner_.Schedule(*this);
  } else if (replays_->waiting.size() >= kMaxReplaysWaiting) {
    owner_.Ignore(*this, "too many replays at once");
  } else {
    replays_->waiting.push_back(request);
  }
  return true;
}

Replay Client::MakeReplay(const ReplayRequest& request) const {
  return {owner_.history_, owner_.replay_index_, *this, request.since, owner_.live_};
}

void Client::OnDrained() {
  if (replays_) owner_.Schedule(*this);
}

bool Client::ContinueWork() {
  if (connection_.closed()) return false;
  if (!backlog_) return ContinueReplay();
  ContinueBacklog();
  return backlog_ || replays_;
}

void Client::ContinueBacklog() {
  if (!Execute(backlog_->commands.front())) return;
  if (!backlog_) return;  // the client was cut
  backlog_->commands.pop_front();
  if (!backlog_->commands.empty()) return;
  DropBacklog();
  connection_.ResumeReading();
}

void Client::DropBacklog() {
  if (!backlog_) return;
  owner_.backlog_bytes_ -= backlog_->bytes;
  backlog_.reset();
}

bool Client::ContinueReplay() {
  if (!replays_) return false;
  const history::History& history = owner_.history_;
  if (replays_->now.fell_behind(history)) {
    owner_.Cut(*this, ClientEnd::kReplay);
    return false;
  }
  for (int looked_at = 0; looked_at < kReplayEntriesAtOnce; ++looked_at) {
    if (connection_.unsent() >= kReplayWindow) {
      connection_.NotifyWhenDrained();
      return false;
    }
    const auto step = replays_->now.Next(history, owner_.live_);
    if (!step) {
      std::vector<ReplayRequest>& waiting = replays_->waiting;
      if (waiting.empty()) {
        replays_.reset();
        return false;
      }
      replays_->now = MakeReplay(waiting.front());
      waiting.erase(waiting.begin());
      return true;
    }
    if (!step->in_time || step->entry->repeat) continue;
    const history::Message& message = *step->entry->message();
    if (message.instance() != audience_.instance->name) continue;
    bool matches = false;
    message.ForEachSubscriber([&](std::string_view phid) {
      matches = audience_.index.IsSubscribed(*this, phid);
      return !matches;
    });
    if (!matches) continue;
    SharedBytes frame = message.client_frame();
    owner_.CountDelivery(*this, frame.size());
    connection_.SendFrame(std::move(frame));
  }
  return true;
}

}  // namespace aphlict::clients
