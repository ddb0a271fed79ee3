#include "common/commands/command_line.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace aphlict::commands {
namespace {

using config::Role;

bool Names(const std::vector<const char*>& arguments, Role role = Role::kMaster) {
  return IsCommand(role, static_cast<int>(arguments.size()), arguments.data());
}

CommandLine Parsed(Role role, std::vector<const char*> arguments) {
  CommandLine line = MakeCommandLine(role);
  arguments.insert(arguments.begin(), "program");
  line.app->parse(static_cast<int>(arguments.size()), arguments.data());
  return line;
}

bool IsWrong(const std::vector<const char*>& arguments) {
  try {
    Parsed(Role::kMaster, arguments);
  } catch (const CLI::ParseError&) {
    return true;
  }
  return false;
}

TEST_CASE("only the first argument can be a command") {
  CHECK(Names({"program", "status"}));
  CHECK(Names({"program", "generate", "man"}, Role::kRepeater));
  CHECK(!Names({"program"}));
  CHECK(!Names({"program", "--name", "status"}));
  CHECK(!Names({"program", "--help"}));
  CHECK(!Names({"program", "statuses"}));
}

TEST_CASE("a node is asked at its role's own port") {
  CHECK(Parsed(Role::kMaster, {"status"}).options->admin == "http://127.0.0.1:22281");
  CHECK(Parsed(Role::kRepeater, {"status"}).options->admin == "http://127.0.0.1:22283");
  CHECK(Parsed(Role::kMaster, {"status", "--admin", "https://x"}).options->admin == "https://x");
}

TEST_CASE("--watch may have a time behind it") {
  CHECK(!Parsed(Role::kMaster, {"status"}).options->watch);
  const auto plain = Parsed(Role::kMaster, {"status", "--watch"});
  CHECK(plain.options->watch);
  CHECK(plain.options->watch_interval == 2);
  const auto timed = Parsed(Role::kMaster, {"status", "--watch", "0.5", "--json"});
  CHECK(timed.options->watch_interval == 0.5);
  CHECK(timed.options->json);
  CHECK(IsWrong({"status", "--watch", "soon"}));
  CHECK(IsWrong({"status", "--watch", "0"}));
}

TEST_CASE("URLs and PHIDs may be several, in any order") {
  const auto line =
      Parsed(Role::kMaster, {"listen", "ws://a", "--phid", "PHID-1", "ws://b", "--phid", "PHID-2", "--count", "3"});
  CHECK(line.options->urls == std::vector<std::string>{"ws://a", "ws://b"});
  CHECK(line.options->phids == std::vector<std::string>{"PHID-1", "PHID-2"});
  CHECK(line.options->count == 3);
  CHECK(IsWrong({"listen", "--phid", "PHID-1"}));
  CHECK(IsWrong({"listen", "ws://a"}));
}

TEST_CASE("a whole message leaves nothing to be said about it") {
  CHECK(Parsed(Role::kMaster, {"notify", "--message", "{}"}).options->message == "{}");
  CHECK(IsWrong({"notify", "--message", "{}", "--phid", "PHID-1"}));
  CHECK(IsWrong({"notify", "--message", "{}", "--type", "test"}));
}

TEST_CASE("a node's options are no options of a command") { CHECK(IsWrong({"status", "--config", "file"})); }

TEST_CASE("--help lists the commands that are for people") {
  const std::string text = ListOfCommands(Role::kMaster);
  for (const char* name : {"status", "notify", "listen", "check", "config"}) {
    CHECK(text.find(std::string("\n  ") + name + " ") != std::string::npos);
  }
  CHECK(text.find("generate") == std::string::npos);
}

}  // namespace
}  // namespace aphlict::commands
