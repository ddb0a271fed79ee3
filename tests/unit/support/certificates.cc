#include "tests/unit/support/certificates.h"

#include <doctest/doctest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace aphlict::testing {

TemporaryFolder::TemporaryFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "aphlict-XXXXXX").string();
  REQUIRE(mkdtemp(pattern.data()) != nullptr);
  path_ = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
}

std::string TemporaryFolder::Write(const std::string& name, const std::string& content) const {
  std::ofstream(path(name), std::ios::binary) << content;
  return path(name);
}

void Certificate::Free::operator()(evp_pkey_st* key) const noexcept { EVP_PKEY_free(key); }
void Certificate::Free::operator()(x509_st* certificate) const noexcept { X509_free(certificate); }

Certificate::Certificate(const Request& request) : key_(EVP_EC_gen("P-256")), certificate_(X509_new()) {
  static std::int64_t serial = 0;
  X509* const made = certificate_.get();
  const Certificate& signer = request.signer != nullptr ? *request.signer : *this;
  X509_set_version(made, X509_VERSION_3);
  ASN1_INTEGER_set_int64(X509_get_serialNumber(made), ++serial);
  X509_gmtime_adj(X509_getm_notBefore(made), request.begins);
  X509_gmtime_adj(X509_getm_notAfter(made), request.ends);
  X509_NAME_add_entry_by_txt(X509_get_subject_name(made), "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(request.name.c_str()), -1, -1, 0);
  X509_set_issuer_name(made, X509_get_subject_name(signer.certificate_.get()));
  X509_set_pubkey(made, key_.get());
  const auto extend = [&](int kind, const std::string& value) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, kind, value.c_str());
    REQUIRE(extension != nullptr);
    X509_add_ext(made, extension, -1);
    X509_EXTENSION_free(extension);
  };
  extend(NID_basic_constraints, request.authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
  if (!request.alternatives.empty()) extend(NID_subject_alt_name, request.alternatives);
  REQUIRE(X509_sign(made, signer.key_.get(), EVP_sha256()) > 0);
}

namespace {

template <class Write>
std::string Pem(Write write) {
  BIO* bio = BIO_new(BIO_s_mem());
  write(bio);
  char* text = nullptr;
  const long size = BIO_get_mem_data(bio, &text);
  std::string pem(text, static_cast<std::size_t>(size));
  BIO_free(bio);
  return pem;
}

}  // namespace

std::string Certificate::pem() const {
  return Pem([&](BIO* bio) { PEM_write_bio_X509(bio, certificate_.get()); });
}

std::string Certificate::key_pem(const std::string& passphrase) const {
  return Pem([&](BIO* bio) {
    PEM_write_bio_PKCS8PrivateKey(bio, key_.get(), passphrase.empty() ? nullptr : EVP_aes_256_cbc(), passphrase.data(),
                                  static_cast<int>(passphrase.size()), nullptr, nullptr);
  });
}

}  // namespace aphlict::testing
