// Certificates, keys and whom to trust: what the TLS sessions of a listener, or of outgoing connections, have in common
// (OpenSSL 3). TLS 1.2 and 1.3; only key exchanges with forward secrecy; no renegotiation.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"

struct ssl_ctx_st;  // OpenSSL's SSL_CTX

namespace aphlict::net {

class TlsSession;

// PEM files. Which of them are needed depends on the side.
struct TlsFiles {
  std::string key;
  std::string cert;   // of this node; certificates behind the first one are intermediates, as those of `chain`
  std::string chain;  // intermediate certificates, or empty
  std::string ca;     // whose certificates of the other side are accepted

  bool empty() const { return key.empty() && cert.empty() && chain.empty() && ca.empty(); }
  bool operator==(const TlsFiles&) const = default;
};

// From which the keys of session tickets are made (RFC 5077, RFC 8446 section 4.6.1): others each hour, and those of
// the hour before are still accepted. Nodes with the same secret accept each other's tickets. Only sessions of TLS 1.3
// get one, where a ticket that becomes known does not open what was recorded.
class TicketKeys {
 public:
  TicketKeys();  // a random secret: nobody else's tickets
  explicit TicketKeys(std::string_view secret);
  ~TicketKeys();
  TicketKeys(const TicketKeys&) = delete;
  TicketKeys& operator=(const TicketKeys&) = delete;

  // As the constructors: tickets that were given out before are not accepted any more.
  void UseRandom();
  void UseSecret(std::string_view secret);

  static constexpr int kNameBytes = 16;
  struct Keys {
    unsigned char name[kNameBytes];
    unsigned char cipher[32];
    unsigned char mac[32];
  };
  // Of the hour that contains `time`, in seconds since the epoch.
  void Derive(std::int64_t time, Keys* keys) const;

  static constexpr std::int64_t kPeriod = 3600;  // seconds

 private:
  unsigned char secret_[32];
};

class TlsContext {
 public:
  // For connections that come in: `key` and `cert` are needed; with `ca`, peers must show a certificate of it.
  // `tickets` outlives the context; null: no session is resumed.
  // Errors: `text` names the file and says what is wrong with it.
  static Result<std::unique_ptr<TlsContext>> ForServer(const TlsFiles& files, const TicketKeys* tickets);
  // For connections that go out: `ca`, or else the system's authorities; `key` and `cert` are shown where they are
  // asked for.
  static Result<std::unique_ptr<TlsContext>> ForClient(const TlsFiles& files);

  TlsContext(const TlsContext&) = delete;
  TlsContext& operator=(const TlsContext&) = delete;

  // Reads the files anew, for sessions to come. Errors: as above, and nothing has changed.
  Result<void> Reload();

  // What is worth knowing about the certificate and is not an error, in words: it has expired or soon does (within
  // 14 days, or a tenth of its time), or an intermediate is missing. `now` in seconds since the epoch.
  std::vector<std::string> Notices(std::int64_t now) const;
  // When the certificate ends, in seconds since the epoch; 0 without one.
  std::int64_t expires() const;

  const TlsFiles& files() const { return files_; }

  // A session on a connected socket, which it does not own. For a client, `host` is the name or address that the other
  // side's certificate must be for (RFC 6125), and is sent as SNI if it is a name.
  std::unique_ptr<TlsSession> Accept(int descriptor) const;
  std::unique_ptr<TlsSession> Connect(int descriptor, const std::string& host) const;

 private:
  struct FreeContext {
    void operator()(ssl_ctx_st* context) const noexcept;
  };
  using ContextPtr = std::unique_ptr<ssl_ctx_st, FreeContext>;

  TlsContext(bool server, TlsFiles files, const TicketKeys* tickets)
      : server_(server), files_(std::move(files)), tickets_(tickets) {}
  Result<ContextPtr> Make() const;

  bool server_;
  TlsFiles files_;
  const TicketKeys* tickets_;
  ContextPtr context_;
};

// What OpenSSL last complained of, in words, or `otherwise`. Empties its queue of errors.
std::string TakeTlsError(std::string_view otherwise);

}  // namespace aphlict::net
