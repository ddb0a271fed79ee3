#include "common/net/tls_context.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <utility>

#include "common/base/file.h"
#include "common/net/address.h"
#include "common/net/loop.h"
#include "common/net/tls_session.h"

namespace aphlict::net {

namespace {

// What TLS 1.2 may use: forward secrecy and authenticated encryption. TLS 1.3 has nothing else.
constexpr const char* kCiphers = "ECDHE+AESGCM:ECDHE+CHACHA20";
constexpr std::int64_t kDay = 86'400;
constexpr std::int64_t kSoon = 14 * kDay;
constexpr unsigned char kHttp[] = "\x08http/1.1";

template <auto Free>
struct Freer {
  template <class T>
  void operator()(T* object) const noexcept {
    Free(object);
  }
};
using BioPtr = std::unique_ptr<BIO, Freer<BIO_free>>;
using CertificatePtr = std::unique_ptr<X509, Freer<X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Freer<EVP_PKEY_free>>;
using StorePtr = std::unique_ptr<X509_STORE, Freer<X509_STORE_free>>;
using StoreContextPtr = std::unique_ptr<X509_STORE_CTX, Freer<X509_STORE_CTX_free>>;

Result<std::string> ReadFile(const std::string& path) {
  auto text = ReadWholeFile(path);
  if (!text) return Error{path + ": " + ErrorText(text.error().code)};
  return text;
}

BioPtr Memory(const std::string& bytes) {
  return BioPtr(BIO_new_mem_buf(bytes.data(), static_cast<int>(bytes.size())));
}

Result<std::vector<CertificatePtr>> ReadCertificates(const std::string& path) {
  const auto text = ReadFile(path);
  if (!text) return text.error();
  const BioPtr bio = Memory(*text);
  std::vector<CertificatePtr> certificates;
  while (CertificatePtr each{PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr)}) {
    certificates.push_back(std::move(each));
  }
  // The end of the file, too, is an error to OpenSSL.
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  const std::string problem = TakeTlsError("not readable");
  if (certificates.empty()) return Error{path + ": there is no certificate in it (PEM: BEGIN CERTIFICATE)"};
  if (!at_end) {
    return Error{path + ": certificate " + std::to_string(certificates.size() + 1) + " is damaged: " + problem};
  }
  return certificates;
}

Result<KeyPtr> ReadKey(const std::string& path) {
  auto text = ReadFile(path);
  if (!text) return text.error();
  bool asked = false;
  const auto no_password = [](char*, int, int, void* flag) {
    *static_cast<bool*>(flag) = true;
    return -1;
  };
  KeyPtr key(PEM_read_bio_PrivateKey(Memory(*text).get(), nullptr, no_password, &asked));
  OPENSSL_cleanse(text->data(), text->size());
  const std::string problem = TakeTlsError("not readable");
  if (asked) return Error{path + ": the key is encrypted; a key without a passphrase is needed"};
  if (!key) return Error{path + ": there is no private key in it (PEM): " + problem};
  return key;
}

std::int64_t Seconds(const ASN1_TIME* time) {
  tm broken_down{};
  return ASN1_TIME_to_tm(time, &broken_down) == 1 ? timegm(&broken_down) : 0;
}

std::string NameOf(const X509_NAME* name) {
  const BioPtr bio(BIO_new(BIO_s_mem()));
  X509_NAME_print_ex(bio.get(), name, 0, XN_FLAG_ONELINE & ~ASN1_STRFLGS_ESC_MSB);
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &text);
  return {text, static_cast<std::size_t>(size)};
}

std::string DateOf(std::int64_t time) {
  const std::time_t value = time;
  tm broken_down{};
  gmtime_r(&value, &broken_down);
  char text[32];
  return {text, std::strftime(text, sizeof(text), "%Y-%m-%d %H:%M UTC", &broken_down)};
}

