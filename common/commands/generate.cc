#include "common/commands/generate.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "common/commands/command_line.h"
#include "common/commands/table.h"
#include "common/config/options.h"

namespace aphlict::commands {

namespace {

// When what the pages say by themselves, below, was last changed.
constexpr char kDate[] = "2026-11-26";

// An option as it is written down: "--config", "FILE", and what it does.
struct Declared {
  std::string name;
  std::string value;  // empty: it takes none
  std::string what;
  bool positional = false;
  bool required = false;
  bool repeated = false;
  bool optional_value = false;
  std::vector<std::string> words;  // where its value is one of a few: which
};

std::vector<std::string> Split(const std::string& text, char at) {
  std::vector<std::string> parts(1);
  for (const char each : text) {
    if (each == at) {
      parts.emplace_back();
    } else {
      parts.back() += each;
    }
  }
  return parts;
}

std::vector<Declared> OptionsOf(const CLI::App& app) {
  std::vector<Declared> all;
  for (const CLI::Option* option : app.get_options()) {
    Declared declared;
    declared.positional = option->get_lnames().empty();
    declared.name = declared.positional ? option->get_name() : "--" + option->get_lnames().front();
    declared.what = option->get_description();
    declared.required = option->get_required();
    declared.repeated = option->get_items_expected_max() > 1;
    if (option->get_items_expected_max() > 0) {
      // CLI11 puts what a check accepts behind the type's name.
      std::string type = option->get_type_name();
      for (const char* check : {":INT in [", ":FLOAT in [", ":{"}) type.resize(std::min(type.size(), type.find(check)));
      declared.value = type;
      if (type.size() > 2 && type.front() == '[') {
        declared.value = type.substr(1, type.size() - 2);
        declared.optional_value = true;
      }
      if (type.find('|') != std::string::npos) declared.words = Split(type, '|');
    }
    all.push_back(std::move(declared));
  }
  return all;
}

std::string Upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char each) { return each >= 'a' && each <= 'z' ? static_cast<char>(each - 'a' + 'A') : each; });
  return text;
}

// Text as roff takes it: its own characters escaped, hyphens as they are typed, no request at a line's begin.
std::string Roff(std::string_view text) {
  std::string out;
  for (const char each : text) {
    if (each == '\\') {
      out += "\\e";
    } else if (each == '-') {
      out += "\\-";
    } else if ((each == '.' || each == '\'') && (out.empty() || out.back() == '\n')) {
      out += std::string("\\&") + each;
    } else {
      out += each;
    }
  }
  return out;
}

// A paragraph, in lines that mandoc does not find too long. What stands between backquotes is bold, as a name that is
// typed.
std::string RoffText(const std::string& text) {
  std::string out;
  bool bold = false;
  for (const std::string& part : Split(Wrapped(text, 60), '`')) {
    out += bold ? "\\fB" + Roff(part) + "\\fR" : Roff(part);
    bold = !bold;
  }
  return out;
}

class Manual {
 public:
  Manual(config::Role role, const CLI::App& app) : role_(role), app_(app), name_(config::ProgramName(role)) {}

  std::string Write() {
    Line(".TH " + Roff(Upper(name_)) + " 8 " + kDate + " \"Aphlict Relay " APHLICT_RELAY_VERSION "\"");
    Section("NAME");
    Line(Roff(name_) + " \\- " +
         (role_ == config::Role::kMaster ? "takes the notifications of Phabricator and feeds repeaters"
                                         : "passes the notifications of a master on to browsers"));
    Section("SYNOPSIS");
    Synopsis();
    Section("DESCRIPTION");
    Line(RoffText(app_.get_description()));
    Line("Without a command, the node runs in the foreground until a signal ends it.");
    Section("OPTIONS");
    Options(app_);
    Section("COMMANDS");
    Line("Each talks to running nodes, and exits.");
    for (const CLI::App* command : ShownCommands(app_)) Command(*command);
    Further();
    return std::move(text_);
  }

 private:
  void Line(const std::string& line) { text_ += line + "\n"; }
  void Section(const char* title) { Line(std::string(".SH ") + title); }

  void Synopsis() {
    Line(".B " + Roff(name_));
    Line("[\\fIOPTION\\fR ...]");
    for (const CLI::App* command : ShownCommands(app_)) {
      Line(".br");
      Line(".B " + Roff(name_ + " " + command->get_name()));
      Line("[\\fIOPTION\\fR ...]" + Positionals(*command));
    }
  }

  static std::string Positionals(const CLI::App& command) {
    std::string text;
    for (const Declared& option : OptionsOf(command)) {
      if (option.positional) text += " \\fI" + Roff(option.name) + "\\fR" + (option.repeated ? " ..." : "");
    }
    return text;
  }

