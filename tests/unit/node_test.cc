// A master and three repeaters in one process, with browsers, as far as they are seen from outside.
#include "common/node/node.h"

#include <doctest/doctest.h>
#include <poll.h>
#include <uv.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/config/load.h"
#include "common/http/parser.h"
#include "common/json/value.h"
#include "common/net/listener.h"
#include "common/server/websocket_connection.h"
#include "common/websocket/client_handshake.h"
#include "master/master.h"
#include "repeater/repeater.h"
#include "tests/unit/support/loop.h"

namespace aphlict {
namespace {

// Several loops that turn by turns, until something has happened. A node sets what its loop does at a turn's end, so
// each has a loop of its own.
class Loops {
 public:
  void Add(net::Loop* loop) { loops_.push_back(loop); }
  void Remove(net::Loop* loop) { std::erase(loops_, loop); }

  bool RunUntil(const std::function<bool()>& condition, Duration limit = seconds(20)) {
    const Time until = Now() + limit;
    while (!condition()) {
      if (Now() >= until) return false;
      // Each sleeps on its own descriptor; timers and peers are looked at once a millisecond.
      std::vector<pollfd> descriptors;
      for (net::Loop* loop : loops_) descriptors.push_back({uv_backend_fd(loop->uv()), POLLIN, 0});
      poll(descriptors.data(), descriptors.size(), 1);
      for (net::Loop* loop : loops_) uv_run(loop->uv(), UV_RUN_NOWAIT);
    }
    return true;
  }

 private:
  std::vector<net::Loop*> loops_;
};

// A node on a loop of its own.
class Running {
 public:
  Running(Loops& loops, config::Role role, std::vector<std::string> options)
      : loops_(loops), log_(Log::ForTest(&lines)) {
    loops_.Add(&loop_);
    std::vector<const char*> argv = {"program"};
    for (const std::string& option : options) argv.push_back(option.c_str());
    const config::Invocation invocation = config::Load(role, static_cast<int>(argv.size()), argv.data());
    REQUIRE_MESSAGE(invocation.action == config::Invocation::Action::kRun, invocation.text);
    settings_ = invocation.settings;
    if (role == config::Role::kMaster) {
      application_ = std::make_unique<master::Master>(loop_, settings_, *log_);
    } else {
      application_ = std::make_unique<repeater::Repeater>(loop_, settings_, *log_);
    }
    const auto taken = node().TakePorts();
    REQUIRE_MESSAGE(taken, (taken ? "" : taken.error().text));
    const auto opened = node().Open();
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().text));
  }
  ~Running() {
    node().Stop();
    CHECK(loops_.RunUntil([&] { return uv_loop_alive(loop_.uv()) == 0; }));
    application_.reset();
    loops_.Remove(&loop_);
    // The loop's destructor aborts if anything is left.
  }
  Running(const Running&) = delete;
  Running& operator=(const Running&) = delete;

  node::Node& node() { return application_->node(); }
  // Lets the node stop as a process does, with the others running on.
  void BeginStop() { node().Stop(); }

  // How many lines of the log have the event.
  int Count(const std::string& event) const {
    return static_cast<int>(std::count_if(lines.begin(), lines.end(), [&](const std::string& line) {
      return line.find("event=" + event + " ") != std::string::npos || line.ends_with("event=" + event);
    }));
  }
  // Where it listens for that type: "127.0.0.1:5".
  std::string ListensOn(const std::string& type) const {
    const std::string start = "event=listening type=" + type + " address=";
    for (const std::string& line : lines) {
      if (const std::size_t at = line.find(start); at != std::string::npos) return line.substr(at + start.size());
    }
    return "";
  }
  net::Address AddressOf(const std::string& type) const {
    const std::string text = ListensOn(type);
    REQUIRE_MESSAGE(text != "", "no " << type << " port");
    const std::size_t colon = text.rfind(':');
    return *net::Address::Parse(text.substr(0, colon), static_cast<std::uint16_t>(std::stoi(text.substr(colon + 1))));
  }
  bool listens(const std::string& type) const { return ListensOn(type) != ""; }

  std::vector<std::string> lines;

 private:
  Loops& loops_;
  net::Loop loop_;
  std::unique_ptr<Log> log_;
  config::Settings settings_;
  std::unique_ptr<node::Application> application_;
};

// A browser with one page: subscribes, and keeps what it gets.
class Browser : private net::StreamHandler, private server::WebSocketHandler {
 public:
  Browser(net::Loop& loop, const net::Address& address, const std::string& path)
      : pool_(websocket::Role::kClient, {}, 1), path_(path) {
    auto stream = net::Stream::Connect(loop, address);
    REQUIRE(stream);
    stream_ = std::move(*stream);
    stream_->SetHandler(this);
  }

