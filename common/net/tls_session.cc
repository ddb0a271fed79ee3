#include "common/net/tls_session.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "common/net/loop.h"
#include "common/net/tls_context.h"

namespace aphlict::net {

TlsSession::TlsSession(SSL* ssl, int descriptor, std::string host)
    : ssl_(ssl), descriptor_(descriptor), host_(std::move(host)) {
  BIO* bio = BIO_new(Method());
  if (bio == nullptr) std::abort();  // out of memory
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_, bio, bio);
}

TlsSession::~TlsSession() {
  // Whatever else happens to it, a session that is over may be resumed: without this, OpenSSL takes it for bad.
  SSL_set_shutdown(ssl_, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  SSL_free(ssl_);
}

BIO_METHOD* TlsSession::Method() {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");
    if (made == nullptr) std::abort();
    BIO_meth_set_read(made, BioRead);
    BIO_meth_set_write(made, BioWrite);
    BIO_meth_set_ctrl(made, BioControl);
    return made;
  }();
  return method;
}

int TlsSession::BioRead(BIO* bio, char* out, int size) {
  auto& session = *static_cast<TlsSession*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  if (session.input_.empty()) {
    BIO_set_retry_read(bio);
    return -1;
  }
  const std::size_t taken = std::min(session.input_.size(), static_cast<std::size_t>(size));
  std::memcpy(out, session.input_.data(), taken);
  session.input_.remove_prefix(taken);
  return static_cast<int>(taken);
}

int TlsSession::BioWrite(BIO* bio, const char* bytes, int size) {
  auto& session = *static_cast<TlsSession*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  ssize_t sent;
  do {
    sent = send(session.descriptor_, bytes, static_cast<std::size_t>(size), MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent >= 0) return static_cast<int>(sent);
  if (errno == EAGAIN) {
    BIO_set_retry_write(bio);
  } else {
    session.write_error_ = errno;
  }
  return -1;
}

long TlsSession::BioControl(BIO* /*bio*/, int command, long /*number*/, void* /*pointer*/) {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

void TlsSession::Receive(std::string_view bytes) {
  if (input_.empty()) {
    input_ = bytes;
    return;
  }
  KeepRest();
  rest_->append(bytes);
  input_ = *rest_;
}

void TlsSession::KeepRest() {
  if (input_.empty()) {
    rest_.reset();
    return;
  }
  rest_ = std::make_unique<std::string>(input_);
  input_ = *rest_;
}

TlsSession::Status TlsSession::StatusOf(int result, std::string_view what) {
  switch (SSL_get_error(ssl_, result)) {
    case SSL_ERROR_WANT_READ:
      return Status::kWantsRead;
    case SSL_ERROR_WANT_WRITE:
      return Status::kWantsWrite;
    case SSL_ERROR_ZERO_RETURN:
      return Status::kEnd;
    default:
      break;
  }
  error_ = "TLS: ";
  const long verified = SSL_get_verify_result(ssl_);
  if (write_error_ != 0) {
    error_ += ErrorText(write_error_);
    ERR_clear_error();
  } else if (handshaking_ && verified != X509_V_OK) {
    error_ += host_.empty() ? "the peer's certificate" : "the certificate of " + host_;
    error_ += std::string(": ") + X509_verify_cert_error_string(verified);
    ERR_clear_error();
  } else {
    error_ += TakeTlsError(what);
  }
  return Status::kFailed;
}

TlsSession::Status TlsSession::Handshake() {
  begun_ = true;
  ERR_clear_error();
  const int result = SSL_do_handshake(ssl_);
  if (result != 1) return StatusOf(result, "the handshake failed");
  handshaking_ = false;
  return Status::kDone;
}

TlsSession::Status TlsSession::Read(char* out, std::size_t room, std::size_t* got) {
  *got = 0;
  while (room - *got >= kRecordBytes) {
    ERR_clear_error();
    std::size_t some = 0;
    const int result = SSL_read_ex(ssl_, out + *got, room - *got, &some);
    if (result != 1) return StatusOf(result, "reading failed");
    *got += some;
  }
  return Status::kDone;
}

TlsSession::Status TlsSession::Write(std::string_view bytes, std::size_t* sent) {
  *sent = 0;
  ERR_clear_error();
  const int result = SSL_write_ex(ssl_, bytes.data(), bytes.size(), sent);
  return result == 1 ? Status::kDone : StatusOf(result, "writing failed");
}

void TlsSession::SayEnd() {
  if (handshaking_ || write_error_ != 0) return;
  ERR_clear_error();
  SSL_shutdown(ssl_);
  ERR_clear_error();
}

}  // namespace aphlict::net