  void Options(const CLI::App& app) {
    for (const Declared& option : OptionsOf(app)) {
      Line(".TP");
      if (option.positional) {
        Line("\\fI" + Roff(option.name) + "\\fR");
      } else {
        const std::string value = option.value.empty() ? "" : "\\fI" + Roff(option.value) + "\\fR";
        Line("\\fB" + Roff(option.name) + "\\fR" +
             (value.empty()           ? ""
              : option.optional_value ? " [" + value + "]"
                                      : " " + value));
      }
      Line(RoffText(option.what) + ".");
    }
  }

  void Command(const CLI::App& command) {
    Line(".SS " + Roff(command.get_name()));
    Line(RoffText(command.get_description()) + ".");
    if (!command.get_footer().empty()) Line(RoffText(command.get_footer()));
    Options(command);
  }

  void Item(const std::string& term, const std::string& what) {
    Line(".TP");
    Line("\\fB" + Roff(term) + "\\fR");
    Line(RoffText(what));
  }

  void Further() {
    Section("SIGNALS");
    Item("SIGTERM", "Drains: closes the clients one after the other, and exits. A second one exits at once.");
    Item("SIGINT", "Closes the clients at once, and exits.");
    Item("SIGHUP", "Takes the configuration anew, all of it or nothing, and opens the log files anew.");
    Item("SIGUSR1", "Opens the log files anew.");
    Item("SIGUSR2", "Begins a drain that does not exit, and ends it.");
    Section("EXIT STATUS");
    Line("Those of\n.BR sysexits (3).");
    Item("0", "All is well.");
    Item("1", "Something that `check` looks at is not well.");
    Item("64", "A wrong option.");
    Item("65", "The node does not take the message, or an input is wrong.");
    Item("66", "A file that cannot be read.");
    Item("69", "A node cannot be reached or does not serve; an address is in use.");
    Item("71", "A fault of the system.");
    Item("74", "What was printed could not be written.");
    Item("76", "What answers is not a node.");
    Item("77", "Permission: of a file, or by a node.");
    Item("78", "A wrong configuration.");
    Section("FILES");
    Item(role_ == config::Role::kMaster ? "/etc/aphlict-relay/master.json" : "/etc/aphlict-relay/repeater.json",
         "The configuration that the systemd unit names.");
    Section("SEE ALSO");
    Line(role_ == config::Role::kMaster ? ".BR aphlict\\-repeater (8)" : ".BR aphlict\\-master (8)");
  }

  config::Role role_;
  const CLI::App& app_;
  std::string name_;
  std::string text_;
};

// In single quotes, for any of the shells.
std::string ShellQuoted(std::string_view text) {
  std::string out = "'";
  for (const char each : text) out += each == '\'' ? std::string("'\\''") : std::string(1, each);
  return out + "'";
}

std::string FunctionName(const std::string& program) {
  std::string name = "_" + program;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

std::string Joined(const std::vector<std::string>& words, const char* between) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : between) + word;
  return text;
}

// The names of options, and those among them whose value is a file, a folder, one of some words, or something else.
struct Completed {
  std::vector<std::string> names, files, folders, others;
  std::vector<Declared> choices;

  explicit Completed(const CLI::App& app) {
    for (const Declared& option : OptionsOf(app)) {
      if (option.positional) continue;
      names.push_back(option.name);
      if (option.value.empty() || option.optional_value) continue;
      if (!option.words.empty()) {
        choices.push_back(option);
      } else {
        (option.value == "FILE" ? files : option.value == "DIR" ? folders : others).push_back(option.name);
      }
    }
  }
};

std::string BashCase(const CLI::App& app, const std::vector<std::string>& commands) {
  const Completed completed(app);
  std::string text = "      case $before in\n";
  const auto add = [&](const std::vector<std::string>& names, const std::string& what) {
    if (!names.empty()) text += "        " + Joined(names, "|") + ") " + what + "; return ;;\n";
  };
  add(completed.files, "COMPREPLY=($(compgen -f -- \"$word\"))");
  add(completed.folders, "COMPREPLY=($(compgen -d -- \"$word\"))");
  for (const Declared& choice : completed.choices) {
    add({choice.name}, "COMPREPLY=($(compgen -W " + ShellQuoted(Joined(choice.words, " ")) + " -- \"$word\"))");
  }
  add(completed.others, "COMPREPLY=()");
  text += "      esac\n";
  std::vector<std::string> words = completed.names;
  text += "      words=" + ShellQuoted(Joined(words, " ")) + "\n";
  if (!commands.empty()) {
    text += "      [ \"$COMP_CWORD\" -eq 1 ] && words=\"$words \"" + ShellQuoted(Joined(commands, " ")) + "\n";
  }
  return text;
}

