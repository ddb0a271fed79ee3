#include "common/commands/phabricator.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "common/config/load.h"

namespace aphlict::commands {
namespace {

TreeNode Node(const std::string& name, const std::string& role, int depth, const std::string& url) {
  TreeNode node;
  node.name = name;
  node.id = name;
  node.role = role;
  node.depth = depth;
  node.url = url;
  return node;
}

http::Url Url(const std::string& text) {
  const auto url = http::ParseUrl(text);
  REQUIRE(url);
  return *url;
}

bool Mentions(const std::vector<std::string>& lines, const std::string& text) {
  for (const std::string& line : lines) {
    if (line.find(text) != std::string::npos) return true;
  }
  return false;
}

TEST_CASE("the master is the admin entry, and each public URL a client entry") {
  const auto proposal =
      NotificationServers({Node("m", "master", 0, ""), Node("a", "repeater", 1, "wss://a.example.com/ws/"),
                           Node("b", "repeater", 2, "http://b.example.com:22280")},
                          Url("http://10.0.0.1:22281"));
  CHECK(proposal.text ==
        "[\n"
        "  {\"type\": \"admin\", \"host\": \"10.0.0.1\", \"port\": 22281, \"protocol\": \"http\"},\n"
        "  {\"type\": \"client\", \"host\": \"a.example.com\", \"port\": 443, \"protocol\": \"https\", \"path\": "
        "\"/ws/\"},\n"
        "  {\"type\": \"client\", \"host\": \"b.example.com\", \"port\": 22280, \"protocol\": \"http\"}\n"
        "]\n");
  CHECK(proposal.notes.empty());
}

TEST_CASE("a URL that several nodes share is there once, and a node that is listed twice too") {
  TreeNode again = Node("c", "repeater", 2, "https://other.example.com/");
  again.again = true;
  const auto proposal =
      NotificationServers({Node("m", "master", 0, ""), Node("a", "repeater", 1, "https://one.example.com/"),
                           Node("b", "repeater", 1, "https://one.example.com"), again},
                          Url("https://[fd00::1]:22281"));
  CHECK(proposal.text ==
        "[\n"
        "  {\"type\": \"admin\", \"host\": \"[fd00::1]\", \"port\": 22281, \"protocol\": \"https\"},\n"
        "  {\"type\": \"client\", \"host\": \"one.example.com\", \"port\": 443, \"protocol\": \"https\"}\n"
        "]\n");
}

TEST_CASE("what is left out is said") {
  const auto proposal = NotificationServers(
      {Node("m", "master", 0, ""), Node("shy", "repeater", 1, ""), Node("odd", "repeater", 1, "gopher://x/")},
      Url("http://127.0.0.1:22281"));
  CHECK(Mentions(proposal.notes, "shy is left out"));
  CHECK(Mentions(proposal.notes, "odd is left out"));
  CHECK(Mentions(proposal.notes, "no `client` entry"));
  CHECK(Mentions(proposal.notes, "Phabricator on this host"));
}

TEST_CASE("a repeater is no admin entry") {
  const auto proposal =
      NotificationServers({Node("r", "repeater", 0, "https://r.example.com/")}, Url("http://127.0.0.1:22283"));
  CHECK(proposal.text.find("admin") == std::string::npos);
  CHECK(Mentions(proposal.notes, "the `admin` entry is missing"));
}

constexpr char kAphlict[] = R"({
  "servers": [
    {"type": "client", "port": 22280, "listen": "0.0.0.0", "ssl.key": null, "ssl.cert": null, "ssl.chain": null},
    {"type": "admin", "port": 22281, "ssl.key": null, "ssl.cert": null, "ssl.chain": null}
  ],
  "logs": [{"path": "/var/log/aphlict.log"}],
  "cluster": [{"host": "10.0.0.2", "port": 22281, "protocol": "http"}],
  "memory.hint": 512,
  "pidfile": "/var/tmp/aphlict/pid/aphlict.pid"
})";

TEST_CASE("Aphlict's file becomes that of a master") {
  const auto proposal = ConvertAphlict("aphlict.json", kAphlict);
  REQUIRE(proposal.problems.empty());
  CHECK(proposal.text == R"({
  "servers": [
    {"type": "client", "port": 22280, "listen": "0.0.0.0"},
    {"type": "admin", "listen": "127.0.0.1", "port": 22281},
    {"type": "repeater", "listen": "127.0.0.1", "port": 22282}
  ],
  "cluster": [
    {"host": "10.0.0.2", "port": 22281, "protocol": "http"}
  ]
}
)");
  CHECK(Mentions(proposal.notes, "memory.hint"));
  CHECK(Mentions(proposal.notes, "no `listen`"));
  CHECK(Mentions(proposal.notes, "a feed for repeaters"));
  CHECK(Mentions(proposal.notes, "logs: left out"));
  CHECK(Mentions(proposal.notes, "pidfile: left out"));
}

TEST_CASE("what was converted is accepted, without a further word, and converts to itself") {
  const auto once = ConvertAphlict("aphlict.json", kAphlict);
  config::Settings settings;
  std::vector<std::string> problems;
  config::ReadFile("new.json", once.text, &settings, &problems);
  CHECK(problems.empty());
  CHECK(settings.notices.empty());
  const auto twice = ConvertAphlict("new.json", once.text);
  CHECK(twice.text == once.text);
  REQUIRE(twice.notes.size() == 1);
  CHECK(Mentions(twice.notes, "serves browsers on port 22280"));
}

TEST_CASE("where browsers go on to be served is said, and nothing of what was not there") {
  const auto notes = [](const std::string& port) {
    return ConvertAphlict(
               "aphlict.json",
               R"({"logs": [], "pidfile": null, "servers": [{"type": "client", "listen": "::")" + port + "}]}")
        .notes;
  };
  CHECK(Mentions(notes(R"(, "port": 8000)"), "serves browsers on port 8000"));
  CHECK(Mentions(notes(""), "serves browsers on port 22280"));
  CHECK(!Mentions(notes(R"(, "port": null)"), "serves browsers"));
  CHECK(!Mentions(notes(""), "left out"));
}

TEST_CASE("a port that Aphlict's file has for something else is not taken for the feed") {
  const auto proposal =
      ConvertAphlict("aphlict.json", R"({"servers": [{"type": "client", "port": 22282, "listen": "::"}]})");
  CHECK(proposal.text.find(R"({"type": "repeater", "port": null})") != std::string::npos);
  CHECK(Mentions(proposal.notes, "port 22282 is taken"));
}

TEST_CASE("a file that would not be accepted is not converted") {
  for (const char* text : {"[", R"({"servers": [{"type": "chat"}]})", R"({"sevrers": []})"}) {
    const auto proposal = ConvertAphlict("aphlict.json", text);
    CHECK(!proposal.problems.empty());
    CHECK(proposal.text.empty());
  }
}

}  // namespace
}  // namespace aphlict::commands
