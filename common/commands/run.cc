#include "common/commands/run.h"

#include <sysexits.h>

#include <cstdio>

#include "common/commands/actions.h"
#include "common/commands/command_line.h"
#include "common/commands/generate.h"
#include "common/commands/session.h"
#include "common/config/options.h"

namespace aphlict::commands {

namespace {

int Fail(const std::string& program, const Error& error) {
  std::fprintf(stderr, "%s: %s\n", program.c_str(), error.text.c_str());
  return error.code == 0 ? EX_OSERR : error.code;
}

using Action = Result<int> (*)(Session&, const Options&);

Action ActionOf(const Options& options) {
  if (options.command == "status") return ShowStatus;
  if (options.command == "notify") return Notify;
  if (options.command == "listen") return Listen;
  if (options.command == "check") return Check;
  return options.from.empty() ? PrintServers : ConvertFile;
}

}  // namespace

std::optional<int> Run(config::Role role, int argc, const char* const* argv) {
  if (!IsCommand(role, argc, argv)) return std::nullopt;
  CommandLine line = MakeCommandLine(role);
  Options& options = *line.options;
  options.command = argv[1];
  const std::string program = config::ProgramName(role) + " " + options.command;
  const std::string hint = "; " + program + " --help lists the options";
  if (const std::string option = config::OptionWithoutValue(argc, argv); !option.empty()) {
    return Fail(program, {option + " has no value" + hint, EX_USAGE});
  }
  try {
    line.app->parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    std::fputs(line.app->help().c_str(), stdout);
    return EX_OK;
  } catch (const CLI::ParseError& error) {
    return Fail(program, {error.what() + hint, EX_USAGE});
  }
  if (options.command == "generate") {
    std::fputs(Generate(role, options.what).c_str(), stdout);
    return std::fflush(stdout) == 0 ? EX_OK : EX_IOERR;
  }
  const auto session = Session::Open(program, options);
  if (!session) return Fail(program, session.error());
  const auto code = ActionOf(options)(**session, options);
  (*session)->Progress("");
  return code ? *code : Fail(program, code.error());
}

}  // namespace aphlict::commands