std::string Bash(const CLI::App& app, const std::string& program) {
  std::vector<std::string> names;
  for (const CLI::App* command : ShownCommands(app)) names.push_back(command->get_name());
  std::string text = "# bash completion for " + program + "\n" + FunctionName(program) +
                     "() {\n  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command= words=\n"
                     "  # readline takes = for a word of its own\n"
                     "  if [ \"$word\" = = ]; then word=; "
                     "elif [ \"$before\" = = ]; then before=${COMP_WORDS[COMP_CWORD-2]}; fi\n"
                     "  [ \"$COMP_CWORD\" -gt 1 ] && command=${COMP_WORDS[1]}\n  case $command in\n";
  for (const CLI::App* command : ShownCommands(app)) {
    text += "    " + command->get_name() + ")\n" + BashCase(*command, {}) + "      ;;\n";
  }
  text += "    *)\n" + BashCase(app, names) + "      ;;\n  esac\n";
  text += "  COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n}\n";
  return text + "complete -F " + FunctionName(program) + " " + program + "\n";
}

// A specification for zsh's _arguments: '*--name=[what it does]:VALUE:_files'.
std::string ZshArgument(const Declared& option) {
  std::string what;
  for (const char each : option.what) {
    if (each == '[' || each == ']' || each == '\\' || each == ':') what += '\\';
    what += each;
  }
  const std::string action = option.value == "FILE"  ? "_files"
                             : option.value == "DIR" ? "_files -/"
                             : !option.words.empty() ? "(" + Joined(option.words, " ") + ")"
                                                     : " ";
  std::string value;
  for (const char each : option.value) value += each == ':' ? std::string("\\:") : std::string(1, each);
  if (option.positional) return ShellQuoted((option.repeated ? "*:" : ":") + option.name + ":" + action);
  std::string text = option.repeated ? "*" : "";
  text += option.name + (option.value.empty() ? "" : "=") + "[" + what + "]";
  if (!option.value.empty()) text += (option.optional_value ? "::" : ":") + value + ":" + action;
  return ShellQuoted(text);
}

std::string ZshArguments(const CLI::App& app, const std::string& more) {
  std::string text = "_arguments -S";
  for (const Declared& option : OptionsOf(app)) text += " \\\n        " + ZshArgument(option);
  return text + more + "\n";
}

std::string Zsh(const CLI::App& app, const std::string& program) {
  const std::string name = FunctionName(program);
  std::string text = "#compdef " + program + "\n" + name + "() {\n  local -a commands=(\n";
  for (const CLI::App* command : ShownCommands(app)) {
    text += "    " + ShellQuoted(command->get_name() + ":" + command->get_description()) + "\n";
  }
  text += "  )\n  if (( CURRENT > 2 )); then\n    case ${words[2]} in\n";
  for (const CLI::App* command : ShownCommands(app)) {
    text += "      " + command->get_name() + ")\n        shift words\n        (( CURRENT-- ))\n        " +
            ZshArguments(*command, "") + "        return ;;\n";
  }
  text += "    esac\n  elif [[ ${words[2]} != -* ]]; then\n    _describe command commands\n    return\n  fi\n  " +
          ZshArguments(app, "") + "}\n";
  return text + name + " \"$@\"\n";
}

void AddFish(std::string& text, const CLI::App& app, const std::string& program, const std::string& condition) {
  for (const Declared& option : OptionsOf(app)) {
    if (option.positional) continue;
    text += "complete -c " + program + " -n " + ShellQuoted(condition) + " -l " + option.name.substr(2) + " -d " +
            ShellQuoted(option.what);
    if (option.value == "FILE") {
      text += " -r -F";
    } else if (option.value == "DIR") {
      text += " -x -a '(__fish_complete_directories)'";
    } else if (!option.words.empty()) {
      text += " -x -a " + ShellQuoted(Joined(option.words, " "));
    } else if (!option.value.empty() && !option.optional_value) {
      text += " -x";
    }
    text += "\n";
  }
}

std::string Fish(const CLI::App& app, const std::string& program) {
  std::string text = "complete -c " + program + " -f\n";
  std::vector<std::string> names;
  for (const CLI::App* command : ShownCommands(app)) {
    names.push_back(command->get_name());
    text += "complete -c " + program + " -n __fish_is_first_arg -a " + command->get_name() + " -d " +
            ShellQuoted(command->get_description()) + "\n";
    AddFish(text, *command, program, "__fish_seen_subcommand_from " + command->get_name());
  }
  AddFish(text, app, program, "not __fish_seen_subcommand_from " + Joined(names, " "));
  return text;
}

}  // namespace

std::string Generate(config::Role role, const std::string& what) {
  const CommandLine line = MakeCommandLine(role);
  line.app->set_version_flag("--version", "", "Print the version and exit");
  const std::string program = config::ProgramName(role);
  if (what == "man") return Manual(role, *line.app).Write();
  if (what == "bash") return Bash(*line.app, program);
  if (what == "zsh") return Zsh(*line.app, program);
  return Fish(*line.app, program);
}

}  // namespace aphlict::commands
