// The load: many clients of one server and some publishers, and the books about every message.
//
// Nothing that arrives is parsed. The first frame of a run tells how long frames are and where in them the body lies;
// after that, a frame is compared with the one that its client must get next.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/bench/load/message.h"
#include "tests/bench/load/options.h"
#include "tests/bench/load/poller.h"
#include "tests/bench/load/tls.h"

namespace aphlict::bench {

class Generator {
 public:
  Generator();
  ~Generator();

  // Runs one command and returns its result, the inside of a JSON object. Throws Failure. What goes wrong once is in
  // every later result until `reset`: such a session has no figures any more.
  std::string Run(const Options& options);

  // Between commands: answers what servers ask and does what followers must, until `input` is readable.
  void Idle(int input);

 private:
  static constexpr std::size_t kBufferBytes = std::size_t{256} * 1024;
  static constexpr std::uint64_t kPublisherToken = std::uint64_t{1} << 32;  // what the poller knows the first one by
  static constexpr std::string_view kPingCommand = R"({"command":"ping"})";

  // Clients in the order in which they must all get the same messages.
  struct Order {
    std::vector<std::uint32_t> sequences;  // as the first client got them
    Nanoseconds newest_sent = 0;
    std::uint32_t clients = 0;  // of those that read
  };

  // How one kind of client sees a message. Learned from the first frame of a run.
  struct Wire {
    std::size_t frame_bytes = 0;  // 0: not learned yet
    std::size_t head_bytes = 0;   // of the WebSocket's header
    std::size_t body_at = 0;
    std::size_t body_compared = 0;  // all of it, where the peer passes bodies on as they are
    std::string head;
  };

  // What `connect` was told: how to become a client.
  struct Population {
    std::vector<std::string> addresses;  // clients take turns
    std::string path;                    // "%G": the PHID of the client's group
    std::string subscribe;               // "%P": the list of PHIDs; empty: connecting is subscribing
    bool sync = false;                   // a ping after the subscribe: its pong says that the subscribe was dealt with
    bool feed = false;                   // a repeater of protocol.md, and not a page
    bool reports = false;                // says something each second, as a repeater does
    bool tls = false;
    bool own = false;       // each client has a PHID of its own, in the place of the group's
    bool everyone = false;  // its clients are subscribed to everyone's PHID, too
    std::uint32_t extra = 0;
    std::uint32_t receive_buffer = 0;  // bytes; 0: the kernel's choice
    Wire wire;
  };

  enum class State : std::uint8_t { kClosed, kConnecting, kTls, kHandshake, kSubscribing, kOpen };

  struct Client {
    int descriptor = -1;
    State state = State::kClosed;
    bool stalled = false;  // does not read
    std::uint32_t population = 0;
    std::uint32_t group = 0;
    std::uint32_t member = 0;  // of the group
    std::uint32_t next = 0;    // place in its order
    std::string unread;        // the beginning of a frame, or of the handshake's answer
    std::unique_ptr<Tls> tls;
  };

  enum class Step : std::uint8_t { kIdle, kConnecting, kAnswer };

  struct Publisher {
    int descriptor = -1;
    Step step = Step::kIdle;
    std::uint32_t message = 0;
    bool closes = false;  // the server closes after its answer
    std::string unread;
    std::string request;
  };

  struct Message {
    std::uint32_t group = 0;
    std::uint32_t pending = 0;     // clients that do not have it yet
    std::uint32_t unanswered = 0;  // servers that it was published to and that have not answered
    Nanoseconds due = 0;
    Nanoseconds sent = 0;
    Nanoseconds answered_at = 0;
    std::string body;  // only while it is pending
  };

  struct Wrongs {
    std::uint64_t lost = 0;
    std::uint64_t repeated = 0;
    std::uint64_t disordered = 0;
    std::uint64_t misdelivered = 0;
    std::uint64_t garbled = 0;
    std::uint64_t refused = 0;  // publishes that were not answered 2xx
    std::uint64_t closed = 0;   // clients that the server closed
    std::string first_problem;
  };

  std::string Connect(const Options& options);
  std::string Everyone(const Options& options);
  std::string Storm(const Options& options);
  std::string Publish(const Options& options);
  std::string Expect(const Options& options);
  std::string Await(const Options& options);
  std::string Ping(const Options& options);
  std::string Reset();

