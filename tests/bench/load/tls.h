// The client's side of TLS, as far as a load generator needs it: it trusts everybody, and sends no more than a socket
// takes at once.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string_view>

struct ssl_st;
struct ssl_session_st;

namespace aphlict::bench {

class Tls {
 public:
  Tls() = default;
  ~Tls();
  Tls(const Tls&) = delete;
  Tls& operator=(const Tls&) = delete;

  // Begins a session on a connected socket; resumes the one before, if the server has given it a ticket.
  void Start(int descriptor);
  void Stop();

  // Goes on with the handshake. Returns 1 when it is done, 0 while it is not, -1 when it has failed.
  int Handshake();
  // As recv(2) and send(2) of a non-blocking socket; errno is EAGAIN or EPROTO.
  ssize_t Receive(char* out, std::size_t room);
  void Send(std::string_view bytes);

  bool resumed() const;

 private:
  static int OnSession(ssl_st* ssl, ssl_session_st* session);

  ssl_st* ssl_ = nullptr;
  ssl_session_st* session_ = nullptr;  // of the last ticket
};

}  // namespace aphlict::bench
