#include "common/feed/downstreams.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "common/base/fetch_ahead.h"
#include "common/http/authorization.h"
#include "common/websocket/handshake.h"

namespace aphlict::feed {

namespace {

// What is queued for a follower at most, beyond which it waits for its connection.
constexpr std::size_t kWindow = 512 * 1024;

// What a follower may send: a hello, and reports of a large tree.
constexpr websocket::ReaderLimits kReaderLimits{kMaxMessageBytes, 1024};

}  // namespace

// One repeater below. Owned by Downstreams.
class Downstreams::Follower : public server::WebSocketHandler {
 public:
  Follower(Downstreams& owner, SourceId source, net::StreamPtr stream)
      : owner_(owner),
        source_(source),
        address_(stream->peer().ToString()),
        connection_(std::move(stream), websocket::Role::kServer, owner.readers_, *this) {}

  SourceId source() const { return source_; }
  void Receive(std::string_view bytes) { connection_.Receive(bytes); }

  void OnMessage(websocket::Opcode opcode, std::string_view payload) override {
    if (opcode != websocket::Opcode::kText) return Fail("a repeater sends text frames only");
    auto control = ParseControl(payload);
    if (!control) return Fail(control.error().text);
    if (auto* hello = std::get_if<Hello>(&*control)) return Greet(std::move(*hello));
    if (auto* status = std::get_if<Status>(&*control)) return Report(status->report);
    Fail("a message that only the node above sends");
  }

  void OnClosed(std::uint16_t code, const std::string& reason) override {
    LogEnd(code, reason);
    owner_.Remove(*this);
  }

  void OnDrained() override { Pump(); }

  // Fetch into the cache what Pump() will look at (FetchAhead).
  void Prefetch() const {
    connection_.Prefetch();
    FetchLine(&position_);
  }
  void PrefetchParts() const {
    connection_.PrefetchStream();
    if (!sent_.empty()) FetchLine(&*sent_.begin());
  }

  // Sends what lies past the follower's position, as far as the window allows.
  void Pump() {
    if (!hello_) return;
    const history::History& history = owner_.history_;
    while (position_ < history.end()) {
      if (connection_.unsent() >= kWindow) return connection_.NotifyWhenDrained();
      if (position_ < history.begin()) {
        position_ = history.begin();
        TellMissing();
      }
      if (position_ == history.end()) break;
      const history::Entry& entry = history.at(position_++);
      if (const history::Message* message = entry.message()) {
        Send(*message);
      } else {
        TellGap(*entry.gap());
      }
    }
    if (!live_) {
      live_ = true;
      Beat(ReadClock(Now()));
    }
  }

  // Whether the follower has been sent everything: all such get the same heartbeat.
  bool live() const { return hello_ && live_ && position_ == owner_.history_.end(); }

  void Beat(ClockReading clock) {
    if (!hello_) return;
    TellMissing();
    Heartbeat heartbeat{clock, {}, live()};
    // Of an epoch that this node has forgotten, or never knew, it says nothing, so that those below forget it too.
    for (const history::EpochState& state : owner_.history_.epochs()) heartbeat.cursor[state.epoch] = SentOf(state);
    connection_.Send(websocket::Opcode::kText, Encode(heartbeat));
  }
  // REQUIRES: live(), and `encoded` tells of all that the history has.
  void Beat(const SharedBytes& encoded) {
    TellMissing();
    connection_.SendFrame(encoded);
  }

  bool flushed() const { return !hello_ || (position_ == owner_.history_.end() && connection_.unsent() == 0); }

  void Tell(const std::string& encoded) {
    if (hello_) connection_.Send(websocket::Opcode::kText, encoded);
  }

  void CheckSilence(Time now) {
    if (now - connection_.last_heard() > kSilence) {
      Close(websocket::kPolicyViolation, hello_ ? "nothing heard for 15 s" : "no hello for 15 s");
    }
  }

  // Does not call OnClosed().
  void Close(std::uint16_t code, std::string_view reason) {
    LogEnd(code, reason);
    connection_.Close(code, reason);
    owner_.Remove(*this);
  }
  void CloseForShutdown(std::uint16_t code, std::string_view reason) { connection_.Close(code, reason); }

 private:
  void Fail(std::string_view reason) { Close(websocket::kPolicyViolation, reason); }

  void LogEnd(std::uint16_t code, std::string_view reason) {
    owner_.log_.Info("repeater_disconnected", {{"peer", address_},
                                               {"id", hello_ ? hello_->node : ""},
                                               {"name", hello_ ? hello_->name : ""},
                                               {"code", code},
                                               {"reason", reason}});
  }