  bool connected() const { return connection_ != nullptr; }
  void Send(const std::string& command) { connection_->Send(websocket::Opcode::kText, command); }

  std::vector<std::string> received;  // without pongs
  int pongs = 0;
  std::string closed;

 private:
  void OnConnected() override { stream_->Write(handshake_.Request("test", path_)); }
  void OnBytes(std::string_view bytes) override {
    const auto unread = handshake_.Take(bytes);
    if (!unread) return;
    REQUIRE(*unread);
    connection_ = std::make_unique<server::WebSocketConnection>(std::move(stream_), websocket::Role::kClient, pool_,
                                                                static_cast<server::WebSocketHandler&>(*this));
    connection_->Receive(**unread);
  }
  void OnEnd(const std::string& reason) override {
    closed = reason;
    stream_.reset();
  }
  void OnMessage(websocket::Opcode opcode, std::string_view payload) override {
    CHECK(opcode == websocket::Opcode::kText);
    if (payload == R"({"type":"pong"})") {
      ++pongs;
    } else {
      received.emplace_back(payload);
    }
  }
  void OnClosed(std::uint16_t code, const std::string& reason) override {
    closed = std::to_string(code) + " " + reason;
  }

  websocket::ReaderPool pool_;
  websocket::ClientHandshake handshake_;
  std::string path_;
  net::StreamPtr stream_;
  std::unique_ptr<server::WebSocketConnection> connection_;
};

// Passes bytes between whoever connects and one address, until it is cut.
class Wire : private net::ListenerHandler {
 public:
  Wire(net::Loop& loop, const net::Address& to) : loop_(loop), to_(to) {
    auto listener = net::Listener::Bind(loop, *net::Address::Parse("127.0.0.1", 0), false, this);
    REQUIRE(listener);
    listener_ = std::move(*listener);
    REQUIRE(listener_->Start());
  }
  std::string url() const { return "http://" + listener_->local_address().ToString(); }
  // Breaks what goes through it, now and from now on.
  void Cut() {
    cut_ = true;
    connections_.clear();
  }
  void Mend() { cut_ = false; }
  int accepted = 0;

 private:
  // One of the two directions.
  class Side : public net::StreamHandler {
   public:
    Side(net::StreamPtr s) : stream(std::move(s)) {}
    void OnBytes(std::string_view bytes) override {
      if (other->stream) other->stream->Write(bytes);
    }
    void OnEnd(const std::string&) override {
      stream.reset();
      if (other->stream) other->stream->ShutdownWhenSent();
    }
    net::StreamPtr stream;
    Side* other = nullptr;
  };
  struct Connection {
    Side near;
    Side far;
  };

  void OnConnection(int descriptor) override {
    ++accepted;
    net::StreamPtr near = net::Stream::Adopt(loop_, descriptor);
    if (cut_) return;
    auto far = net::Stream::Connect(loop_, to_);
    CHECK(far);
    connections_.push_back(std::make_unique<Connection>(Connection{Side(std::move(near)), Side(std::move(*far))}));
    Connection& made = *connections_.back();
    made.near.other = &made.far;
    made.far.other = &made.near;
    made.near.stream->SetHandler(&made.near);
    made.far.stream->SetHandler(&made.far);
  }
  void OnAcceptError(const std::string& reason) override { FAIL_CHECK(reason); }

  net::Loop& loop_;
  net::Address to_;
  std::unique_ptr<net::Listener> listener_;
  std::vector<std::unique_ptr<Connection>> connections_;
  bool cut_ = false;
};

// What a peer receives in answer to one request, body included.
std::string Ask(Loops& loops, const net::Address& address, const std::string& request) {
  testing::Peer peer = testing::Peer::Connect(address);
  peer.Send(request);
  std::string received;
  REQUIRE(loops.RunUntil([&] {
    received += peer.Receive();
    return peer.AtEnd();
  }));
  return received;
}

// Two repeaters below a master, and one below the first of them, which reaches the master through a wire.
class Tree {
 public:
  Tree() { loops.Add(&own_loop); }
  ~Tree() { loops.Remove(&own_loop); }

