#include "tests/bench/load/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

#include <cerrno>
#include <utility>

#include "tests/bench/load/options.h"

namespace aphlict::bench {

namespace {

SSL_CTX* Context(int (*on_session)(SSL*, SSL_SESSION*)) {
  static SSL_CTX* const context = [&] {
    SSL_CTX* made = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_mode(made, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(made, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(made, on_session);
    return made;
  }();
  return context;
}

}  // namespace

Tls::~Tls() {
  Stop();
  SSL_SESSION_free(session_);
}

int Tls::OnSession(SSL* ssl, SSL_SESSION* session) {
  auto* tls = static_cast<Tls*>(SSL_get_app_data(ssl));
  SSL_SESSION_free(std::exchange(tls->session_, session));
  return 1;  // it is ours now
}

void Tls::Start(int descriptor) {
  Stop();
  ssl_ = SSL_new(Context(OnSession));
  SSL_set_app_data(ssl_, this);
  SSL_set_fd(ssl_, descriptor);
  if (session_ != nullptr) SSL_set_session(ssl_, session_);
  SSL_set_connect_state(ssl_);
}

void Tls::Stop() {
  if (ssl_ == nullptr) return;
  SSL_set_shutdown(ssl_, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);  // else its ticket counts as bad
  SSL_free(std::exchange(ssl_, nullptr));
}

int Tls::Handshake() {
  ERR_clear_error();
  const int done = SSL_do_handshake(ssl_);
  if (done == 1) return 1;
  const int error = SSL_get_error(ssl_, done);
  return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

ssize_t Tls::Receive(char* out, std::size_t room) {
  ERR_clear_error();
  std::size_t got = 0;
  const int done = SSL_read_ex(ssl_, out, room, &got);
  if (done == 1) return static_cast<ssize_t>(got);
  switch (SSL_get_error(ssl_, done)) {
    case SSL_ERROR_ZERO_RETURN:
      return 0;
    case SSL_ERROR_WANT_READ:
      errno = EAGAIN;
      return -1;
    default:
      errno = EPROTO;
      return -1;
  }
}

void Tls::Send(std::string_view bytes) {
  ERR_clear_error();
  std::size_t sent = 0;
  if (SSL_write_ex(ssl_, bytes.data(), bytes.size(), &sent) != 1) throw Failure("TLS: a socket took no more");
}

bool Tls::resumed() const { return SSL_session_reused(ssl_) != 0; }

}  // namespace aphlict::bench