int SelectProtocol(SSL*, const unsigned char** chosen, unsigned char* length, const unsigned char* offered,
                   unsigned int size, void*) {
  unsigned char* selected = nullptr;
  if (SSL_select_next_proto(&selected, length, kHttp, sizeof(kHttp) - 1, offered, size) != OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_NOACK;
  }
  *chosen = selected;
  return SSL_TLSEXT_ERR_OK;
}

// See SSL_CTX_set_tlsext_ticket_key_evp_cb(3ssl): negative is an error, 0 no ticket, or one that is not known.
int ProtectTicket(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher, EVP_MAC_CTX* mac,
                  int encrypting) {
  if (SSL_version(ssl) < TLS1_3_VERSION) return 0;
  const auto* tickets = static_cast<const TicketKeys*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)));
  const std::int64_t now = std::time(nullptr);
  TicketKeys::Keys keys;
  tickets->Derive(now, &keys);
  if (encrypting != 0) {
    std::memcpy(name, keys.name, TicketKeys::kNameBytes);
    if (RAND_bytes(iv, EVP_MAX_IV_LENGTH) != 1) return -1;
  } else if (CRYPTO_memcmp(name, keys.name, TicketKeys::kNameBytes) != 0) {
    tickets->Derive(now - TicketKeys::kPeriod, &keys);
    if (CRYPTO_memcmp(name, keys.name, TicketKeys::kNameBytes) != 0) return 0;
  }
  char digest[] = "SHA256";
  const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, keys.mac, sizeof(keys.mac)),
                                   OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                                   OSSL_PARAM_construct_end()};
  const bool ready = EVP_MAC_CTX_set_params(mac, parameters) == 1 &&
                     (encrypting != 0 ? EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), nullptr, keys.cipher, iv)
                                      : EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), nullptr, keys.cipher, iv)) == 1;
  OPENSSL_cleanse(&keys, sizeof(keys));
  if (!ready) return -1;
  return encrypting != 0 ? 1 : 2;  // a ticket is used once (RFC 8446 appendix C.4): send another
}

}  // namespace

void TlsContext::FreeContext::operator()(SSL_CTX* context) const noexcept { SSL_CTX_free(context); }

std::string TakeTlsError(std::string_view otherwise) {
  const unsigned long code = ERR_peek_error();
  const char* text = ERR_reason_error_string(code);
  ERR_clear_error();
  return std::string(text != nullptr ? std::string_view(text) : otherwise);
}

TicketKeys::TicketKeys() { UseRandom(); }

TicketKeys::TicketKeys(std::string_view secret) { UseSecret(secret); }

void TicketKeys::UseRandom() {
  if (RAND_bytes(secret_, sizeof(secret_)) != 1) std::abort();  // no randomness: nothing can be kept secret
}

void TicketKeys::UseSecret(std::string_view secret) {
  constexpr std::string_view kPurpose = "aphlict-relay session tickets";
  HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()),
       reinterpret_cast<const unsigned char*>(kPurpose.data()), kPurpose.size(), secret_, nullptr);
}

TicketKeys::~TicketKeys() { OPENSSL_cleanse(secret_, sizeof(secret_)); }

void TicketKeys::Derive(std::int64_t time, Keys* keys) const {
  const auto derive = [&](char purpose, unsigned char* out) {
    const std::string input = purpose + std::to_string(time / kPeriod);
    HMAC(EVP_sha256(), secret_, sizeof(secret_), reinterpret_cast<const unsigned char*>(input.data()), input.size(),
         out, nullptr);
  };
  unsigned char name[32];
  derive('n', name);
  std::memcpy(keys->name, name, kNameBytes);
  derive('c', keys->cipher);
  derive('m', keys->mac);
}

