#include "common/server/websocket_connection.h"

#include <doctest/doctest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/support/loop.h"

namespace aphlict::server {
namespace {

using testing::Peer;
using testing::SocketPair;
using testing::TestLoop;
using websocket::Opcode;
using websocket::Role;

constexpr websocket::ReaderLimits kLimits{.message_bytes = 200'000, .fragments = 100};

// One end of a WebSocket, which writes down what happens.
class End : public WebSocketHandler {
 public:
  End(TestLoop& loop, Role role, int descriptor)
      : pool_(role, kLimits),
        connection(std::make_unique<WebSocketConnection>(net::Stream::Adopt(loop, descriptor), role, pool_, *this)) {}

  void OnMessage(Opcode opcode, std::string_view payload) override {
    messages.push_back((opcode == Opcode::kText ? "text " : "binary ") + std::string(payload));
    if (on_message) on_message();
  }
  void OnClosed(std::uint16_t code, const std::string& reason) override {
    CHECK(closed.empty());
    closed = std::to_string(code) + " " + reason;
    if (on_closed) on_closed();
  }
  void OnDrained() override { ++drained; }

 private:
  websocket::ReaderPool pool_;

 public:
  std::unique_ptr<WebSocketConnection> connection;
  std::vector<std::string> messages;
  std::string closed;  // code and reason
  int drained = 0;
  std::function<void()> on_message;
  std::function<void()> on_closed;
};

// A server's end, and a client's.
struct Both {
  bool RunUntil(const std::function<bool()>& condition) { return loop.RunUntil(condition); }

  TestLoop loop;
  SocketPair pair;
  End server{loop, Role::kServer, pair.descriptor};
  End client{loop, Role::kClient, pair.peer.Release()};
};

// A server's end, and a peer that sends what it likes.
struct WithPeer {
  explicit WithPeer(int buffer = 0) : pair(buffer) {}
  Peer& peer() { return pair.peer; }
  void Send(Opcode opcode, std::string_view payload) {
    const SharedBytes frame = websocket::EncodeFrame(opcode, payload, 0x01020304);
    REQUIRE(peer().Send(frame.view()) == frame.size());
  }
  // Turns until the peer has received so many bytes.
  std::string Receive(std::size_t size) {
    std::string received;
    CHECK(loop.RunUntil([&] { return (received += peer().Receive()).size() >= size; }));
    return received;
  }
  std::string ReceiveAll() {
    std::string received;
    CHECK(loop.RunUntil([&] {
      received += peer().Receive();
      return peer().AtEnd();
    }));
    return received;
  }

  TestLoop loop;
  SocketPair pair;
  End server{loop, Role::kServer, pair.descriptor};
};

std::string Frame(Opcode opcode, std::string_view payload) {
  return std::string(websocket::EncodeFrame(opcode, payload).view());
}

TEST_CASE("messages go both ways, as they are") {
  Both both;
  both.client.connection->Send(Opcode::kText, "from the client");
  both.client.connection->Send(Opcode::kBinary, std::string("\0\xff", 2));
  both.server.connection->Send(Opcode::kText, "from the server");
  both.server.connection->SendFrame(websocket::EncodeFrame(Opcode::kText, ""));
  REQUIRE(both.RunUntil([&] { return both.server.messages.size() == 2 && both.client.messages.size() == 2; }));
  CHECK(both.server.messages == std::vector<std::string>{"text from the client", std::string("binary \0\xff", 9)});
  CHECK(both.client.messages == std::vector<std::string>{"text from the server", "text "});
}

TEST_CASE("messages of every size arrive whole and in order") {
  Both both;
  std::vector<std::string> sent;
  for (const std::size_t size : {0, 1, 125, 126, 65'535, 65'536, 150'000}) {
    const std::string text(size, static_cast<char>('a' + sent.size()));
    sent.push_back("text " + text);
    both.client.connection->Send(Opcode::kText, text);
    both.server.connection->Send(Opcode::kText, text);
  }
  REQUIRE(both.RunUntil([&] { return both.server.messages.size() == 7 && both.client.messages.size() == 7; }));
  CHECK(both.server.messages == sent);
  CHECK(both.client.messages == sent);
}

TEST_CASE("a client's frames are masked, each by another mask, and a server's are not") {
  TestLoop loop;
  SocketPair pair;
  End client(loop, Role::kClient, pair.descriptor);
  client.connection->Send(Opcode::kText, "same");
  client.connection->Send(Opcode::kText, "same");
  std::string received;
  REQUIRE(loop.RunUntil([&] { return (received += pair.peer.Receive()).size() == 20; }));
  CHECK(static_cast<unsigned char>(received[1]) == 0x84);
  CHECK(received.substr(0, 10) != received.substr(10));

  WithPeer with_peer;
  with_peer.server.connection->Send(Opcode::kText, "same");
  CHECK(with_peer.Receive(6) == Frame(Opcode::kText, "same"));
}

TEST_CASE("bytes that came behind the handshake are read first") {
  WithPeer with_peer;
  const std::string frame(websocket::EncodeFrame(Opcode::kText, "early", 5).view());
  with_peer.server.connection->Receive(frame.substr(0, 4));
  with_peer.peer().Send(frame.substr(4));
  REQUIRE(with_peer.loop.RunUntil([&] { return with_peer.server.messages.size() == 1; }));
  CHECK(with_peer.server.messages[0] == "text early");

  SUBCASE("where there are none, nothing happens") {
    with_peer.server.connection->Receive("");
    CHECK(with_peer.server.messages.size() == 1);
  }
}

TEST_CASE("a ping is answered with its payload") {
  WithPeer with_peer;
  with_peer.Send(Opcode::kPing, "are you there");
  CHECK(with_peer.Receive(15) == Frame(Opcode::kPong, "are you there"));
  CHECK(with_peer.server.messages.empty());

  SUBCASE("by a client as well") {
    Both both;
    both.server.connection->Send(Opcode::kPing, "x");
    const Time before = both.server.connection->last_heard();
    REQUIRE(both.RunUntil([&] { return both.server.connection->last_heard() > before; }));
    CHECK(both.server.messages.empty());
  }
  SUBCASE("a pong is not") {
    with_peer.Send(Opcode::kPong, "unasked");
    with_peer.Send(Opcode::kText, "x");
    REQUIRE(with_peer.loop.RunUntil([&] { return with_peer.server.messages.size() == 1; }));
    CHECK(with_peer.peer().Receive() == "");
  }
}

TEST_CASE("pings that come together have an answer each, in their order") {
  WithPeer with_peer;
  std::string pings;
  std::string pongs;
  for (int i = 0; i < 10; ++i) {
    const std::string payload(static_cast<std::size_t>(i) * 12, static_cast<char>('0' + i));
    pings += websocket::EncodeFrame(Opcode::kPing, payload, 7).view();
    pongs += Frame(Opcode::kPong, payload);
  }
  REQUIRE(with_peer.peer().Send(pings) == pings.size());
  CHECK(with_peer.Receive(pongs.size()) == pongs);
}

TEST_CASE("a flood of pings costs some answers at a time") {
  WithPeer with_peer(16 * 1024);
  std::string flood;
  for (int i = 0; i < 100; ++i) {
    flood += websocket::EncodeFrame(Opcode::kPing, std::string(120, static_cast<char>('0' + i % 10)), 7).view();
  }
  std::size_t most_unsent = 0;
  int rounds = 0;
  std::size_t sent = 0;
  REQUIRE(with_peer.loop.RunUntil([&] {
    most_unsent = std::max(most_unsent, with_peer.server.connection->unsent());
    sent += with_peer.peer().Send(std::string_view(flood).substr(sent));
    if (sent == flood.size()) {
      sent = 0;
      ++rounds;
    }
    return rounds == 200;
  }));
  CHECK(most_unsent <= 4096 + 122);
  CHECK(with_peer.server.closed == "");

  SUBCASE("and the last one has its own") {
    with_peer.Send(Opcode::kPing, "the last");
    std::string received;
    REQUIRE(with_peer.loop.RunUntil([&] {
      received += with_peer.peer().Receive();
      return received.ends_with("the last");
    }));
    CHECK(received.ends_with(Frame(Opcode::kPong, "the last")));
  }
}

TEST_CASE("an answer to a ping waits behind what is queued, and is told from the handler's own wait") {
  WithPeer with_peer(16 * 1024);
  const std::string text(1'000'000, 'x');
  with_peer.server.connection->SendFrame(websocket::EncodeFrame(Opcode::kText, text));
  with_peer.Send(Opcode::kPing, "one");
  with_peer.Send(Opcode::kPing, "two");
  with_peer.loop.RunFor(milliseconds(20));
  SUBCASE("where the handler does not wait") {}
  SUBCASE("where it does") { with_peer.server.connection->NotifyWhenDrained(); }
  const bool waits = with_peer.server.drained == 0;
  std::string received;
  REQUIRE(with_peer.loop.RunUntil([&] { return (received += with_peer.peer().Receive()).ends_with("two"); }));
  CHECK(received == Frame(Opcode::kText, text) + Frame(Opcode::kPong, "two"));
  CHECK(waits);
}

TEST_CASE("who waits for room is told once") {
  WithPeer with_peer(16 * 1024);
  with_peer.server.connection->SendFrame(websocket::EncodeFrame(Opcode::kText, std::string(1'000'000, 'x')));
  with_peer.server.connection->NotifyWhenDrained();
  with_peer.loop.RunFor(milliseconds(20));
  CHECK(with_peer.server.drained == 0);
  CHECK(with_peer.server.connection->unsent() > 0);
  with_peer.Receive(1'000'000);
  REQUIRE(with_peer.loop.RunUntil([&] { return with_peer.server.drained == 1; }));
  CHECK(with_peer.server.connection->unsent() == 0);
  with_peer.loop.RunFor(milliseconds(20));
  CHECK(with_peer.server.drained == 1);
}

TEST_CASE("who closes tells the other the code and the reason, and is not told anything more") {
  Both both;
  End* closing = &both.server;
  End* other = &both.client;
  SUBCASE("the server") {}
  SUBCASE("the client") { std::swap(closing, other); }
  closing->connection->Send(Opcode::kText, "last words");
  closing->connection->Close(websocket::kGoingAway, "the server stops");
  CHECK(closing->connection->closed());
  other->connection->Send(Opcode::kText, "too late");
  REQUIRE(both.RunUntil([&] { return !other->closed.empty(); }));
  CHECK(other->closed == "1001 the server stops");
  CHECK(other->connection->closed());
  CHECK(other->messages == std::vector<std::string>{"text last words"});
  REQUIRE(both.RunUntil([&] { return both.loop->lingering() == 0; }));
  CHECK(closing->closed == "");
  CHECK(closing->messages.empty());

  SUBCASE("and whatever else is asked of it comes to nothing") {
    closing->connection->Send(Opcode::kText, "x");
    closing->connection->SendFrame(websocket::EncodeFrame(Opcode::kText, "x"));
    closing->connection->Close(websocket::kGoingAway, "again");
    closing->connection->NotifyWhenDrained();
    closing->connection->PauseReading();
    closing->connection->ResumeReading();
    CHECK(closing->connection->unsent() == 0);
    CHECK(closing->connection->peer().ToString() == "unknown");
  }
}

TEST_CASE("a close is answered by a close with the same code, then by the end of the stream") {
  WithPeer with_peer;
  SUBCASE("with a code and a reason") {
    with_peer.Send(Opcode::kClose, websocket::ClosePayload(4000, "bye"));
    CHECK(with_peer.ReceiveAll() == Frame(Opcode::kClose, websocket::ClosePayload(4000, "")));
    CHECK(with_peer.server.closed == "4000 bye");
  }
  SUBCASE("without a code") {
    with_peer.Send(Opcode::kClose, "");
    CHECK(with_peer.ReceiveAll() == Frame(Opcode::kClose, ""));
    CHECK(with_peer.server.closed == "1005 ");
  }
  SUBCASE("and what came behind it is ignored") {
    const std::string bytes = std::string(websocket::EncodeFrame(Opcode::kText, "before", 1).view()) +
                              std::string(websocket::EncodeFrame(Opcode::kClose, "", 1).view()) +
                              std::string(websocket::EncodeFrame(Opcode::kText, "behind", 1).view());
    with_peer.peer().Send(bytes);
    with_peer.ReceiveAll();
    CHECK(with_peer.server.messages == std::vector<std::string>{"text before"});
    CHECK(with_peer.server.closed == "1005 ");
  }
}

TEST_CASE("a peer that breaks a rule is told which, and closed") {
  WithPeer with_peer;
  std::uint16_t code = 0;
  SUBCASE("a frame that is not masked") {
    with_peer.peer().Send(Frame(Opcode::kText, "x"));
    code = websocket::kProtocolError;
  }
  SUBCASE("a text that is not UTF-8") {
    with_peer.Send(Opcode::kText, "\xff");
    code = websocket::kInvalidPayload;
  }
  SUBCASE("a message that is too large") {
    with_peer.peer().Send(websocket::EncodeFrame(Opcode::kText, std::string(kLimits.message_bytes + 1, 'x'), 1).view());
    code = websocket::kMessageTooBig;
  }
  const std::string received = with_peer.ReceiveAll();
  REQUIRE(received.size() > 4);
  CHECK(received.substr(2, 2) == websocket::ClosePayload(code, ""));
  CHECK(with_peer.server.closed == std::to_string(code) + " " + received.substr(4));
  CHECK(with_peer.server.connection->closed());
  CHECK(with_peer.server.messages.empty());
}

TEST_CASE("a connection that breaks is closed with 1006 and the reason") {
  WithPeer with_peer;
  SUBCASE("without a close frame") {
    with_peer.peer().Close();
    REQUIRE(with_peer.loop.RunUntil([&] { return !with_peer.server.closed.empty(); }));
    CHECK(with_peer.server.closed == "1006 end of stream");
  }
  SUBCASE("by a reset") {
    with_peer.peer().Reset();
    REQUIRE(with_peer.loop.RunUntil([&] { return !with_peer.server.closed.empty(); }));
    CHECK(with_peer.server.closed == "1006 ECONNRESET: connection reset by peer");
  }
  SUBCASE("in the middle of a message") {
    with_peer.peer().Send(websocket::EncodeFrame(Opcode::kText, "cut off", 1).view().substr(0, 9));
    with_peer.peer().Close();
    REQUIRE(with_peer.loop.RunUntil([&] { return !with_peer.server.closed.empty(); }));
    CHECK(with_peer.server.closed == "1006 end of stream");
    CHECK(with_peer.server.messages.empty());
  }
  CHECK(with_peer.server.connection->closed());
}

TEST_CASE("a handler that closes within a message is told no more, although more has come") {
  WithPeer with_peer;
  with_peer.server.on_message = [&] { with_peer.server.connection->Close(websocket::kPolicyViolation, "enough"); };
  std::string bytes;
  for (int i = 0; i < 10; ++i) bytes += websocket::EncodeFrame(Opcode::kText, "x", 1).view();
  bytes += websocket::EncodeFrame(Opcode::kPing, "x", 1).view();
  with_peer.peer().Send(bytes);
  CHECK(with_peer.ReceiveAll() == Frame(Opcode::kClose, websocket::ClosePayload(1008, "enough")));
  CHECK(with_peer.server.messages.size() == 1);
  CHECK(with_peer.server.closed == "");

  SUBCASE("and may let go of the connection") {
    WithPeer other;
    other.server.on_message = [&] {
      other.server.connection->Close(websocket::kPolicyViolation, "enough");
      other.loop->DeleteLater(std::shared_ptr<WebSocketConnection>(std::move(other.server.connection)));
    };
    other.peer().Send(bytes);
    CHECK(other.ReceiveAll() == Frame(Opcode::kClose, websocket::ClosePayload(1008, "enough")));
    CHECK(other.server.messages.size() == 1);
  }
  SUBCASE("also without a word") {
    WithPeer other;
    other.server.on_message = [&] {
      other.loop->DeleteLater(std::shared_ptr<WebSocketConnection>(std::move(other.server.connection)));
    };
    other.peer().Send(websocket::EncodeFrame(Opcode::kText, "x", 1).view());
    CHECK(other.ReceiveAll() == "");
    CHECK(other.server.messages.size() == 1);
  }
}

TEST_CASE("a handler may let go of the connection when it is closed") {
  WithPeer with_peer;
  with_peer.server.on_closed = [&] {
    with_peer.loop->DeleteLater(std::shared_ptr<WebSocketConnection>(std::move(with_peer.server.connection)));
  };
  SUBCASE("by the peer's word") { with_peer.Send(Opcode::kClose, ""); }
  SUBCASE("by the peer's end") { with_peer.peer().Close(); }
  SUBCASE("by a broken rule") { with_peer.peer().Send("\xff\xff\xff\xff"); }
  REQUIRE(with_peer.loop.RunUntil([&] { return with_peer.server.connection == nullptr; }));
}

TEST_CASE("since when a message has been incomplete is known") {
  WithPeer with_peer;
  CHECK(with_peer.server.connection->in_message_since() == Time{});
  const std::string frame(websocket::EncodeFrame(Opcode::kText, "hello", 1).view());
  with_peer.peer().Send(frame.substr(0, 3));
  REQUIRE(with_peer.loop.RunUntil([&] { return with_peer.server.connection->in_message_since() != Time{}; }));
  const Time since = with_peer.server.connection->in_message_since();
  with_peer.peer().Send(frame.substr(3, 2));
  REQUIRE(with_peer.loop.RunUntil([&] { return with_peer.server.connection->last_heard() > since; }));
  CHECK(with_peer.server.connection->in_message_since() == since);

  SUBCASE("until it is complete") {
    with_peer.peer().Send(frame.substr(5));
    REQUIRE(with_peer.loop.RunUntil([&] { return with_peer.server.messages.size() == 1; }));
    CHECK(with_peer.server.connection->in_message_since() == Time{});
  }
  SUBCASE("and anew for the next") {
    with_peer.peer().Send(frame.substr(5) + frame.substr(0, 3));
    REQUIRE(with_peer.loop.RunUntil([&] { return with_peer.server.messages.size() == 1; }));
    CHECK(with_peer.server.connection->in_message_since() > since);
  }
}

TEST_CASE("a connection that pauses reads nothing, and goes on where it was") {
  Both both;
  both.server.connection->PauseReading();
  both.client.connection->Send(Opcode::kText, "x");
  both.loop.RunFor(milliseconds(20));
  CHECK(both.server.messages.empty());
  both.server.connection->ResumeReading();
  REQUIRE(both.RunUntil([&] { return both.server.messages.size() == 1; }));
}

}  // namespace
}  // namespace aphlict::server