  void Greet(Hello hello) {
    if (hello_) return Fail("a second hello");
    hello_ = std::move(hello);
    owner_.log_.Info("repeater_connected", {{"peer", address_},
                                            {"id", hello_->node},
                                            {"name", hello_->name},
                                            {"version", hello_->version},
                                            {"resumes", hello_->resumes ? "yes" : "no"}});
    ++owner_.counters_.connected;
    for (const auto& [epoch, sequence] : hello_->cursor) {
      const history::EpochState* state = owner_.history_.Find(epoch);
      if (state != nullptr && sequence > state->newest) owner_.on_ahead_(epoch);
    }
    Welcome welcome;
    welcome.node = owner_.options_.node;
    welcome.name = owner_.options_.name;
    welcome.version = owner_.options_.version;
    welcome.above = owner_.above_;
    welcome.clock = ReadClock(Now());
    for (const history::EpochState& state : owner_.history_.epochs()) {
      welcome.epochs[state.epoch] = {state.floor, state.newest};
    }
    connection_.Send(websocket::Opcode::kText, Encode(welcome));
    sent_ = hello_->cursor;
    position_ = owner_.history_.PositionAfter(hello_->cursor);
    TellMissing();
    Pump();
  }

  void Report(const json::Value& report) {
    if (!hello_) return Fail("a status report before hello");
    const std::size_t nodes = owner_.tree_.nodes().size();
    const auto applied = owner_.tree_.Apply(source_, address_, report, Now());
    if (!applied) return Fail(applied.error().text);
    if (owner_.tree_.nodes().size() != nodes) owner_.on_important_change_();
  }

  // The last sequence of an epoch that the follower has dealt with.
  history::Sequence& SentOf(const history::EpochState& state) {
    // One that follows for the first time misses nothing of what was before it; one that was here before does.
    const auto [place, is_new] = sent_.try_emplace(state.epoch, hello_->resumes ? 0 : state.base - 1);
    return place->second;
  }

  bool Concerns(const history::Message& message) const {
    if (!hello_->instances) return true;
    const auto& wanted = *hello_->instances;
    return std::find(wanted.begin(), wanted.end(), message.instance()) != wanted.end();
  }

  void Send(const history::Message& message) {
    const history::EpochState* state = owner_.history_.Find(message.epoch());
    if (state == nullptr) return;  // forgotten while its messages were still leaving
    history::Sequence& sent = SentOf(*state);
    if (message.sequence() <= sent) return;
    if (state->base > sent + 1) TellGap({state->epoch, sent + 1, state->base - 1});
    sent = message.sequence();
    if (!Concerns(message)) return;
    ++owner_.counters_.messages;
    connection_.SendFrame(message.feed_frame());
  }

  void TellGap(const history::Gap& gap) {
    history::Sequence& sent = sent_[gap.epoch];
    if (gap.to <= sent) return;
    const history::Gap rest{gap.epoch, std::max(gap.from, sent + 1), gap.to};
    sent = gap.to;
    ++owner_.counters_.gaps;
    owner_.log_.Warning(
        "gap_told",
        {{"id", hello_->node}, {"name", hello_->name}, {"epoch", rest.epoch}, {"from", rest.from}, {"to", rest.to}});
    connection_.Send(websocket::Opcode::kText, Encode(rest));
  }

  // Tells what has left the history before the follower had it.
  void TellMissing() {
    for (const history::EpochState& state : owner_.history_.epochs()) {
      const history::Sequence sent = SentOf(state);
      if (state.base > sent + 1) TellGap({state.epoch, sent + 1, state.base - 1});
    }
    // What an instance's filter or an upstream's heartbeat has moved past, with nothing to send for it.
    if (position_ != owner_.history_.end()) return;
    for (const history::EpochState& state : owner_.history_.epochs()) {
      history::Sequence& sent = SentOf(state);
      sent = std::max(sent, state.newest);
    }
  }

