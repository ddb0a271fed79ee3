// What one step on the route of a message costs, without sockets: micro NAME COUNT does it COUNT times. tests/micro/run
// counts the instructions of it under callgrind, which come out the same on a busy machine.
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/clients/command.h"
#include "common/clients/replay_index.h"
#include "common/clients/subscriptions.h"
#include "common/feed/control.h"
#include "common/history/history.h"
#include "common/history/message.h"
#include "common/history/repeats.h"
#include "common/http/parser.h"
#include "common/http/response.h"
#include "common/websocket/frame.h"
#include "common/websocket/message_reader.h"
#include "master/publish.h"

namespace {

using namespace aphlict;

constexpr char kEpoch[] = "abcdefghijklmnop";

std::string Phid(int number) {
  std::string digits = std::to_string(number);
  return "PHID-USER-" + std::string(20 - digits.size(), 'x') + digits;
}

// 300 bytes, as a notification of Phabricator with ten subscribers would be, were they short.
std::string Body() {
  std::string body = R"({"key":"7305031427195820241","type":"notification","subscribers":[)";
  for (int i = 0; i < 5; ++i) body += (i == 0 ? "\"" : ",\"") + Phid(i * 1000) + "\"";
  return body + R"(],"uniqueID":"abcdefghijklmnopqrstuvwxyz012345"})";
}

std::string Request() {
  const std::string body = Body();
  return "POST /?instance=default HTTP/1.1\r\nHost: notify.example.com:22281\r\nUser-Agent: Phabricator/1.0\r\n"
         "Accept: */*\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: " +
         std::to_string(body.size()) + "\r\n\r\n" + body;
}

history::Message MakeMessage(const std::string& body, const master::Publish& publish, history::Sequence sequence) {
  return history::Message::Create(kEpoch, sequence, Time(seconds(1)),
                                  {"default", publish.unique_id, publish.subscribers, body});
}

class NoEvents : public websocket::ReaderEvents {
 public:
  void OnMessage(websocket::Opcode, std::string_view payload) override { bytes += payload.size(); }
  void OnPing(std::string_view) override {}
  void OnPong(std::string_view) override {}
  std::size_t bytes = 0;
};

[[noreturn]] void Fail(const char* what) {
  std::fprintf(stderr, "micro: %s\n", what);
  std::exit(1);
}

void Expect(bool holds, const char* what) {
  if (!holds) Fail(what);
}

// Prepares outside of what is counted, and returns what is.
using Step = std::function<void()>;

Step HttpRequest() {
  auto parser = std::make_shared<http::RequestParser>();
  return [parser, request = Request()] {
    std::size_t used = 0;
    while (parser->state() != http::RequestParser::State::kComplete) {
      const auto taken = parser->Feed(std::string_view(request).substr(used));
      Expect(taken.has_value(), "a request that is refused");
      used += *taken;
    }
    parser->Next();
  };
}

Step HttpResponse() {
  http::Response response;
  response.content_type = "application/json";
  response.body = R"({"fingerprint":"abcdefghijklmnop"})";
  return [response] { Expect(!http::Serialize(response, false).empty(), "no response"); };
}

Step PublishParse() {
  return [body = Body()] { Expect(master::ParsePublish(body, {}).has_value(), "a publish that is refused"); };
}

Step RepeatsSeen() {
  auto repeats = std::make_shared<history::Repeats>(seconds(120), 10'000);
  auto number = std::make_shared<int>(0);
  return [repeats, number] {
    Expect(!repeats->Seen(repeats->KeyOf("default", Phid(++*number)), Time(seconds(1))), "a repeat");
  };
}

Step MessageCreate() {
  const std::string body = Body();
  return [body, publish = *master::ParsePublish(body, {})] { MakeMessage(body, publish, 1); };
}

Step MessageDecode() {
  const std::string body = Body();
  const history::Message message = MakeMessage(body, *master::ParsePublish(body, {}), 1);
  return [payload = std::string(message.feed_payload())] {
    Expect(history::Message::Decode(payload, seconds(1)).has_value(), "a message that is refused");
  };
}

Step HistoryAdd() {
  auto history = std::make_shared<history::History>(history::History::Limits{seconds(60), 1024 * 1024, 64});
  const std::string body = Body();
  auto sequence = std::make_shared<history::Sequence>(0);
  return [history, sequence, body, publish = *master::ParsePublish(body, {})] {
    history->Add(MakeMessage(body, publish, ++*sequence), false, Time(seconds(1)));
    history->Trim();
  };
}

Step ReplayIndexAdd() {
  auto index = std::make_shared<clients::ReplayIndex>();
  const std::string body = Body();
  auto position = std::make_shared<std::uint64_t>(0);
  return [index, position, message = MakeMessage(body, *master::ParsePublish(body, {}), 1)] {
    index->Add(++*position, message);
    if (*position > 1000) index->DropBefore(*position - 1000);
  };
}

Step FrameEncode() {
  return [body = Body()] { websocket::EncodeFrame(websocket::Opcode::kText, body); };
}

// 10,000 subscribers with a PHID of their own, of which a message names five.
Step IndexMatch() {
  struct State {
    clients::SubscriptionIndex index;
    std::vector<clients::Subscriber> subscribers{10'000};
  };
  auto state = std::make_shared<State>();
  for (int i = 0; i < 10'000; ++i) state->index.Subscribe(state->subscribers[static_cast<std::size_t>(i)], Phid(i));
  const std::string body = Body();
  return [state, message = MakeMessage(body, *master::ParsePublish(body, {}), 1)] {
    int matched = 0;
    const auto nothing = [](const clients::Subscriber&) {};
    state->index.ForEachMatch(
        message, [&](clients::Subscriber&) { ++matched; }, nothing, nothing);
    Expect(matched == 5, "a wrong number of matches");
  };
}

Step ClientCommand() {
  auto reader = std::make_shared<websocket::MessageReader>(websocket::Role::kServer, websocket::ReaderLimits{});
  const SharedBytes frame = websocket::EncodeFrame(
      websocket::Opcode::kText, R"({"command":"subscribe","data":[")" + Phid(1) + R"("]})", 0x12345678);
  return [reader, frame] {
    NoEvents events;
    const auto status = reader->Read(frame.view(), events);
    Expect(status == websocket::MessageReader::Status::kBetweenMessages && events.bytes > 0, "no message");
  };
}

Step CommandParse() {
  return [text = R"({"command":"subscribe","data":[")" + Phid(1) + R"("]})"] {
    Expect(clients::ParseCommand(text, 1024, Time{}).has_value(), "no command");
  };
}

Step Heartbeat() {
  const feed::Heartbeat heartbeat{123'456'789, {{kEpoch, 1'000'000}}, true};
  return [heartbeat] { Expect(feed::ParseControl(feed::Encode(heartbeat)).has_value(), "no heartbeat"); };
}

const std::map<std::string, Step (*)()>& Steps() {
  static const std::map<std::string, Step (*)()> steps = {
      {"http-request", HttpRequest}, {"http-response", HttpResponse},      {"publish-parse", PublishParse},
      {"repeats-seen", RepeatsSeen}, {"message-create", MessageCreate},    {"message-decode", MessageDecode},
      {"history-add", HistoryAdd},   {"replay-index-add", ReplayIndexAdd}, {"frame-encode", FrameEncode},
      {"index-match", IndexMatch},   {"client-frame", ClientCommand},      {"client-command", CommandParse},
      {"feed-heartbeat", Heartbeat}};
  return steps;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && std::string(argv[1]) == "--list") {
    for (const auto& [name, step] : Steps()) std::puts(name.c_str());
    return 0;
  }
  if (argc != 3 || Steps().count(argv[1]) == 0) Fail("usage: micro NAME COUNT | --list");
  const Step step = Steps().at(argv[1])();
  for (int left = std::atoi(argv[2]); left > 0; --left) step();
  return 0;
}
