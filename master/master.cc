#include "master/master.h"

#include <utility>

#include "common/json/writer.h"

namespace aphlict::master {

namespace {

std::string Receipt(std::string_view node_id) {
  json::Writer out;
  out.StartObject().Field("fingerprint", node_id).EndObject();
  return std::string(out.text());
}

}  // namespace

Master::Master(net::Loop& loop, const config::Settings& settings, Log& log)
    : log_(log),
      limits_{settings.limits.json_depth, settings.limits.message_subscribers},
      node_(loop, settings, log, *this, this) {
  receipt_ = Receipt(node_.id());
  // The epoch is there before its first message, so that a repeater which follows from the beginning knows that
  // it has missed nothing.
  node_.history().Mention(numbering_.epoch(), 1, Now());
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
    return node_.admin().Respond(connection, http::ErrorResponse(error.code, error.text));
  }
  pending_.push_back({connection, instance, std::move(body), std::move(*publish)});
}

// All publishes of a turn are committed together, in the order in which they came, and answered after that: an answer
// of 200 means that the message is in the history.
void Master::Commit() {
  for (const Pending& pending : pending_) answers_.push_back({pending.connection, Take(pending)});
  pending_.clear();
}

bool Master::Answer() {
  for (const Answered& answer : std::exchange(answers_, {})) {
    node_.admin().Respond(answer.connection, answer.response);  // may bring the next publish of the connection
  }
  return !pending_.empty();
}

http::Response Master::Take(const Pending& pending) {
  const Time now = Now();
  http::Response receipt;
  receipt.content_type = "application/json";
  receipt.body = receipt_;
  if (node_.instances().Get(pending.instance) == nullptr) {
    return http::ErrorResponse(503, "too many instances are in use");
  }
  if (repeats_.Seen(pending.instance, pending.publish.unique_id, now)) {
    ++repeats_dropped_;
    return receipt;
  }
  const history::Sequence sequence = numbering_.Next();
  log_.Debug("publish", {{"instance", pending.instance},
                         {"sequence", sequence},
                         {"bytes", pending.body.size()},
                         {"subscribers", pending.publish.subscribers.size()}});
  node_.Accept(history::Message::Create(
                   numbering_.epoch(), sequence, now,
                   {pending.instance, pending.publish.unique_id, pending.publish.subscribers, pending.body}),
               false);
  return receipt;
}

}  // namespace aphlict::master
