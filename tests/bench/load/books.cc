// The generator's books: who has got which message, and whether that was right.
#include <algorithm>
#include <cstring>

#include "tests/bench/load/generator.h"
#include "tests/bench/load/text.h"

namespace aphlict::bench {

bool Generator::Learn(Wire& wire, const char* frame, std::size_t head_bytes, std::size_t size) {
  const std::string_view text(frame, size);
  const std::size_t at = text.find(template_->beginning(), head_bytes);
  if (at == std::string_view::npos) return false;
  const auto sequence = template_->SequenceOf(frame + at, size - at);
  if (!sequence || *sequence < first_sequence_ || *sequence >= next_sequence_) return false;
  const Message& message = messages_[*sequence - first_sequence_];
  std::size_t same = 0;
  while (same < message.body.size() && at + same < size && message.body[same] == frame[at + same]) ++same;
  // A peer that writes messages anew may add something behind what was published, and nothing else.
  if (same + 1 < message.body.size()) return false;
  wire = {size, head_bytes, at, same, std::string(frame, head_bytes)};
  return true;
}

void Generator::Deliver(Client& client, const char* body, std::size_t compared) {
  Order& order = order_of(client);
  if (client.next < order.sequences.size()) {
    Message& message = messages_[order.sequences[client.next] - first_sequence_];
    if (message.pending > 0 && std::memcmp(body, message.body.data(), compared) == 0) {
      ++client.next;
      return Count(message);
    }
  }
  DeliverUnexpected(client, body, compared);
}

// The first client that gets a message says what its place is in the order; whatever else comes here is wrong.
void Generator::DeliverUnexpected(Client& client, const char* body, std::size_t available) {
  Order& order = order_of(client);
  const auto sequence = template_->SequenceOf(body, available);
  if (!sequence || *sequence < first_sequence_ || *sequence >= next_sequence_) {
    return Problem(&Wrongs::garbled, "a message that was not published in this run");
  }
  Message& message = messages_[*sequence - first_sequence_];
  if (!Concerns(message, client)) {
    return Problem(&Wrongs::misdelivered,
                   Format("message %u for group %u reached one of group %u", *sequence, message.group, client.group));
  }
  const auto begin = order.sequences.begin();
  const auto known = std::find(begin, order.sequences.end(), *sequence);
  if (known != order.sequences.end()) {
    const auto place = static_cast<std::uint32_t>(known - begin);
    if (place < client.next) {
      const auto skipped =
          std::find(skipped_.begin(), skipped_.end(), std::pair<const Client*, std::uint32_t>(&client, *sequence));
      if (skipped == skipped_.end()) return Problem(&Wrongs::repeated, Format("message %u came again", *sequence));
      skipped_.erase(skipped);
      return Count(message);
    }
    if (place > client.next) {
      SkipTo(client, place, *sequence);
      return Count(message);
    }
    return Problem(&Wrongs::garbled, Format("message %u differs from what was published", *sequence));
  }
  const auto place = static_cast<std::uint32_t>(order.sequences.size());
  if (client.next < place) SkipTo(client, place, *sequence);
  if (std::memcmp(body, message.body.data(), available) != 0) {
    return Problem(&Wrongs::garbled, Format("message %u differs from what was published", *sequence));
  }
  // Messages that were in flight at once have no order of their own; one that was sent after another's answer does.
  if (message.unanswered == 0 && order.newest_sent > message.answered_at) {
    Problem(&Wrongs::disordered, Format("message %u came after one that was published after it", *sequence));
  }
  order.newest_sent = std::max(order.newest_sent, message.sent);
  order.sequences.push_back(*sequence);
  client.next = place + 1;
  Count(message);
}

void Generator::SkipTo(Client& client, std::uint32_t place, std::uint32_t sequence) {
  const Order& order = order_of(client);
  Problem(&Wrongs::disordered, Format("message %u came before %u", sequence, order.sequences[client.next]));
  for (; client.next < place; ++client.next) skipped_.emplace_back(&client, order.sequences[client.next]);
  client.next = place + 1;
}

void Generator::Count(Message& message) {
  ++deliveries_;
  if (--message.pending > 0) return;
  last_progress_ = last_complete_ = Now();
  latencies_.push_back(static_cast<float>(last_progress_ - message.due) * 1e-3f);
  FinishIfDone(message);
}

void Generator::FinishIfDone(Message& message) {
  if (!finished(message)) return;
  --unfinished_;
  spare_bodies_.push_back(std::move(message.body));
}

}  // namespace aphlict::bench
