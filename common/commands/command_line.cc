#include "common/commands/command_line.h"

#include <algorithm>

#include "common/commands/table.h"
#include "common/config/options.h"

namespace aphlict::commands {

namespace {

constexpr double kMostSeconds = 86'400;
constexpr char kHidden[] = "";  // CLI11's group of what --help leaves out

class Declarer {
 public:
  Declarer(CLI::App& app, config::Role role, Options& options) : app_(app), role_(role), options_(options) {}

  void DeclareAll() {
    Status();
    Notify();
    Listen();
    Check();
    Config();
    CLI::App* const generate = app_.add_subcommand("generate", "Print a manual page, or a completion for a shell");
    generate->group(kHidden);
    generate->add_option("WHAT", options_.what, "What to print")
        ->type_name("man|bash|zsh|fish")
        ->required()
        ->check(CLI::IsMember({"man", "bash", "zsh", "fish"}));
  }

 private:
  CLI::App* Command(const char* name, const char* what, const char* more) {
    CLI::App* const command = app_.add_subcommand(name, what);
    command->footer(Wrapped(more, 100));
    return command;
  }

  // One value each time: what stands behind it is not its second.
  static CLI::Option* Repeatable(CLI::App* command, const char* name, std::vector<std::string>& values,
                                 const char* help) {
    return command->add_option(name, values, help)->allow_extra_args(false);
  }

  void Reaching(CLI::App* command, bool admin = true) {
    if (admin) {
      options_.admin = role_ == config::Role::kMaster ? "http://127.0.0.1:22281" : "http://127.0.0.1:22283";
      command->add_option("--admin", options_.admin, "The admin port of the node to ask. Default: " + options_.admin)
          ->type_name("URL");
      command
          ->add_option("--token-file", options_.token_file,
                       "The admin port's token, as in `admin.secret.file`. Default: none")
          ->type_name("FILE");
    }
    command->add_option("--ca", options_.ca, "Whose certificates are accepted (PEM). Default: the system's authorities")
        ->type_name("FILE");
    command->add_option("--timeout", options_.timeout, "How long to wait for an answer. Default: 5")
        ->type_name("SECONDS")
        ->check(CLI::Range(0.001, kMostSeconds));
  }

  void Instance(CLI::App* command) {
    command->add_option("--instance", options_.instance, "The instance. Default: `default`")->type_name("NAME");
  }

  void Origin(CLI::App* command) {
    command
        ->add_option("--origin", options_.origin,
                     "The page to connect as, for client ports that list `origins`. Default: none")
        ->type_name("URL");
  }

  void Status() {
    CLI::App* const command = Command(
        "status", "Show the tree of nodes below a node",
        "The columns: OUT, messages written to clients; LAG, messages that the node has not dealt with; "
        "LAG-TIME, since when it has not been level with the nodes above; UNSENT, bytes that wait for slow clients; "
        "GAPS, times that messages were missed; SINCE, how long it has been connected (the first line: up). A "
        "node that follows several is listed below each, with its figures once. What a node does not tell is -.");
    command->add_flag("--json", options_.json, "Print the status as it is");
    command
        ->add_option_function<std::vector<std::string>>(
            "--watch",
            [&options = options_](const std::vector<std::string>& values) {
              options.watch = true;
              if (values.empty() || values.front().empty()) return;
              if (!CLI::detail::lexical_cast(values.front(), options.watch_interval) ||
                  !(options.watch_interval >= 0.05 && options.watch_interval <= kMostSeconds)) {
                throw CLI::ValidationError("--watch", "expected a number of seconds, got " + values.front());
              }
            },
            "Show it again and again: every 2 seconds, or as often as is said")
        ->expected(0, 1)
        ->type_name("[SECONDS]");
    Instance(command);
    Reaching(command);
  }

