#include "common/base/secret.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace aphlict {

namespace {

using Digest = std::array<unsigned char, 32>;

Digest DigestOf(std::string_view text) {
  Digest digest{};
  if (EVP_Digest(text.data(), text.size(), digest.data(), nullptr, EVP_sha256(), nullptr) != 1) std::abort();
  return digest;
}

Error Wrong(const std::string& text) { return {text, EX_CONFIG}; }

// A buffer for a file of secrets, wiped at the end.
struct Buffer {
  ~Buffer() { explicit_bzero(bytes.data(), bytes.size()); }
  std::array<char, 8192> bytes;
  std::size_t size = 0;
};

}  // namespace

Secret::Secret(std::string_view text) : text_(std::make_unique<char[]>(text.size())), size_(text.size()) {
  std::copy(text.begin(), text.end(), text_.get());
}

Secret::~Secret() {
  if (text_) explicit_bzero(text_.get(), size_);
}

bool Secret::Equals(std::string_view presented) const {
  const Digest own = DigestOf(Reveal());
  const Digest other = DigestOf(presented);
  return CRYPTO_memcmp(own.data(), other.data(), own.size()) == 0;
}

Result<Secrets> Secrets::Parse(std::string_view text) {
  Secrets secrets;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line = text.substr(begin, end - begin);
    begin = end + 1;
    line = line.substr(0, line.find_last_not_of(" \t\r\f\v") + 1);
    if (line.empty()) continue;
    const std::string which = "secret " + std::to_string(secrets.size() + 1);
    if (secrets.size() == 2) return Wrong("more than two secrets");
    if (line.size() < kLeastBytes) return Wrong(which + " is shorter than 16 bytes; `openssl rand -hex 32` makes one");
    if (line.size() > kMostBytes) return Wrong(which + " is longer than 1024 bytes");
    if (std::any_of(line.begin(), line.end(), [](char c) { return c <= ' ' || c > '~'; })) {
      return Wrong(which + " has a space, a control character or one outside of ASCII");
    }
    secrets.secrets_.emplace_back(line);
  }
  if (secrets.secrets_.empty()) return Wrong("no secret in it; `openssl rand -hex 32` makes one");
  return secrets;
}

Result<Secrets> Secrets::Read(const std::string& path) {
  const auto failed = [](int error) {
    return Error{std::strerror(error), error == EACCES || error == EPERM ? EX_NOPERM : EX_CONFIG};
  };
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return failed(errno);
  Buffer buffer;
  struct stat about {};
  int error = fstat(file, &about) == 0 ? 0 : errno;
  while (error == 0 && buffer.size < buffer.bytes.size()) {
    const ssize_t got = read(file, buffer.bytes.data() + buffer.size, buffer.bytes.size() - buffer.size);
    if (got == 0) break;
    if (got > 0) {
      buffer.size += static_cast<std::size_t>(got);
    } else if (errno != EINTR) {
      error = errno;
    }
  }
  close(file);
  if (error != 0) return failed(error);
  if (buffer.size == buffer.bytes.size()) return Wrong("too large for a file of secrets");
  auto secrets = Parse({buffer.bytes.data(), buffer.size});
  if (secrets && S_ISREG(about.st_mode) && (about.st_mode & 077) != 0) {
    char mode[8];
    std::snprintf(mode, sizeof(mode), "%04o", about.st_mode & 07777);
    secrets->open_mode_ = mode;
  }
  return secrets;
}

bool Secrets::Accept(std::string_view presented) const {
  bool accepted = false;
  for (const Secret& secret : secrets_) accepted = secret.Equals(presented) || accepted;
  return accepted;
}

bool Secrets::operator==(const Secrets& other) const {
  return std::equal(secrets_.begin(), secrets_.end(), other.secrets_.begin(), other.secrets_.end(),
                    [](const Secret& a, const Secret& b) { return a.Equals(b.Reveal()); });
}

bool SameSecrets(const std::shared_ptr<const Secrets>& a, const std::shared_ptr<const Secrets>& b) {
  return a == nullptr || b == nullptr ? a == b : *a == *b;
}

void ForbidCoreFiles() { prctl(PR_SET_DUMPABLE, 0); }

}  // namespace aphlict