  void BeginRun(const Options& options);
  // What a run has come to, with all that is missing counted as lost.
  std::string EndRun(Nanoseconds start, double cpu_before);
  std::string Wrong() const;

  // Opens all clients that are closed, `at_once` at a time, and returns the seconds it took.
  double OpenClients(std::uint32_t at_once, double timeout);
  // The same, of clients that do as deploy/browser/aphlict-client.js does: all at once, and who is not let in within
  // `patience` closes its side and tries again, at a random time within 0.5, 1, 2 … 30 s. `resumes`: with the ticket of
  // TLS that it may have got meanwhile.
  double OpenClientsThatGiveUp(Nanoseconds patience, bool resumes, double timeout);
  void StartClient(std::uint32_t index);
  void CloseClient(std::uint32_t index, bool reset = true);
  void LoseClient(std::uint32_t index, const std::string& why);
  void Send(Client& client, std::string_view bytes);
  void SendHandshake(Client& client);
  void SendSubscribe(Client& client, std::uint32_t index);
  void SendStatuses();

  void OnEvent(std::uint64_t token, bool writable);
  void OnClient(std::uint32_t index, bool writable);
  void OnClientBytes(std::uint32_t index, const char* data, std::size_t size);
  // Returns how much of the bytes was dealt with.
  std::size_t OnFrames(std::uint32_t index, const char* data, std::size_t size);
  std::size_t OnOtherFrame(std::uint32_t index, const char* data, std::size_t size);
  void Deliver(Client& client, const char* body, std::size_t compared);
  void DeliverUnexpected(Client& client, const char* body, std::size_t available);
  void SkipTo(Client& client, std::uint32_t place, std::uint32_t sequence);
  void Count(Message& message);
  void Opened(Client& client);
  void CountReader(const Client& client, int change);
  bool Learn(Wire& wire, const char* frame, std::size_t head_bytes, std::size_t size);

  void OnPublisher(std::uint32_t index, bool writable);
  bool LaneIsFree(std::uint32_t lane, bool when_finished) const;
  void StartPublish(std::uint32_t lane, std::uint32_t group, Nanoseconds due);
  void SendRequest(std::uint32_t index);
  void OpenPublisher(std::uint32_t index);
  void Answered(std::uint32_t index, bool accepted, bool closes);
  bool finished(const Message& message) const { return message.pending == 0 && message.unanswered == 0; }
  void FinishIfDone(Message& message);

  Order& order_of(const Client& client);
  bool Concerns(const Message& message, const Client& client) const;
  void Problem(std::uint64_t Wrongs::*counter, const std::string& what);

  Poller poller_;
  std::unique_ptr<char[]> buffer_;
  std::vector<Population> populations_;
  std::vector<Client> clients_;
  std::vector<Order> groups_;
  Order feed_;  // every message concerns every follower
  Order everyone_;
  std::vector<Publisher> publishers_;  // for each message in flight one lane: a publisher for each address
  std::uint32_t opening_ = 0;
  std::uint32_t reporters_ = 0;
  Nanoseconds next_status_ = 0;
  Wrongs wrongs_;

  // Of the run.
  std::vector<std::string> publish_addresses_;
  std::string publish_path_;
  bool reconnect_ = false;
  bool to_everyone_ = false;
  Nanoseconds patience_ = 0;  // without a message that is complete, what is missing is lost
  std::uint32_t publisher_source_ = 0;
  std::optional<BodyTemplate> template_;
  std::uint32_t first_sequence_ = 1;
  std::uint32_t next_sequence_ = 1;
  std::vector<Message> messages_;  // from first_sequence_
  std::vector<std::string> spare_bodies_;
  std::uint32_t unfinished_ = 0;
  std::uint64_t deliveries_ = 0;
  std::uint64_t pongs_ = 0;
  std::uint64_t resumed_ = 0;  // sessions of TLS
  std::uint64_t gave_up_ = 0;  // attempts to connect
  Nanoseconds last_progress_ = 0;
  Nanoseconds last_complete_ = 0;                                 // when the last client had the last message
  std::vector<std::pair<const Client*, std::uint32_t>> skipped_;  // sequences that clients may still get, too late
  std::vector<float> latencies_;                                  // microseconds
  std::vector<float> answers_;                                    // microseconds
};

}  // namespace aphlict::bench