  void Notify() {
    CLI::App* const command =
        Command("notify", "Publish a test message",
                "Pages take no notice of the type `test`. The answer comes when the message is in the master's "
                "history.");
    CLI::Option* const phid =
        Repeatable(command, "--phid", options_.phids, "Who gets it; may be given several times")->type_name("PHID");
    CLI::Option* const type =
        command->add_option("--type", options_.type, "The message's type. Default: test")->type_name("TYPE");
    command->add_option("--message", options_.message, "The whole message, in place of one that is made")
        ->type_name("JSON")
        ->excludes(phid)
        ->excludes(type);
    Instance(command);
    Reaching(command);
  }

  void Listen() {
    CLI::App* const command =
        Command("listen", "Subscribe as a page does, and print messages",
                "One of the URLs is picked at random, and another one when its node is lost; what was missed on the "
                "way is asked for. Each message is a line of stdout.");
    Repeatable(command, "URL", options_.urls, "Client ports: http, https, ws or wss; one or more")
        ->type_name("URL")
        ->required()
        ->allow_extra_args(true);
    Repeatable(command, "--phid", options_.phids, "What to subscribe to; may be given several times")
        ->type_name("PHID")
        ->required();
    command->add_option("--replay", options_.replay, "Begin with the messages of the last so many seconds")
        ->type_name("SECONDS")
        ->check(CLI::Range(0.0, kMostSeconds));
    command->add_option("--count", options_.count, "End after so many messages. Default: never")->type_name("NUMBER");
    command->add_flag("--time", options_.time, "Put the time of arrival before each message");
    Instance(command);
    Origin(command);
    Reaching(command, false);
  }

  void Check() {
    CLI::App* const command = Command(
        "check", "Check from here that the tree works",
        "Looks whether each client URL answers 501 to a plain GET, whether the node and those of --node answer with "
        "their status, and whether a message that is sent to the master arrives at each client URL, and when. The "
        "client URLs are the "
        "public ones that nodes tell, and those that are given. What could not be checked is said, and is no failure.");
    Repeatable(command, "--client", options_.clients, "A further client URL; may be given several times")
        ->type_name("URL");
    Repeatable(command, "--node", options_.nodes, "The admin port of another node; may be given several times")
        ->type_name("URL");
    Instance(command);
    Origin(command);
    Reaching(command);
  }

  void Config() {
    CLI::App* const command = Command("config", "Print the value of Phabricator's notification.servers for the tree",
                                      "Notes go to stderr. With --from no node is asked.");
    command
        ->add_option("--from", options_.from,
                     "Print instead the configuration of a master that replaces Aphlict with this file")
        ->type_name("FILE");
    Reaching(command);
  }

  CLI::App& app_;
  config::Role role_;
  Options& options_;
};

}  // namespace

CommandLine MakeCommandLine(config::Role role) {
  CommandLine line;
  line.app = std::make_unique<CLI::App>(config::Purpose(role), config::ProgramName(role));
  line.options = std::make_unique<Options>();
  auto node_options = std::make_shared<config::Options>();
  config::Declare(*line.app, role, *node_options);
  line.node_options = std::move(node_options);
  Declarer(*line.app, role, *line.options).DeclareAll();
  line.app->require_subcommand(0, 1);
  return line;
}

bool IsCommand(config::Role role, int argc, const char* const* argv) {
  if (argc < 2) return false;
  const CommandLine line = MakeCommandLine(role);
  return !line.app->get_subcommands([&](const CLI::App* each) { return each->get_name() == argv[1]; }).empty();
}

std::vector<const CLI::App*> ShownCommands(const CLI::App& app) {
  return app.get_subcommands([](const CLI::App* each) { return each->get_group() != kHidden; });
}

std::string ListOfCommands(config::Role role) {
  const CommandLine line = MakeCommandLine(role);
  std::string text = "Commands, in place of running the node (" + config::ProgramName(role) + " COMMAND --help):\n";
  for (const CLI::App* command : ShownCommands(*line.app)) {
    std::string name = command->get_name();
    name.resize(std::max<std::size_t>(name.size() + 1, 28), ' ');
    text += "  " + name + command->get_description() + "\n";
  }
  return text;
}

}  // namespace aphlict::commands