Result<std::unique_ptr<TlsContext>> TlsContext::ForServer(const TlsFiles& files, const TicketKeys* tickets) {
  if (files.cert.empty()) return Error{"TLS needs a certificate: `ssl.cert`"};
  if (files.key.empty()) return Error{"TLS needs the certificate's key: `ssl.key`"};
  std::unique_ptr<TlsContext> made(new TlsContext(true, files, tickets));
  if (auto loaded = made->Reload(); !loaded) return loaded.error();
  return made;
}

Result<std::unique_ptr<TlsContext>> TlsContext::ForClient(const TlsFiles& files) {
  if (files.cert.empty() != files.key.empty()) return Error{"`ssl.cert` and `ssl.key` go together"};
  std::unique_ptr<TlsContext> made(new TlsContext(false, files, nullptr));
  if (auto loaded = made->Reload(); !loaded) return loaded.error();
  return made;
}

Result<void> TlsContext::Reload() {
  auto made = Make();
  if (!made) return made.error();
  context_ = std::move(*made);
  return {};
}

Result<TlsContext::ContextPtr> TlsContext::Make() const {
  ERR_clear_error();
  ContextPtr context(SSL_CTX_new(server_ ? TLS_server_method() : TLS_client_method()));
  if (!context) return Error{"TLS: " + TakeTlsError("out of memory")};
  SSL_CTX* const raw = context.get();
  SSL_CTX_set_min_proto_version(raw, TLS1_2_VERSION);
  SSL_CTX_set_options(raw, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
                               SSL_OP_PRIORITIZE_CHACHA);
  SSL_CTX_set_mode(raw, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  SSL_CTX_set_session_cache_mode(raw, SSL_SESS_CACHE_OFF);
  if (SSL_CTX_set_cipher_list(raw, kCiphers) != 1) return Error{"TLS: " + TakeTlsError("no ciphers")};

  if (!files_.cert.empty()) {
    auto certificates = ReadCertificates(files_.cert);
    if (!certificates) return certificates.error();
    if (!files_.chain.empty()) {
      auto chain = ReadCertificates(files_.chain);
      if (!chain) return chain.error();
      std::move(chain->begin(), chain->end(), std::back_inserter(*certificates));
    }
    const auto key = ReadKey(files_.key);
    if (!key) return key.error();
    if (SSL_CTX_use_certificate(raw, certificates->front().get()) != 1) {
      return Error{files_.cert + ": " + TakeTlsError("the certificate cannot be used")};
    }
    if (X509_check_private_key(certificates->front().get(), key->get()) != 1) {
      ERR_clear_error();
      return Error{files_.key + ": this is not the key of the certificate in " + files_.cert};
    }
    if (SSL_CTX_use_PrivateKey(raw, key->get()) != 1) {
      return Error{files_.key + ": " + TakeTlsError("the key cannot be used")};
    }
    for (std::size_t i = 1; i < certificates->size(); ++i) {
      if (SSL_CTX_add1_chain_cert(raw, (*certificates)[i].get()) != 1) {
        return Error{(files_.chain.empty() ? files_.cert : files_.chain) + ": " + TakeTlsError("a certificate is bad")};
      }
    }
  }

  if (!files_.ca.empty()) {
    const auto authorities = ReadCertificates(files_.ca);
    if (!authorities) return authorities.error();
    for (const CertificatePtr& each : *authorities) {
      X509_STORE_add_cert(SSL_CTX_get_cert_store(raw), each.get());
      if (server_) SSL_CTX_add_client_CA(raw, each.get());
    }
    ERR_clear_error();  // one that stands there twice
  } else if (!server_) {
    SSL_CTX_set_default_verify_paths(raw);
  }
  const bool verifies = !server_ || !files_.ca.empty();
  if (verifies) SSL_CTX_set_verify(raw, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nullptr);
  if (!server_) return context;

  SSL_CTX_set_alpn_select_cb(raw, SelectProtocol, nullptr);
  if (tickets_ == nullptr || verifies) {
    // A resumed session would not be asked for its certificate again, which may have ended or been given up since.
    SSL_CTX_set_options(raw, SSL_OP_NO_TICKET);
    SSL_CTX_set_num_tickets(raw, 0);
    return context;
  }
  SSL_CTX_set_app_data(raw, const_cast<TicketKeys*>(tickets_));
  SSL_CTX_set_tlsext_ticket_key_evp_cb(raw, ProtectTicket);
  SSL_CTX_set_num_tickets(raw, 1);  // a page has one connection
  SSL_CTX_set_timeout(raw, TicketKeys::kPeriod);
  return context;
}

std::vector<std::string> TlsContext::Notices(std::int64_t now) const {
  std::vector<std::string> notices;
  X509* const leaf = SSL_CTX_get0_certificate(context_.get());
  if (leaf == nullptr) return notices;
  STACK_OF(X509)* chain = nullptr;
  SSL_CTX_get0_chain_certs(context_.get(), &chain);
  const auto check_time = [&](const X509* certificate) {
    const std::int64_t begins = Seconds(X509_get0_notBefore(certificate));
    const std::int64_t ends = Seconds(X509_get0_notAfter(certificate));
    const std::string name = files_.cert + ": the certificate of " + NameOf(X509_get_subject_name(certificate));
    if (now >= ends) {
      notices.push_back(name + " has expired: " + DateOf(ends));
    } else if (now < begins) {
      notices.push_back(name + " is not valid before " + DateOf(begins));
    } else if (ends - now < std::min(kSoon, (ends - begins) / 10)) {
      notices.push_back(name + " expires soon: " + DateOf(ends));
    }
  };
  check_time(leaf);
  for (int i = 0; i < sk_X509_num(chain); ++i) check_time(sk_X509_value(chain, i));

  if (!server_) return notices;
  const StorePtr store(X509_STORE_new());
  X509_STORE_set_default_paths(store.get());
  X509_STORE_set_flags(store.get(), X509_V_FLAG_NO_CHECK_TIME);
  const StoreContextPtr verification(X509_STORE_CTX_new());
  X509_STORE_CTX_init(verification.get(), store.get(), leaf, chain);
  if (X509_verify_cert(verification.get()) != 1) {
    const int error = X509_STORE_CTX_get_error(verification.get());
    const X509* last = X509_STORE_CTX_get_current_cert(verification.get());
    if ((error == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
         error == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE) &&
        last != nullptr) {
      notices.push_back(files_.cert + ": the certificate of " + NameOf(X509_get_subject_name(last)) +
                        " was signed by " + NameOf(X509_get_issuer_name(last)) +
                        ", which is neither sent along nor known to this system: unless that is an authority of your "
                        "own, an intermediate certificate is missing from `ssl.chain`");
    }
  }
  ERR_clear_error();
  return notices;
}

std::int64_t TlsContext::expires() const {
  const X509* leaf = SSL_CTX_get0_certificate(context_.get());
  return leaf == nullptr ? 0 : Seconds(X509_get0_notAfter(leaf));
}

std::unique_ptr<TlsSession> TlsContext::Accept(int descriptor) const {
  SSL* ssl = SSL_new(context_.get());
  if (ssl == nullptr) std::abort();  // out of memory
  SSL_set_accept_state(ssl);
  return std::make_unique<TlsSession>(ssl, descriptor, "");
}

std::unique_ptr<TlsSession> TlsContext::Connect(int descriptor, const std::string& host) const {
  SSL* ssl = SSL_new(context_.get());
  if (ssl == nullptr) std::abort();
  SSL_set_connect_state(ssl);
  if (Address::Parse(host, 0)) {
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host.c_str());
  } else {
    // As SSL_set_tlsext_host_name(), without its cast.
    SSL_ctrl(ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, const_cast<char*>(host.c_str()));
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    SSL_set1_host(ssl, host.c_str());
  }
  return std::make_unique<TlsSession>(ssl, descriptor, host);
}

}  // namespace aphlict::net
