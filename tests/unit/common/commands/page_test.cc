#include "common/commands/page.h"

#include <doctest/doctest.h>

#include <string>

namespace aphlict::commands {
namespace {

std::string Path(const std::string& url, const std::string& instance) {
  const auto parsed = http::ParseUrl(url);
  REQUIRE(parsed);
  const auto with = WithInstance(*parsed, instance);
  return with ? with->path : "error";
}

TEST_CASE("pages of an instance have its name in the path") {
  CHECK(Path("ws://x/", "") == "/");
  CHECK(Path("ws://x/ws", "") == "/ws");
  CHECK(Path("ws://x/", "dog") == "/~dog/");
  CHECK(Path("ws://x", "dog") == "/~dog/");
  CHECK(Path("ws://x/ws", "dog") == "/ws/~dog/");
  CHECK(Path("ws://x/ws/?a=b", "dog") == "/ws/~dog/?a=b");
}

TEST_CASE("a name that would not arrive as it is is refused") {
  for (const char* name : {"a b", "a/b", "~", "a?b", "a#b", "a\n"}) CHECK(Path("ws://x/", name) == "error");
}

}  // namespace
}  // namespace aphlict::commands
