#include "common/base/secret.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <type_traits>
#include <utility>

namespace aphlict {
namespace {

constexpr std::string_view kOne = "0123456789abcdef";
constexpr std::string_view kTwo = "fedcba9876543210";

std::string Problem(std::string_view text) {
  const auto secrets = Secrets::Parse(text);
  if (secrets) return "none";
  CHECK(secrets.error().code == EX_CONFIG);
  return secrets.error().text;
}

// A file that goes with the test.
struct File {
  explicit File(std::string_view text, int mode = 0600) {
    const int descriptor = mkstemp(path.data());
    REQUIRE(descriptor >= 0);
    REQUIRE(write(descriptor, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
    REQUIRE(fchmod(descriptor, static_cast<mode_t>(mode)) == 0);
    close(descriptor);
  }
  ~File() { std::filesystem::remove(path); }
  std::string path = (std::filesystem::temp_directory_path() / "secret_test.XXXXXX").string();
};

TEST_CASE("a secret equals itself and nothing else") {
  const Secret secret(kOne);
  CHECK(secret.Reveal() == kOne);
  CHECK(secret.Equals(kOne));
  for (const char* other : {"", "0", "0123456789abcdeF", "0123456789abcde", "0123456789abcdef0", "1123456789abcdef"}) {
    CAPTURE(other);
    CHECK_FALSE(secret.Equals(other));
  }
  CHECK_FALSE(secret.Equals({"0123456789abcdef\0", 17}));
}

TEST_CASE("a secret cannot be copied, and what it was moved from is empty of it") {
  CHECK_FALSE(std::is_copy_constructible_v<Secret>);
  CHECK_FALSE(std::is_copy_constructible_v<Secrets>);
  Secret first(kOne);
  const Secret second(std::move(first));
  CHECK(second.Equals(kOne));
}

TEST_CASE("a file holds one secret, or two, of which the first is presented") {
  auto one = Secrets::Parse("0123456789abcdef\n");
  REQUIRE(one);
  CHECK(one->size() == 1);
  CHECK(one->Accept(kOne));
  CHECK_FALSE(one->Accept(kTwo));
  auto two = Secrets::Parse("0123456789abcdef\nfedcba9876543210");
  REQUIRE(two);
  CHECK(two->size() == 2);
  CHECK(two->RevealFirst() == kOne);
  CHECK(two->Accept(kOne));
  CHECK(two->Accept(kTwo));
  CHECK_FALSE(two->Accept("0123456789abcdef\nfedcba9876543210"));
  CHECK_FALSE(two->Accept(""));
}

TEST_CASE("white space at a line's end and empty lines are no part of a secret") {
  for (const char* text : {"0123456789abcdef", "0123456789abcdef\r\n", "0123456789abcdef \t\n",
                           "\n\n0123456789abcdef\n\n", "  \n0123456789abcdef"}) {
    CAPTURE(text);
    auto secrets = Secrets::Parse(text);
    REQUIRE(secrets);
    CHECK(secrets->size() == 1);
    CHECK(secrets->RevealFirst() == kOne);
  }
}

TEST_CASE("what is no file of secrets is said without what it holds") {
  CHECK(Problem("") == "no secret in it; `openssl rand -hex 32` makes one");
  CHECK(Problem(" \n\t\r\n") == "no secret in it; `openssl rand -hex 32` makes one");
  CHECK(Problem("0123456789abcde\n") == "secret 1 is shorter than 16 bytes; `openssl rand -hex 32` makes one");
  CHECK(Problem("0123456789abcdef\nshort") == "secret 2 is shorter than 16 bytes; `openssl rand -hex 32` makes one");
  CHECK(Problem("0123456789abcdef\n0123456789abcdef\n0123456789abcdef") == "more than two secrets");
  CHECK(Problem(std::string(1024, 'x')) == "none");
  CHECK(Problem(std::string(1025, 'x')) == "secret 1 is longer than 1024 bytes");
  const char* characters = "secret 1 has a space, a control character or one outside of ASCII";
  CHECK(Problem(" 0123456789abcdef") == characters);
  CHECK(Problem("01234567 89abcdef") == characters);
  CHECK(Problem("01234567\x01"
                "89abcdef") == characters);
  CHECK(Problem("01234567\xc3\xa9"
                "89abcdef") == characters);
}

TEST_CASE("a file is read whole, and its mode is looked at") {
  const File own("0123456789abcdef\nfedcba9876543210\n", 0600);
  auto secrets = Secrets::Read(own.path);
  REQUIRE(secrets);
  CHECK(secrets->size() == 2);
  CHECK(secrets->open_mode() == "");
  for (const auto& [mode, text] : {std::pair{0644, "0644"}, std::pair{0640, "0640"}, std::pair{0602, "0602"}}) {
    const File open("0123456789abcdef", mode);
    auto read = Secrets::Read(open.path);
    REQUIRE(read);
    CHECK(read->open_mode() == text);
  }
}

TEST_CASE("a file that cannot be read is said so") {
  auto missing = Secrets::Read("/nowhere/secret");
  REQUIRE_FALSE(missing);
  CHECK(missing.error().text == "No such file or directory");
  CHECK(missing.error().code == EX_CONFIG);
  auto folder = Secrets::Read("/tmp");
  REQUIRE_FALSE(folder);
  CHECK(folder.error().text == "Is a directory");
  const File large(std::string(10'000, '\n'));
  auto too_large = Secrets::Read(large.path);
  REQUIRE_FALSE(too_large);
  CHECK(too_large.error().text == "too large for a file of secrets");
}

}  // namespace
}  // namespace aphlict
