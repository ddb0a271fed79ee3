// Secrets that let a peer in: read from a file, compared in constant time, wiped from memory, and never printed.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"

namespace aphlict {

// One secret. It has no text form and cannot be copied, so that it gets nowhere by accident.
class Secret {
 public:
  explicit Secret(std::string_view text);
  ~Secret();
  Secret(Secret&&) noexcept = default;
  Secret& operator=(Secret&&) = delete;

  // Whether it is `presented`. Takes the same time for every text of one length: both are hashed (SHA-256), and all of
  // the hashes is compared.
  bool Equals(std::string_view presented) const;
  // For whoever presents it to a peer. Borrowed from the secret; nobody logs it.
  std::string_view Reveal() const { return {text_.get(), size_}; }

 private:
  std::unique_ptr<char[]> text_;
  std::size_t size_;
};

// What a file of secrets holds: one, or two while it is being changed. Either lets a peer in; the first is presented.
class Secrets {
 public:
  static constexpr std::size_t kLeastBytes = 16;
  static constexpr std::size_t kMostBytes = 1024;  // so that it fits into a request's head

  Secrets(Secrets&&) = default;
  Secrets(const Secrets&) = delete;

  // One secret in each line; white space at a line's end and empty lines do not count. Each is printable ASCII without
  // spaces, since it travels in a header. Errors: none, more than two, too short or too long, other characters. No
  // error quotes what the file holds. `code` is an exit code of sysexits(3).
  static Result<Secrets> Parse(std::string_view text);
  // Errors as Parse(), and that the file cannot be read; without the file's name.
  static Result<Secrets> Read(const std::string& path);

  // Whether `presented` is one of them. All are looked at.
  bool Accept(std::string_view presented) const;
  std::string_view RevealFirst() const { return secrets_.front().Reveal(); }
  std::size_t size() const { return secrets_.size(); }
  // Whether both hold the same, in the same order.
  bool operator==(const Secrets& other) const;
  // Whether others than its owner may read the file (its mode): "0644", or empty.
  const std::string& open_mode() const { return open_mode_; }

 private:
  Secrets() = default;

  std::vector<Secret> secrets_;
  std::string open_mode_;
};

// Whether both are none, or hold the same.
bool SameSecrets(const std::shared_ptr<const Secrets>& a, const std::shared_ptr<const Secrets>& b);

// Keeps this process out of core files, and away from other processes of the same user (ptrace(2), /proc/PID/mem).
// Secrets pass through more memory than their own: headers, buffers of sockets, keys inside of OpenSSL.
void ForbidCoreFiles();

}  // namespace aphlict