  void Start() {
    master = std::make_unique<Running>(
        loops, config::Role::kMaster,
        std::vector<std::string>{"--admin=127.0.0.1:0", "--repeaters=127.0.0.1:0", "--name=master"});
    wire = std::make_unique<Wire>(own_loop, master->AddressOf("repeater"));
    first = StartRepeater("first", wire->url(), {"--repeaters=127.0.0.1:0"});
    second = StartRepeater("second", "http://" + master->ListensOn("repeater"), {});
    third = StartRepeater("third", "http://" + first->ListensOn("repeater"), {});
    // A repeater listens for browsers once it has synchronised.
    REQUIRE(loops.RunUntil(
        [&] { return first->listens("client") && second->listens("client") && third->listens("client"); }));
    CHECK(first->Count("synchronised") == 1);
    CHECK(third->Count("synchronised") == 1);
  }

  std::unique_ptr<Browser> Browse(const Running& repeater, const std::string& phid, const std::string& path = "/ws/") {
    auto browser = std::make_unique<Browser>(own_loop, repeater.AddressOf("client"), path);
    REQUIRE(loops.RunUntil([&] { return browser->connected(); }));
    browser->Send(R"({"command":"subscribe","data":[")" + phid + R"("]})");
    // Commands are taken in order: the subscription is there when the pong is.
    browser->Send(R"({"command":"ping"})");
    REQUIRE(loops.RunUntil([&] { return browser->pongs == 1; }));
    return browser;
  }

  // Publishes, and checks the receipt.
  void Publish(const std::string& body, const std::string& query = "") {
    const std::string answer = Ask(loops, master->AddressOf("admin"),
                                   "POST /" + query + " HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: " +
                                       std::to_string(body.size()) + "\r\n\r\n" + body);
    CHECK(answer.starts_with("HTTP/1.1 200 OK\r\n"));
    CHECK(answer.ends_with(R"({"fingerprint":")" + master->node().id() + "\"}"));
  }

  json::Value StatusOf(const Running& node) {
    const std::string answer =
        Ask(loops, node.AddressOf("admin"), "GET /status/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    auto status = json::Parse(std::string_view(answer).substr(answer.find("\r\n\r\n") + 4));
    REQUIRE(status);
    return std::move(*status);
  }

  Loops loops;
  net::Loop own_loop;  // of the browsers and the wire
  std::unique_ptr<Running> master;
  std::unique_ptr<Running> first;
  std::unique_ptr<Running> second;
  std::unique_ptr<Running> third;
  std::unique_ptr<Wire> wire;

 private:
  std::unique_ptr<Running> StartRepeater(const std::string& name, const std::string& upstream,
                                         std::vector<std::string> options) {
    options.insert(options.end(), {"--name=" + name, "--admin=127.0.0.1:0", "--clients=127.0.0.1:0",
                                   "--upstream=" + upstream, "--drain=0"});
    return std::make_unique<Running>(loops, config::Role::kRepeater, options);
  }
};

std::string MessageTo(const std::string& phid, int number) {
  return R"({"type": "notification",  "n":)" + std::to_string(number) + R"(.50, "subscribers":[")" + phid +
         R"("], "uniqueID":"u)" + std::to_string(number) + "\"}";
}

using Messages = std::vector<std::string>;

TEST_CASE("a message reaches the browsers of every repeater, byte for byte, and only those that want it") {
  Tree tree;
  tree.Start();
  const auto at_first = tree.Browse(*tree.first, "PHID-USER-1");
  const auto at_second = tree.Browse(*tree.second, "PHID-USER-1");
  const auto at_third = tree.Browse(*tree.third, "PHID-USER-1");
  const auto other_phid = tree.Browse(*tree.third, "PHID-USER-2");
  const auto other_instance = tree.Browse(*tree.third, "PHID-USER-1", "/ws/~dog/");

  const std::string message = MessageTo("PHID-USER-1", 1);
  const std::string of_dog = MessageTo("PHID-USER-1", 2);
  tree.Publish(message);
  tree.Publish(of_dog, "?instance=dog");
  REQUIRE(tree.loops.RunUntil([&] {
    return !at_first->received.empty() && !at_second->received.empty() && !at_third->received.empty() &&
           !other_instance->received.empty();
  }));
  CHECK(at_first->received == Messages{message});
  CHECK(at_second->received == Messages{message});
  CHECK(at_third->received == Messages{message});
  CHECK(other_instance->received == Messages{of_dog});
  CHECK(other_phid->received.empty());

  SUBCASE("and the master's status has the whole tree") {
    REQUIRE(tree.loops.RunUntil([&] { return tree.StatusOf(*tree.master)["messages.out"].integer() == 3; }));
    const json::Value status = tree.StatusOf(*tree.master);
    CHECK(status["clients.active"].integer() == 4);
    CHECK(status["messages.in"].integer() == 1);
    REQUIRE(status["repeaters"].elements().size() == 2);
    const json::Value& of_first = status["repeaters"].elements()[0];
    CHECK(of_first["name"].string() == "first");
    REQUIRE(of_first["repeaters"].elements().size() == 1);
    CHECK(of_first["repeaters"].elements()[0]["name"].string() == "third");
    CHECK(of_first["repeaters"].elements()[0]["clients"].integer() == 3);
    CHECK(status["repeaters"].elements()[1]["name"].string() == "second");
  }
  SUBCASE("and one that is published again is dropped") {
    tree.Publish(message);
    tree.Publish(MessageTo("PHID-USER-1", 3));
    REQUIRE(tree.loops.RunUntil([&] { return at_third->received.size() == 2; }));
    CHECK(at_third->received[1] == MessageTo("PHID-USER-1", 3));
  }
}

