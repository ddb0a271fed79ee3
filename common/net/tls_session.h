// The TLS of one connection: what comes from the peer in, what it says out. Reads no socket: its stream does, and gives
// it what came; it writes to the socket by itself, so that a record is never buffered twice.
#pragma once

#include <openssl/ssl.h>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace aphlict::net {

class TlsSession {
 public:
  enum class Status {
    kDone,        // it has got as far as was asked for
    kWantsRead,   // all that was received is used up: more has to come
    kWantsWrite,  // the kernel takes no more for now: try again when the socket is writable
    kEnd,         // the peer has said that it sends no more (close_notify)
    kFailed,      // see error()
  };

  // Made by TlsContext, which sets up `ssl`. `descriptor` is borrowed.
  TlsSession(SSL* ssl, int descriptor, std::string host);
  ~TlsSession();
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;

  // What has come from the peer. Borrowed until KeepRest(), or until a call has returned kWantsRead.
  void Receive(std::string_view bytes);
  // Copies what is not used up yet, for later.
  void KeepRest();
  bool has_rest() const { return !input_.empty(); }

  // Goes on with the handshake. kDone once; then reading and writing may begin.
  Status Handshake();
  bool handshaking() const { return handshaking_; }
  // Whether Handshake() was called.
  bool begun() const { return begun_; }

  // Decrypts what was received to `out`, until there is no more room or nothing left; `*got` bytes in all. With kEnd
  // and kFailed, too, some may have come before. REQUIRES: room for 16 KiB.
  Status Read(char* out, std::size_t room, std::size_t* got);

  // Encrypts and sends at most one record: `*sent` bytes of it. After kWantsWrite, the next call must be given the same
  // bytes first.
  Status Write(std::string_view bytes, std::size_t* sent);

  // Says that no more will be sent (close_notify), if the kernel takes it.
  void SayEnd();

  // Why it failed, in words.
  const std::string& error() const { return error_; }

  static constexpr std::size_t kRecordBytes = 16 * 1024;  // of one record (RFC 8446 section 5.1)

 private:
  static BIO_METHOD* Method();
  static int BioRead(BIO* bio, char* out, int size);
  static int BioWrite(BIO* bio, const char* bytes, int size);
  static long BioControl(BIO* bio, int command, long number, void* pointer);
  Status StatusOf(int result, std::string_view what);

  SSL* ssl_;
  int descriptor_;
  int write_error_ = 0;     // errno, if sending has failed
  std::string_view input_;  // not used up yet; in rest_ or borrowed
  std::unique_ptr<std::string> rest_;
  std::string host_;  // of a client: whose certificate it has to be
  std::string error_;
  bool handshaking_ = true;
  bool begun_ = false;
};

}  // namespace aphlict::net
