// What comes on the feed: controls, reports and messages. What is read can be written and read again, and is the same;
// what is written is read as it was; and a tree that is told what another knows knows as much.
#include <array>
#include <chrono>

#include "common/base/bytes.h"
#include "common/feed/control.h"
#include "common/feed/tree.h"
#include "common/history/message.h"
#include "common/websocket/frame.h"
#include "tests/fuzz/fuzz.h"

namespace aphlict::fuzz {
namespace {

using history::Message;

// --- controls

std::string EncodeAny(const feed::Control& control) {
  return std::visit(
      [](const auto& message) -> std::string {
        if constexpr (std::is_same_v<std::decay_t<decltype(message)>, feed::Status>) {
          return "";  // see Reports()
        } else {
          return feed::Encode(message);
        }
      },
      control);
}

void Control(std::string_view text) {
  const auto control = feed::ParseControl(text);
  if (!control) return Check(!control.error().text.empty(), "a refusal says why");
  const std::string encoded = EncodeAny(*control);
  if (encoded.empty()) return;
  const auto again = feed::ParseControl(encoded);
  Check(again.has_value() && again->index() == control->index(), "what was read can be written and read");
  CheckSame(encoded, EncodeAny(*again), "and is the same");
}

// Text that JSON can hold.
std::string Name(Input& input, std::size_t most) {
  std::string name(input.Bytes(most));
  return IsUtf8(name) ? name : "not UTF-8";
}

history::Epoch EpochOf(Input& input) {
  history::Epoch epoch(history::kEpochLength, '-');
  for (char& c : epoch) c = static_cast<char>(' ' + input.Byte() % 90);
  return epoch;
}

history::Sequence SequenceOf(Input& input) { return input.Integer<std::uint64_t>() >> 1; }

history::Cursor CursorOf(Input& input) {
  history::Cursor cursor;
  for (int left = input.Byte() % 4; left > 0; --left) cursor[EpochOf(input)] = SequenceOf(input);
  return cursor;
}

std::vector<std::string> NamesOf(Input& input) {
  std::vector<std::string> names;
  for (int left = input.Byte() % 4; left > 0; --left) names.push_back(Name(input, 20));
  return names;
}

feed::ClockReading ClockOf(Input& input) { return input.Integer<std::int64_t>() % kMaxClockReading; }

template <class T>
T ReadBack(const T& message) {
  auto control = feed::ParseControl(feed::Encode(message));
  Check(control.has_value() && std::holds_alternative<T>(*control), "what is written can be read");
  return std::get<T>(std::move(*control));
}

void BuiltControl(Input& input) {
  constexpr const char* kSame = "what is written is read as it was";
  switch (input.Byte() % 5) {
    case 0: {
      feed::Hello hello{
          Name(input, 40), Name(input, 40), Name(input, 40), Name(input, 40), input.Flag(), CursorOf(input), {}};
      if (input.Flag()) hello.instances = NamesOf(input);
      const feed::Hello read = ReadBack(hello);
      Check(read.node == hello.node && read.name == hello.name && read.version == hello.version &&
                read.url == hello.url && read.resumes == hello.resumes && read.cursor == hello.cursor &&
                read.instances == hello.instances,
            kSame);
      return;
    }
    case 1: {
      feed::Welcome welcome{Name(input, 40), Name(input, 40), Name(input, 40), NamesOf(input), {}, ClockOf(input)};
      for (int left = input.Byte() % 4; left > 0; --left) {
        welcome.epochs[EpochOf(input)] = {SequenceOf(input) | 1, SequenceOf(input)};
      }
      const feed::Welcome read = ReadBack(welcome);
      Check(read.node == welcome.node && read.name == welcome.name && read.version == welcome.version &&
                read.above == welcome.above && read.clock == welcome.clock &&
                read.epochs.size() == welcome.epochs.size(),
            kSame);
      for (const auto& [epoch, range] : welcome.epochs) {
        Check(read.epochs.at(epoch).floor == range.floor && read.epochs.at(epoch).newest == range.newest, kSame);
      }
      return;
    }
    case 2: {
      const feed::Heartbeat heartbeat{ClockOf(input), CursorOf(input), input.Flag()};
      const feed::Heartbeat read = ReadBack(heartbeat);
      Check(read.clock == heartbeat.clock && read.cursor == heartbeat.cursor && read.live == heartbeat.live, kSame);
      return;
    }
    case 3: {
      history::Gap gap{EpochOf(input), SequenceOf(input) | 1, 0};
      gap.to = gap.from + input.Byte();
      if (gap.to > history::kMaxSequence) return;
      const history::Gap read = ReadBack(gap);
      Check(read.epoch == gap.epoch && read.from == gap.from && read.to == gap.to, kSame);
      return;
    }
    default: {
      const feed::Above above{NamesOf(input)};
      Check(ReadBack(above).nodes == above.nodes, kSame);
    }
  }
}

// --- reports

std::string Describe(const feed::Tree::Node& node) {
  const auto& info = node.info;
  std::string text = info.id + "|" + info.name + "|" + info.version + "|" + info.url + "|" +
                     std::to_string(node.revision) + "|" + std::to_string(node.clients);
  text += "\nfigures " + node.figures.text;
  for (const auto& id : info.above) text += "\nabove " + id;
  for (const auto& [epoch, sequence] : info.cursor) text += "\ncursor " + epoch + " " + std::to_string(sequence);
  return text;
}

void CheckSameNodes(const feed::Tree& a, const feed::Tree& b) {
  for (const auto& [id, node] : a.nodes()) {
    const auto found = b.nodes().find(id);
    Check(found != b.nodes().end(), "a tree that is told of a node knows it");
    CheckSame(Describe(node), Describe(found->second), "and what it is");
    for (const auto& [instance, known] : node.instances) {
      const auto& counts = found->second.instances.at(instance).counts;
      Check(counts.clients_active == known.counts.clients_active &&
                counts.clients_total == known.counts.clients_total && counts.messages_out == known.counts.messages_out,
            "and its clients");
    }
  }
}

// Two reports, separated by a line feed, from two repeaters below.
void Reports(std::string_view text) {
  const Time now{};
  feed::Tree tree;
  tree.SetOwn({"self", "", "", "", "", {}, {}});
  const std::size_t first_ends = std::min(text.find('\n'), text.size());
  std::array<std::string_view, 2> texts = {text.substr(0, first_ends), text.substr(first_ends)};
  std::array<std::optional<feed::Status>, 2> reports;
  for (std::size_t i = 0; i < texts.size(); ++i) {
    auto control = feed::ParseControl(texts[i]);
    if (control && std::holds_alternative<feed::Status>(*control)) reports[i] = std::get<feed::Status>(*control);
    if (reports[i]) (void)tree.Apply(i + 1, "10.0.0.1:1", reports[i]->report, now).has_value();
  }
  std::uint64_t mark = 0;
  feed::Tree above;
  above.SetOwn({"above", "", "", "", "", {}, {}});
  const auto tell = [&] {
    for (const std::string& part : tree.EncodeReport(&mark)) {
      const auto report = feed::ParseControl(part);
      Check(report.has_value() && std::holds_alternative<feed::Status>(*report), "a report can be read");
      Check(above.Apply(1, "10.0.0.2:1", std::get<feed::Status>(*report).report, now).has_value(), "and taken");
    }
  };
  tell();
  CheckSameNodes(tree, above);
  Check(tree.TotalClients() == above.TotalClients(), "and the sums are the same");

  tree.Followers();
  tree.Drop(1);
  tree.Drop(2);
  Check(tree.nodes().empty() && tree.TotalClients() == 0, "nobody is left when all that told have gone");
  tell();
  Check(above.TotalClients() == 0, "and those who have gone count no more");
}

// --- messages

std::string Describe(const Message& message) {
  std::string text(message.epoch());
  text +=
      " " + std::to_string(message.sequence()) + " " + std::to_string(message.accepted().time_since_epoch().count());
  text.append("\ninstance ").append(message.instance()).append("\nuniqueID ").append(message.unique_id());
  message.ForEachSubscriber([&](std::string_view subscriber) {
    text.append("\nsubscriber ").append(subscriber);
    return true;
  });
  return text.append("\n").append(message.client_frame().view());
}

void Binary(Input& input) {
  // As it comes about: what is now, less a clock's reading.
  const Duration difference = Now() - feed::FromClock(ClockOf(input));
  const auto message = Message::Decode(input.Rest(), difference);
  if (!message) return Check(!message.error().text.empty(), "a refusal says why");
  const std::string text = Describe(*message);
  const auto again = Message::Decode(message->feed_payload(), Duration::zero());
  Check(again.has_value(), "what is passed on can be read");
  CheckSame(text, Describe(*again), "and is the same");
  Check(websocket::PayloadOffset(message->feed_frame().view(), websocket::Opcode::kBinary).has_value(),
        "it travels in one frame");
  Check(websocket::PayloadOffset(message->client_frame().view(), websocket::Opcode::kText).has_value(),
        "clients get one frame");
  const std::string epoch(history::kEpochLength, 'e');
  Check(Message::Decode(message->Renumbered(epoch, 7).feed_payload(), Duration::zero()).has_value(),
        "and under another number, too");
}

void BuiltMessage(Input& input) {
  const history::Epoch epoch = EpochOf(input);
  const history::Sequence sequence = SequenceOf(input) | 1;
  const Time accepted = feed::FromClock(ClockOf(input));
  const std::string instance = Name(input, 40);
  std::vector<std::string> subscribers;
  for (int left = input.Byte() % 5; left > 0; --left) subscribers.emplace_back(input.Bytes(40));
  const std::string_view unique_id = input.Bytes(40);
  const std::string_view body = input.Rest();
  const Message message = Message::Create(epoch, sequence, accepted, {instance, unique_id, subscribers, body});
  Check(message.epoch() == epoch && message.sequence() == sequence && message.accepted() == accepted &&
            message.instance() == instance && message.unique_id() == unique_id &&
            message.subscriber_count() == subscribers.size() &&
            message.client_frame().view() == websocket::EncodeFrame(websocket::Opcode::kText, body).view(),
        "a message has what it was made of");
  std::size_t index = 0;
  message.ForEachSubscriber([&](std::string_view each) { return each == subscribers[index] && ++index > 0; });
  Check(index == subscribers.size(), "and its subscribers");
  const auto read = Message::Decode(message.feed_payload(), Duration::zero());
  Check(read.has_value(), "what is written can be read");
  CheckSame(Describe(message), Describe(*read), "as it was");
}

void Test(Input input) {
  switch (input.Byte() % 5) {
    case 0:
      return Control(input.Rest());
    case 1:
      return BuiltControl(input);
    case 2:
      return Reports(input.Rest());
    case 3:
      return Binary(input);
    default:
      return BuiltMessage(input);
  }
}

}  // namespace
}  // namespace aphlict::fuzz

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  aphlict::fuzz::Test(aphlict::fuzz::Input(data, size));
  return 0;
}
