// How much user memory a server's idle TLS session takes, with nothing around it: sessions on memory BIOs, with
// released buffers, each of which has made its handshake and received and sent one message.
//
//   aphlict-openssl-sessions KEY CERTIFICATE COUNT
//
// Prints the bytes for each session: growth of the proportional set size.
#include <openssl/bio.h>
#include <openssl/ssl.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

namespace {

[[noreturn]] void Fail(const char* what) {
  std::fprintf(stderr, "aphlict-openssl-sessions: %s\n", what);
  std::exit(1);
}

long PssBytes() {
  std::ifstream file("/proc/self/smaps_rollup");
  for (std::string line; std::getline(file, line);) {
    if (line.compare(0, 4, "Pss:") == 0) return std::strtol(line.c_str() + 4, nullptr, 10) * 1024;
  }
  Fail("no smaps_rollup");
}

SSL* Session(SSL_CTX* context) {
  SSL* ssl = SSL_new(context);
  SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  return ssl;
}

void Move(SSL* from, SSL* to) {
  char bytes[16 * 1024];
  for (int got; (got = BIO_read(SSL_get_wbio(from), bytes, sizeof(bytes))) > 0;)
    BIO_write(SSL_get_rbio(to), bytes, got);
}

void Say(SSL* from, SSL* to, const std::string& text) {
  char bytes[1024];
  if (SSL_write(from, text.data(), static_cast<int>(text.size())) <= 0) Fail("write");
  Move(from, to);
  if (SSL_read(to, bytes, sizeof(bytes)) != static_cast<int>(text.size())) Fail("read");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) Fail("KEY CERTIFICATE COUNT");
  SSL_CTX* server_context = SSL_CTX_new(TLS_server_method());
  SSL_CTX* client_context = SSL_CTX_new(TLS_client_method());
  if (SSL_CTX_use_PrivateKey_file(server_context, argv[1], SSL_FILETYPE_PEM) != 1 ||
      SSL_CTX_use_certificate_chain_file(server_context, argv[2]) != 1) {
    Fail("the key or the certificate cannot be used");
  }
  SSL_CTX_set_mode(server_context, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_set_session_cache_mode(server_context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_num_tickets(server_context, 1);
  const int count = std::atoi(argv[3]);
  std::vector<SSL*> sessions;
  sessions.reserve(static_cast<std::size_t>(count));
  const int settled = count / 10;  // what is needed once is not counted
  long before = 0;
  for (int i = 0; i < count + settled; ++i) {
    if (i == settled) before = PssBytes();
    SSL* server = Session(server_context);
    SSL* client = Session(client_context);
    SSL_set_accept_state(server);
    SSL_set_connect_state(client);
    for (int turn = 0; turn < 10 && (!SSL_is_init_finished(server) || !SSL_is_init_finished(client)); ++turn) {
      SSL_do_handshake(client);
      Move(client, server);
      SSL_do_handshake(server);
      Move(server, client);
    }
    Say(client, server, R"({"command":"subscribe","data":["PHID-USER-aaaaaaaaaaaaaaaaaaaa"]})");
    Say(server, client, R"({"type":"pong"})");
    SSL_free(client);
    sessions.push_back(server);
  }
  std::printf("%ld\n", (PssBytes() - before) / count);
  for (SSL* each : sessions) SSL_free(each);
}