TEST_CASE("a repeater that lost its upstream goes on at exactly the next message, and so do those below it") {
  Tree tree;
  tree.Start();
  const auto at_first = tree.Browse(*tree.first, "PHID-USER-1");
  const auto at_second = tree.Browse(*tree.second, "PHID-USER-1");
  const auto at_third = tree.Browse(*tree.third, "PHID-USER-1");
  Messages published;
  const auto publish = [&](int number) {
    published.push_back(MessageTo("PHID-USER-1", number));
    tree.Publish(published.back());
  };
  publish(1);
  REQUIRE(tree.loops.RunUntil([&] { return at_third->received.size() == 1; }));

  tree.wire->Cut();
  REQUIRE(tree.loops.RunUntil([&] { return tree.first->Count("upstream_lost") == 1; }));
  for (int number = 2; number <= 4; ++number) publish(number);
  REQUIRE(tree.loops.RunUntil([&] { return at_second->received.size() == 4; }));
  CHECK(at_first->received.size() == 1);
  CHECK(at_third->received.size() == 1);

  tree.wire->Mend();
  REQUIRE(tree.loops.RunUntil([&] { return at_first->received.size() == 4 && at_third->received.size() == 4; }));
  publish(5);
  REQUIRE(tree.loops.RunUntil([&] { return at_first->received.size() == 5 && at_third->received.size() == 5; }));
  CHECK(at_first->received == published);
  CHECK(at_second->received == published);
  CHECK(at_third->received == published);
  CHECK(tree.first->Count("synchronised") == 2);
  CHECK(tree.first->Count("gap") == 0);
  CHECK(tree.third->Count("gap") == 0);
  CHECK(tree.third->Count("upstream_lost") == 0);
}

TEST_CASE("a repeater that goes leaves the tree, and its browsers are told") {
  Tree tree;
  tree.Start();
  const auto at_first = tree.Browse(*tree.first, "PHID-USER-1");
  const auto at_third = tree.Browse(*tree.third, "PHID-USER-1");
  REQUIRE(tree.loops.RunUntil([&] { return tree.StatusOf(*tree.master)["clients.active"].integer() == 2; }));
  tree.third->BeginStop();
  REQUIRE(tree.loops.RunUntil([&] { return !at_third->closed.empty(); }));
  CHECK(at_third->closed.starts_with("1001 "));
  REQUIRE(tree.loops.RunUntil([&] { return tree.StatusOf(*tree.master)["clients.active"].integer() == 1; }));
  tree.Publish(MessageTo("PHID-USER-1", 1));
  REQUIRE(tree.loops.RunUntil([&] { return at_first->received.size() == 1; }));
  CHECK(at_first->closed.empty());
}

// A start with the file refuses it once it knows where the name leads to: so does a reload.
TEST_CASE("a reload does not open the feed to everybody") {
  Loops loops;
  Running master(loops, config::Role::kMaster, {"--admin=127.0.0.1:0", "--repeaters=127.0.0.1:0", "--clients=none"});
  config::Settings open = master.node().settings();
  config::Server feed;
  feed.type = config::ServerType::kRepeater;
  feed.host = "0.0.0.0";
  feed.where = "the new one";
  config::Settings closed = open;
  closed.secret_file = "a file";
  closed.secrets = std::make_shared<const Secrets>(std::move(*Secrets::Parse("a-secret-that-nobody-else-knows")));
  closed.servers.push_back(feed);
  const auto listens = master.node().Apply(closed);
  REQUIRE_MESSAGE(listens, (listens ? "" : listens.error().text));
  open.servers = closed.servers;
  const auto taken = master.node().Apply(open);
  REQUIRE_FALSE(taken);
  CHECK(taken.error().text.starts_with("the new one: "));
  CHECK(SameSecrets(master.node().settings().secrets, closed.secrets));
}

}  // namespace
}  // namespace aphlict
