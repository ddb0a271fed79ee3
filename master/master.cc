#include "master/master.h"

#include <algorithm>
#include <utility>

#include "common/base/random.h"
#include "common/json/writer.h"

namespace aphlict::master {

namespace {

http::PreparedResponse Receipt(std::string_view node_id) {
  json::Writer out;
  out.StartObject().Field("fingerprint", node_id).EndObject();
  http::Response receipt;
  receipt.content_type = "application/json";
  receipt.body = out.text();
  return http::PreparedResponse(receipt);
}

}  // namespace

Master::Master(net::Loop& loop, const config::Settings& settings, Log& log)
    : log_(log),
      numbering_(RandomId()),
      limits_(LimitsOf(settings)),
      node_(loop, settings, log, *this, this),
      cluster_(loop, node_.id(), log),
      receipt_(Receipt(node_.id())) {}

Result<void> Master::Prepare() {
  if (!node_.settings().state.empty()) {
    if (auto opened = OpenJournal(); !opened) return opened;
  }
  // The epoch is there before its first message, so that a repeater which follows from the beginning knows that
  // it has missed nothing.
  node_.history().Mention(numbering_.epoch(), numbering_.last() + 1, Now());
  first_of_this_life_ = node_.history().end();
  return {};
}

Result<void> Master::Start() {
  SetPeers();
  return node_.OpenClients();
}

void Master::OnSettings() {
  limits_ = LimitsOf(node_.settings());
  SetPeers();
}

void Master::SetPeers() {
  const config::Settings& settings = node_.settings();
  cluster_.SetPeers(settings.cluster, node_.certificates().outgoing(),
                    {settings.limits.history_time, settings.limits.history_bytes});
}

Result<void> Master::OpenJournal() {
  const config::Settings& settings = node_.settings();
  auto journal = Journal::Open({settings.state, settings.durability, settings.limits.history_bytes}, log_);
  if (!journal) return journal.error();
  journal_ = std::move(*journal);
  numbering_ = Numbering(journal_->epoch(), journal_->last());
  for (history::Message& message : journal_->TakeMessages()) {
    if (node_.instances().Get(message.instance()) == nullptr) continue;
    repeats_.Seen(repeats_.KeyOf(message.instance(), message.unique_id()), message.accepted());
    node_.history().Add(std::move(message), false, Now());
  }
  return {};
}

void Master::OnPublish(server::ConnectionId connection, const std::string& instance, std::string& body) {
  auto publish = ParsePublish(body, limits_);
  if (!publish) {
    const Error& error = publish.error();
    std::int64_t suppressed = 0;
    if (refused_limiter_.Allow(std::chrono::floor<seconds>(Now().time_since_epoch()).count(), &suppressed)) {
      log_.Warning("publish_refused", {{"connection", connection},
                                       {"instance", instance},
                                       {"status", error.code},
                                       {"reason", error.text},
                                       {"suppressed", suppressed}});
    }
    node_.admin().Count(admin::PublishResult::kInvalid);
    return node_.admin().Respond(connection, http::ErrorResponse(error.code, error.text));
  }
  const history::Repeats::Key key = repeats_.KeyOf(instance, publish->unique_id);
  pending_.push_back({connection, instance, std::move(body), *std::move(publish), key});
}

// All publishes of a turn are committed together, in the order in which they came, and answered after that: an answer
// of 200 means that the message is in the history, and on its way to everybody.
void Master::Commit() {
  if (pending_.empty()) return;
  const Time now = Now();
  for (const Pending& pending : pending_) answers_.push_back(Number(pending, now));
  pending_.clear();
  if (!numbered_.empty()) Settle();
  numbered_.clear();
}

bool Master::Answer() {
  for (const history::Message& message : std::exchange(to_push_, {})) cluster_.Push(message, limits_.json_depth);
  for (const Answered& answer : answers_) {  // nothing below commits
    node_.admin().Count(answer.result);
    repeats_dropped_ += answer.result == admin::PublishResult::kRepeat;
    // May bring the next publish of the connection.
    if (answer.refusal) {
      node_.admin().Respond(answer.connection, *answer.refusal);
    } else {
      node_.admin().Respond(answer.connection, receipt_);
    }
  }
  answers_.clear();
  return !pending_.empty();
}

// Gives a publish its number, or none where it repeats another or cannot be taken. Returns what to answer.
Master::Answered Master::Number(const Pending& pending, Time now) {
  using admin::PublishResult;
  history::Instance* instance = node_.instances().Get(pending.instance);
  if (instance == nullptr) {
    return {pending.connection, PublishResult::kFull, http::ErrorResponse(503, "too many instances are in use")};
  }
  if (repeats_.Seen(pending.repeat_key, now) ||
      (!cluster_.empty() && cluster_.HasBeenHere(pending.body, limits_.json_depth))) {
    return {pending.connection, PublishResult::kRepeat, std::nullopt};
  }
  ++instance->entering;
  numbered_.push_back(history::Message::Create(
      numbering_.epoch(), numbering_.Next(), now,
      {pending.instance, pending.publish.unique_id, pending.publish.subscribers, pending.body}));
  if (log_.enabled(LogLevel::kDebug)) {
    log_.Debug("publish", {{"epoch", numbering_.epoch()},
                           {"instance", pending.instance},
                           {"sequence", numbering_.last()},
                           {"bytes", pending.body.size()},
                           {"subscribers", pending.publish.subscribers.size()}});
  }
  return {pending.connection, PublishResult::kAccepted, std::nullopt};
}

// Stores what was numbered, and only then lets anybody see it.
void Master::Settle() {
  const auto stored = journal_ ? journal_->Append(numbered_, node_.history().messages()) : Result<void>();
  for (const history::Message& message : numbered_) --node_.instances().Get(message.instance())->entering;
  if (stored) {
    if (!cluster_.empty()) to_push_ = numbered_;
    for (history::Message& message : numbered_) node_.Accept(std::move(message), false);
    return;
  }
  // A repeat of one of these is answered like it, so that it is tried again as well.
  for (Answered& answer : answers_) {
    if (answer.result == admin::PublishResult::kFull) continue;
    answer.result = admin::PublishResult::kNotStored;
    answer.refusal = http::ErrorResponse(stored.error().code, stored.error().text);
  }
  for (const history::Message& message : numbered_) {
    repeats_.Forget(repeats_.KeyOf(message.instance(), message.unique_id()));
  }
  numbering_.Rewind(numbered_.size());
  std::int64_t suppressed = 0;
  if (store_limiter_.Allow(std::chrono::floor<seconds>(Now().time_since_epoch()).count(), &suppressed)) {
    log_.Error("publish_not_stored", {{"status", stored.error().code},
                                      {"reason", stored.error().text},
                                      {"publishes", answers_.size()},
                                      {"suppressed", suppressed}});
  }
}

// A follower has seen sequences that this master has not given: the state folder is an older one than it had before.
// Numbers from there on would be taken for old ones, so a new epoch begins; what was accepted since the start may have
// been taken so already, and gets new numbers, too.
void Master::OnAhead(const history::Epoch& epoch) {
  if (epoch != numbering_.epoch()) return;
  if (journal_) {
    if (auto begun = journal_->BeginEpoch(); !begun) {
      log_.Error("epoch_not_ended", {{"epoch", epoch}, {"reason", begun.error().text}});
      return;
    }
  }
  numbering_ = Numbering(journal_ ? journal_->epoch() : RandomId());
  log_.Warning("epoch_ended",
               {{"epoch", epoch}, {"reason", "a follower is ahead of it"}, {"next", numbering_.epoch()}});
  history::History& history = node_.history();
  history.Mention(numbering_.epoch(), 1, Now());
  std::vector<history::Message> again;
  for (std::uint64_t position = std::max(first_of_this_life_, history.begin()); position < history.end(); ++position) {
    const history::Message* message = history.at(position).message();
    if (message != nullptr) again.push_back(message->Renumbered(numbering_.epoch(), numbering_.Next()));
  }
  first_of_this_life_ = history.end();
  if (journal_ && !again.empty()) {
    if (auto stored = journal_->Append(again, history.messages()); !stored) {
      log_.Error("publish_not_stored", {{"reason", stored.error().text}, {"publishes", again.size()}});
    }
  }
  // This node's own clients have had them.
  for (history::Message& message : again) node_.AcceptAgain(std::move(message));
}

}  // namespace aphlict::master
