// One push peer: the admin port of another notification server, to which this master posts what it accepts. What the
// peer has not taken yet waits in a bounded queue, and goes over one connection that is kept, in order: a peer that is
// slow or away costs memory up to the bound, and nobody else anything.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
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
  // For what is sent from now on.
  void Change(std::shared_ptr<const net::TlsContext> tls, const PushLimits& limits);
  // Gives up what has waited for too long.
  void Expire();

  const http::Url& url() const { return url_; }
  // Who the peer said it is, in its last receipt; empty before it has said so, and since it has failed.
  const std::string& fingerprint() const { return fingerprint_; }
  // Whether nothing waits, and the last copy was taken: one that is pushed now will most probably be.
  bool keeps_up() const { return !fingerprint_.empty() && queue_.empty(); }
  bool connected() const { return stream_ != nullptr; }
  std::size_t queued() const { return queue_.size(); }
  const Counters& counters() const { return counters_; }

 private:
  void Go();
  void StopDialing();
  void OnStream(Result<net::StreamPtr> stream);
  void Send();
  void OnBytes(std::string_view bytes) override;
  void OnReadEnd() override;
  void OnEnd(const std::string& reason) override;
  // `keep`: the connection may be used again.
  void OnAnswer(bool keep);
  void OnDeadline();
  // The attempt has come to nothing; its copy stays the next.
  void Fail(const std::string& reason);
  void Dropped(std::size_t count, std::string_view reason);
  void Erase(std::size_t place);
  // Of the connection. What was sent on it, and not answered, waits again.
  void LetGo();
  // The place in the queue of the first copy that is not on its way.
  std::size_t first_waiting() const { return sent_ ? 1 : 0; }

  net::Loop& loop_;
  http::Url url_;
  std::shared_ptr<const net::TlsContext> tls_;
  PushLimits limits_;
  Log& log_;
  RandomGenerator random_;
  std::string fingerprint_;
  std::deque<PushCopy> queue_;  // the first is on its way while `sent_`
  std::size_t queued_bytes_ = 0;
  bool sent_ = false;
  bool used_before_ = false;  // the connection, for a copy that was answered
  int failures_ = 0;          // in a row
  Counters counters_;
  LogLimiter drop_limiter_;
  LogLimiter fail_limiter_;
  LogLimiter refuse_limiter_;
  std::unique_ptr<net::Dialer> dialer_;  // while it connects
  net::StreamPtr stream_;                // once it is connected
  std::unique_ptr<http::ResponseParser> parser_;
  net::Timer deadline_;  // of connecting, of an answer, or of an idle connection
  net::Timer retry_;
};

}  // namespace aphlict::master