  Downstreams& owner_;
  SourceId source_;
  std::string address_;
  server::WebSocketConnection connection_;
  std::optional<Hello> hello_;
  history::Cursor sent_;
  std::uint64_t position_ = 0;  // in the history: everything before it is dealt with
  bool live_ = false;
};

Downstreams::Downstreams(net::Loop& loop, const Options& options, const history::History& history, Tree& tree, Log& log)
    : loop_(loop),
      options_(options),
      history_(history),
      tree_(tree),
      log_(log),
      readers_(websocket::Role::kServer, kReaderLimits),
      http_(loop, "repeater", options.http, log, *this),
      heartbeat_(loop, [this] { Beat(); }) {
  heartbeat_.Start(kHeartbeatInterval, kHeartbeatInterval);
  heartbeat_.Unref();
}

Downstreams::~Downstreams() = default;

void Downstreams::Pump() {
  for (std::size_t i = 0; i < followers_.size(); ++i) {
    FetchAhead(
        i, followers_.size(), [this](std::size_t at) { followers_[at]->Prefetch(); },
        [this](std::size_t at) { followers_[at]->PrefetchParts(); });
    followers_[i]->Pump();
  }
}

void Downstreams::SetAbove(std::vector<std::string> above) {
  above_ = std::move(above);
  const std::string encoded = Encode(Above{above_});
  for (const auto& follower : followers_) follower->Tell(encoded);
}

void Downstreams::AskToMove() {
  const std::string encoded = Encode(Drain{});
  for (const auto& follower : followers_) follower->Tell(encoded);
}

bool Downstreams::flushed() const {
  return std::all_of(followers_.begin(), followers_.end(), [](const auto& each) { return each->flushed(); });
}

void Downstreams::Shutdown(std::uint16_t code, std::string_view reason) {
  http_.StopListening();
  Pump();
  for (auto& follower : followers_) {
    follower->CloseForShutdown(code, reason);
    tree_.Drop(follower->source());
  }
  followers_.clear();
}

// Before a peer is known, nothing of it is looked at but this.
void Downstreams::OnHead(const server::RequestStart& request) {
  const http::Headers& headers = request.head.headers;
  // A browser adds this header to every WebSocket that a page opens, and no repeater does: no page of the web may
  // read the feed through a browser that reaches this port.
  if (headers.Find("Origin")) {
    return http_.Refuse(request.connection, server::Refusal::kOrigin,
                        {"a web page may not follow the feed (Origin header)", 403});
  }
  if (!options_.secrets) return;
  const auto token = http::BearerToken(headers);
  if (token && options_.secrets->Accept(*token)) return;
  http_.Refuse(request.connection, server::Refusal::kSecret,
               {token ? "the secret is not this node's" : "the feed needs a secret (Authorization: Bearer)", 401},
               {{"WWW-Authenticate", "Bearer"}});
}

void Downstreams::OnRequest(const server::Request& request) {
  const auto refuse = [&](int status, const std::string& reason, server::Refusal refusal) {
    http_.Refuse(request.connection, refusal, {reason, status});
  };
  constexpr server::Refusal kHandshake = server::Refusal::kHandshake;
  if (request.head.path() != kPath) return refuse(404, "the feed is at /feed/", kHandshake);
  if (!websocket::IsUpgrade(request.head)) return refuse(426, "the feed is a WebSocket", kHandshake);
  const auto accept = websocket::AcceptHandshake(request.head);
  if (!accept) return refuse(accept.error().code, accept.error().text, kHandshake);
  if (!request.head.headers.HasToken("Sec-WebSocket-Protocol", kSubprotocol)) {
    return refuse(400, "this node speaks the subprotocol aphlict-relay.v1", kHandshake);
  }
  if (followers_.size() >= options_.most) {
    return refuse(503, "this node has as many repeaters as it may", server::Refusal::kFull);
  }
  std::string unread;
  net::StreamPtr stream = http_.Upgrade(request.connection, &unread);
  stream->Write(websocket::SwitchingProtocols(*accept, kSubprotocol));
  followers_.push_back(std::make_unique<Follower>(*this, request.connection, std::move(stream)));
  followers_.back()->Receive(unread);
}

void Downstreams::Remove(Follower& follower) {
  tree_.Drop(follower.source());
  const auto found =
      std::find_if(followers_.begin(), followers_.end(), [&](const auto& each) { return each.get() == &follower; });
  loop_.DeleteLater(std::shared_ptr<Follower>(std::move(*found)));  // it may be on the stack
  followers_.erase(found);
  http_.Release(follower.source());
  on_important_change_();
}

void Downstreams::Beat() {
  const Time now = Now();
  // Removing while walking: a copy of the pointers, each of which lives until the turn's end.
  std::vector<Follower*> followers;
  for (const auto& follower : followers_) followers.push_back(follower.get());
  for (Follower* follower : followers) follower->CheckSilence(now);

  const ClockReading clock = ReadClock(now);
  const SharedBytes encoded =
      websocket::EncodeFrame(websocket::Opcode::kText, Encode(Heartbeat{clock, history_.cursor(), true}));
  for (const auto& follower : followers_) {
    if (follower->live()) {
      follower->Beat(encoded);
    } else {
      follower->Beat(clock);
    }
  }
}

}  // namespace aphlict::feed
