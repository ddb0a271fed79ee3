// One push peer: the admin port of another notification server, to which this master posts what it accepts. What the
// peer has not taken yet waits in a bounded queue, and goes over one connection that is kept, each instance's in order:
// a peer that is slow or away costs memory up to the bound, and nobody else anything. The queue is not durable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/bytes.h"
#include "common/base/log.h"
#include "common/base/random.h"
#include "common/base/result.h"
#include "common/base/time.h"
#include "common/http/head.h"
#include "common/http/response_parser.h"
#include "common/net/dialer.h"
#include "common/net/loop.h"
#include "common/net/stream.h"
#include "common/net/timer.h"
#include "common/net/tls_context.h"

namespace aphlict::master {

// A copy of a message for one peer.
struct PushCopy {
  Time accepted;
  std::string target;  // of the request: "/?instance=dog"
  SharedBytes before;  // the message's bytes, in three pieces
  std::string between;
  SharedBytes after;

  std::size_t size() const { return before.size() + between.size() + after.size(); }
};

// Older and larger than this, what waits for a peer is given up.
struct PushLimits {
  Duration age = seconds(60);
  std::size_t bytes = 64 * 1024 * 1024;
};

class PushPeer : private net::StreamHandler {
 public:
  struct Counters {
    std::uint64_t taken = 0;     // copies that the peer has answered 2xx
    std::uint64_t refused = 0;   // that it has answered with something else for which there is no point in trying again
    std::uint64_t dropped = 0;   // that were given up
    std::uint64_t failures = 0;  // attempts that came to nothing, and are made again
  };

  // All references outlive it. `tls` is used where the URL asks for it.
  PushPeer(net::Loop& loop, const http::Url& url, std::shared_ptr<const net::TlsContext> tls, const PushLimits& limits,
           Log& log);
  ~PushPeer() override;

  void Push(PushCopy copy);
  // For what waits, and for what comes. With another `tls`, the connection ends with the answer that is waited for.
  void Change(std::shared_ptr<const net::TlsContext> tls, const PushLimits& limits);
  // Gives up what has waited for too long.
  void Expire();
  // Says of what waits that the peer will not get it. Nothing may be pushed any more.
  void GiveUp(std::string_view reason);

  const http::Url& url() const { return url_; }
  // Who the peer said it is, in its last receipt; empty before it has said so, and since it has failed.
  const std::string& fingerprint() const { return fingerprint_; }
  // Whether nothing waits, and the last copy was taken: one that is pushed now will most probably be.
  bool keeps_up() const { return !fingerprint_.empty() && queued_ == 0; }
  bool connected() const { return stream_ != nullptr; }
  std::size_t queued() const { return queued_; }
  const Counters& counters() const { return counters_; }

 private:
  // An instance whose copies the peer could not take: it does not hold up the others.
  struct PutOff {
    Time until{};
    int failures = 0;  // in a row
    std::deque<PushCopy> waiting;
  };

  // What is to be done next: connect, send, or wait.
  void Go();
  // A copy that has its turn, taken from where it waits.
  std::optional<PushCopy> Next();
  void StopDialing();
  void OnStream(Result<net::StreamPtr> stream);
  void Send(PushCopy copy);
  void OnBytes(std::string_view bytes) override;
  void OnReadEnd() override;
  void OnEnd(const std::string& reason) override;
  // `keep`: the connection may be used again.
  void OnAnswer(bool keep);
  void OnDeadline();
  // Of the connection. What was sent on it, and not answered, waits again.
  void LetGo();
  // The attempt has come to nothing, and the connection with it.
  void Fail(const std::string& reason);
  void CountFailure(const std::string& reason);

  // Where copies of that target wait.
  std::deque<PushCopy>& WaitingFor(const std::string& target);
  void PutOffUntilLater(PushCopy copy);
  void ScheduleResume();
  void Trim();
  void DropFirst(std::deque<PushCopy>& waiting);
  void Dropped(std::size_t count, std::string_view reason);
  // A copy is not waited for any more.
  void Forget(const PushCopy& copy);

  net::Loop& loop_;
  http::Url url_;
  std::shared_ptr<const net::TlsContext> tls_;
  PushLimits limits_;
  Log& log_;
  RandomGenerator random_;
  std::string fingerprint_;
  std::deque<PushCopy> queue_;
  std::map<std::string, PutOff> put_off_;  // by target
  bool due_ = false;                       // whether one of these may be tried again
  std::optional<PushCopy> sending_;        // on its way, and not answered yet
  std::size_t queued_ = 0;                 // all of these together
  std::size_t queued_bytes_ = 0;
  bool used_before_ = false;  // the connection, for a copy that was answered
  bool outdated_ = false;     // the connection: it was made with another `tls`
  int failures_ = 0;          // to connect, or to get an answer, in a row
  Counters counters_;
  LogLimiter drop_limiter_;
  LogLimiter fail_limiter_;
  LogLimiter refuse_limiter_;
  std::unique_ptr<net::Dialer> dialer_;  // while it connects
  net::StreamPtr stream_;                // once it is connected
  std::unique_ptr<http::ResponseParser> parser_;
  net::Timer deadline_;  // of connecting, of an answer, or of an idle connection
  net::Timer retry_;     // to connect, after it has failed
  net::Timer resume_;    // with what was put off
};

}  // namespace aphlict::master
