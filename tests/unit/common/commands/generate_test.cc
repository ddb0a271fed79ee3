#include "common/commands/generate.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "common/commands/command_line.h"

namespace aphlict::commands {
namespace {

using config::Role;

// All options of the node and of its commands, without the dashes.
std::vector<std::string> AllOptions(Role role) {
  std::vector<std::string> names;
  const CommandLine line = MakeCommandLine(role);
  std::vector<const CLI::App*> apps = ShownCommands(*line.app);
  apps.push_back(line.app.get());
  for (const CLI::App* app : apps) {
    for (const CLI::Option* option : app->get_options()) {
      for (const std::string& name : option->get_lnames()) names.push_back(name);
    }
  }
  return names;
}

std::string WithoutEscapes(const std::string& text) {
  std::string out;
  for (const char each : text) {
    if (each != '\\') out += each;
  }
  return out;
}

TEST_CASE("every option is in the manual page and in each completion") {
  for (const Role role : {Role::kMaster, Role::kRepeater}) {
    for (const char* what : {"man", "bash", "zsh", "fish"}) {
      const std::string text = WithoutEscapes(Generate(role, what));
      for (const std::string& name : AllOptions(role)) {
        CAPTURE(what);
        CAPTURE(name);
        CHECK(text.find((what == std::string("fish") ? " -l " : "--") + name) != std::string::npos);
      }
    }
  }
}

TEST_CASE("a manual page names the roles' own options only") {
  CHECK(Generate(Role::kMaster, "man").find("\\-\\-durability") != std::string::npos);
  CHECK(Generate(Role::kRepeater, "man").find("\\-\\-durability") == std::string::npos);
}

TEST_CASE("completions know the words that a value may be") {
  CHECK(Generate(Role::kMaster, "bash").find("--durability) COMPREPLY=($(compgen -W 'process power'") !=
        std::string::npos);
  CHECK(Generate(Role::kMaster, "zsh").find("(process power)") != std::string::npos);
  CHECK(Generate(Role::kMaster, "fish").find("-l durability") != std::string::npos);
}

TEST_CASE("what is not for people is not completed") {
  for (const char* what : {"man", "bash", "zsh", "fish"}) {
    CHECK(Generate(Role::kMaster, what).find("generate") == std::string::npos);
  }
}

}  // namespace
}  // namespace aphlict::commands
