// Certificates for tests, made as they are needed: an authority, and what it signs.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "common/net/tls_context.h"

struct evp_pkey_st;
struct x509_st;

namespace aphlict::testing {

// A folder that goes with everything in it.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  // Writes a file, and returns its path.
  std::string Write(const std::string& name, const std::string& content) const;
  std::string path(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// A certificate with its key (P-256).
class Certificate {
 public:
  struct Request {
    std::string name = "";                // its common name
    std::string alternatives = "";        // subjectAltName, such as "DNS:localhost,IP:127.0.0.1", or empty
    bool authority = false;               // may sign others
    std::int64_t begins = -3600;          // seconds from now
    std::int64_t ends = 90 * 86'400;      // seconds from now
    const Certificate* signer = nullptr;  // null: itself
  };
  explicit Certificate(const Request& request);
  Certificate(Certificate&&) = default;

  std::string pem() const;
  // Encrypted, if there is a passphrase.
  std::string key_pem(const std::string& passphrase = "") const;

 private:
  struct Free {
    void operator()(evp_pkey_st* key) const noexcept;
    void operator()(x509_st* certificate) const noexcept;
  };
  std::unique_ptr<evp_pkey_st, Free> key_;
  std::unique_ptr<x509_st, Free> certificate_;
};

}  // namespace aphlict::testing
