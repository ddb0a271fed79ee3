// The command line, and what it makes of the file and the defaults.
#include "common/config/load.h"

#include <sysexits.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <optional>
#include <sstream>

#include "common/base/file.h"
#include "common/config/changes.h"
#include "common/config/check.h"
#include "common/config/options.h"
#include "common/net/address.h"

namespace aphlict::config {

namespace {

struct TypeDefaults {
  ServerType type;
  const char* option;
  const char* host;
  std::uint16_t port;
  bool on;
};

std::vector<TypeDefaults> DefaultsOf(Role role) {
  const bool master = role == Role::kMaster;
  return {{ServerType::kAdmin, "--admin", "127.0.0.1", std::uint16_t(master ? 22'281 : 22'283), true},
          {ServerType::kClient, "--clients", "0.0.0.0", 22'280, !master},
          {ServerType::kRepeater, "--repeaters", "127.0.0.1", 22'282, master}};
}

Invocation Exit(int code, std::string text) {
  Invocation invocation;
  invocation.action = Invocation::Action::kExit;
  invocation.exit_code = code;
  invocation.text = std::move(text);
  invocation.to_stderr = code != 0;
  return invocation;
}

Invocation Refuse(const std::string& program, int code, std::vector<std::string> problems) {
  std::string text;
  for (const std::string& problem : problems) text += program + ": " + problem + "\n";
  Invocation invocation = Exit(code, std::move(text));
  invocation.problems = std::move(problems);
  return invocation;
}

// A key in each line, and behind it what takes another value of it.
std::string ListOfSettings() {
  std::string text;
  for (const Setting& setting : AllSettings()) text += setting.key + (setting.reloads ? " reload\n" : " restart\n");
  return text;
}

// Replaces the servers of a type by those that options name.
void ApplyServers(const TypeDefaults& type, const std::vector<std::string>& texts, Settings* settings,
                  std::vector<std::string>* problems) {
  if (texts.empty()) return;
  std::erase_if(settings->servers, [&](const Server& server) { return server.type == type.type; });
  for (const std::string& text : texts) {
    if (text == "none") continue;
    Server server{type.type, type.host, type.port, type.option};
    if (auto problem = ParseListenAddress(text, &server.host, &server.port); !problem.empty()) {
      problems->push_back(std::string(type.option) + ": " + problem);
      continue;
    }
    settings->servers.push_back(std::move(server));
  }
}

void ApplyUpstream(const std::vector<std::string>& groups, Settings* settings, std::vector<std::string>* problems) {
  if (groups.empty()) return;
  settings->upstream.clear();
  for (const std::string& text : groups) {
    UpstreamGroup group;
    std::istringstream list(text);
    for (std::string each; std::getline(list, each, ',');) {
      if (auto url = http::ParseUrl(each)) {
        group.urls.push_back(std::move(*url));
      } else {
        problems->push_back("--upstream: " + url.error().text);
      }
    }
    settings->upstream.push_back(std::move(group));
  }
}

bool IsWildcard(const std::string& host) { return host == "0.0.0.0" || host == "::"; }

bool IsLoopback(const std::string& host) {
  if (host == "localhost") return true;
  const auto address = net::Address::Parse(host, 0);
  return !address || address->is_loopback();  // a name is looked at once it is resolved, when the port is opened
}

void CheckWhole(const Settings& settings, std::vector<std::string>* problems) {
  for (std::size_t i = 0; i < settings.servers.size(); ++i) {
    const Server& server = settings.servers[i];
    for (std::size_t j = 0; j < i; ++j) {
      const Server& other = settings.servers[j];
      if (server.port != 0 && server.port == other.port &&
          (server.host == other.host || IsWildcard(server.host) || IsWildcard(other.host))) {
        problems->push_back(server.where + ": port " + std::to_string(server.port) + " is also that of " + other.where);
      }
    }
    if (IsOpenFeed(settings, server) && !IsLoopback(server.host)) {
      problems->push_back(server.where + ": " + OpenFeedProblem(server.host));
    }
  }
  if (settings.role == Role::kRepeater && settings.upstream.empty()) {
    problems->push_back("a repeater needs something to follow: --upstream URL, or `upstream` in the file");
  }
}

// Reads a file of secrets. `where` is what names it: "/etc/aphlict.json: secret.file" or "--secret-file".
std::shared_ptr<const Secrets> ReadSecrets(const std::string& where, const std::string& path,
                                           std::vector<std::string>* notices, std::vector<Error>* problems) {
  if (path.empty()) return nullptr;
  auto secrets = Secrets::Read(path);
  if (!secrets) {
    problems->push_back({where + ": " + path + ": " + secrets.error().text, secrets.error().code});
    return nullptr;
  }
  if (!secrets->open_mode().empty()) {
    notices->push_back(where + ": " + path + ": its mode is " + secrets->open_mode() +
                       ": others than its owner may read it; chmod 600 " + path);
  }
  return std::make_shared<const Secrets>(std::move(*secrets));
}

// Where there is a token, it is asked of everybody else than this host, unless `allow` says who is let in without.
void SettleAccess(Settings* settings) {
  for (Server& server : settings->servers) {
    if (server.type != ServerType::kAdmin) continue;
    for (auto& networks : server.access.allow) {
      if (!networks && !settings->admin_secret_file.empty()) networks = net::Network::Loopback();
    }
    if (IsLoopback(server.host)) continue;
    const std::string notice = OpenAdminNotice(server.host, server.access);
    if (!notice.empty()) settings->notices.push_back(server.where + ": " + notice);
  }
}

std::string HostName() {
  char name[256] = {};
  return gethostname(name, sizeof(name) - 1) == 0 ? name : "unknown";
}

}  // namespace

std::string_view ServerTypeName(ServerType type) {
  switch (type) {
    case ServerType::kAdmin:
      return "admin";
    case ServerType::kClient:
      return "client";
    case ServerType::kRepeater:
      return "repeater";
  }
  return "unknown";
}

bool IsOpenFeed(const Settings& settings, const Server& server) {
  return server.type == ServerType::kRepeater && settings.secret_file.empty() && server.tls.ca.empty();
}

std::string OpenFeedProblem(const std::string& host) {
  return host +
         " is not a loopback address, and without a secret everybody who reaches it could read all messages; "
         "(umask 077; openssl rand -hex 32 > FILE) makes one, and --secret-file FILE (`secret.file`) takes it, "
         "here and for the repeaters; or let repeaters show a certificate (`ssl.client.ca`)";
}

std::string OpenAdminNotice(const std::string& host, const admin::Access& access) {
  constexpr std::array<std::string_view, admin::kRightNames.size()> kMeanings = {"publish to every user",
                                                                                 "read the status", "read the metrics"};
  std::string rights;
  for (const admin::Right right : access.open()) {
    rights += (rights.empty() ? "" : ", ") + std::string(kMeanings[static_cast<std::size_t>(right)]);
  }
  if (rights.empty()) return "";
  return host + " is not a loopback address: everybody who reaches it may " + rights + "; `allow` lists who may";
}

std::string ParseListenAddress(std::string_view text, std::string* host, std::uint16_t* port) {
  const std::string problem = "expected ADDRESS:PORT, such as 127.0.0.1:22281 or [::1]:22281, got " + std::string(text);
  std::string_view port_text = text;
  if (!text.empty() && text.front() == '[') {
    const std::size_t end = text.find("]:");
    if (end == std::string_view::npos) return problem;
    *host = std::string(text.substr(1, end - 1));
    port_text = text.substr(end + 2);
    if (!net::Address::Parse(*host, 0)) return problem;
  } else if (const std::size_t colon = text.find(':'); colon != std::string_view::npos) {
    if (text.find(':', colon + 1) != std::string_view::npos) return problem;  // IPv6 without brackets
    if (colon > 0) *host = std::string(text.substr(0, colon));
    port_text = text.substr(colon + 1);
  }
  unsigned value = 0;
  const auto [end, error] = std::from_chars(port_text.data(), port_text.data() + port_text.size(), value);
  if (error != std::errc() || end != port_text.data() + port_text.size() || value > 65'535) return problem;
  *port = static_cast<std::uint16_t>(value);
  return "";
}

Invocation Load(Role role, int argc, const char* const* argv, const std::string& footer) {
  const std::string program = ProgramName(role);
  CLI::App app(Purpose(role), program);
  app.footer(footer);
  Options options;
  Declare(app, role, options);
  if (const std::string option = OptionWithoutValue(argc, argv); !option.empty()) {
    return Exit(EX_USAGE, program + ": " + option + " has no value; --help lists the options\n");
  }
  app.set_version_flag("--version", program + " " + APHLICT_RELAY_VERSION);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return Exit(EX_OK, app.help());
  } catch (const CLI::CallForVersion&) {
    return Exit(EX_OK, program + " " + APHLICT_RELAY_VERSION + "\n");
  } catch (const CLI::ParseError& error) {
    return Exit(EX_USAGE, program + ": " + error.what() + "; --help lists the options\n");
  }

  if (options.list_settings) return Exit(EX_OK, ListOfSettings());

  Invocation invocation;
  invocation.action = options.check_config ? Invocation::Action::kCheckConfig : Invocation::Action::kRun;
  Settings& settings = invocation.settings;
  settings.role = role;
  settings.file = options.file;
  std::vector<std::string> problems;
  std::vector<ServerType> off;
  if (!options.file.empty()) {
    const auto text = ReadWholeFile(options.file);
    if (!text) {
      return Refuse(program, text.error().code == EACCES ? EX_NOPERM : EX_CONFIG,
                    {options.file + ": " + text.error().text});
    }
    off = ReadFile(options.file, *text, &settings, &problems);
  }
  const std::vector<std::string>* const texts[] = {&options.admin, &options.clients, &options.repeaters};
  const auto defaults = DefaultsOf(role);
  for (std::size_t i = 0; i < defaults.size(); ++i) {
    const TypeDefaults& type = defaults[i];
    ApplyServers(type, *texts[i], &settings, &problems);
    const bool listed = std::any_of(settings.servers.begin(), settings.servers.end(),
                                    [&](const Server& server) { return server.type == type.type; });
    const bool switched_off = std::find(off.begin(), off.end(), type.type) != off.end();
    if (type.on && !listed && !switched_off && texts[i]->empty()) {
      settings.servers.push_back(
          {type.type, type.host, type.port, std::string(ServerTypeName(type.type)) + " by default"});
    }
  }
  ApplyUpstream(options.upstream, &settings, &problems);
  if (!options.tls.ca.empty()) settings.tls.ca = options.tls.ca;
  if (!options.tls.cert.empty()) settings.tls.cert = options.tls.cert;
  if (!options.tls.key.empty()) settings.tls.key = options.tls.key;
  if (!options.name.empty()) settings.name = options.name;
  settings.named_by_host = settings.name.empty();
  if (settings.named_by_host) settings.name = HostName();
  if (!options.public_url.empty()) {
    if (auto url = http::ParseUrl(options.public_url); !url) problems.push_back("--public-url: " + url.error().text);
    settings.public_url = options.public_url;
  }
  if (!options.state.empty()) settings.state = options.state;
  if (!options.durability.empty()) {
    const auto durability = ParseDurability(options.durability);
    if (!durability)
      problems.push_back("--durability: " + durability.error().text);
    else
      settings.durability = *durability;
  }
  if (options.drain) settings.drain_time = seconds(*options.drain);
  if (options.reuse_port) settings.reuse_port = true;
  if (!options.secret_file.empty()) settings.secret_file = options.secret_file;
  if (!options.admin_secret_file.empty()) settings.admin_secret_file = options.admin_secret_file;
  if (!options.log_level.empty()) {
    if (const auto level = ParseLogLevel(options.log_level))
      settings.log_level = *level;
    else
      problems.push_back("--log-level: " + level.error().text);
  }
  if (!options.log_format.empty()) {
    if (const auto format = ParseLogFormat(options.log_format))
      settings.log_format = *format;
    else
      problems.push_back("--log-format: " + format.error().text);
  }
  if (options.debug) settings.log_level = LogLevel::kDebug;
  CheckWhole(settings, &problems);
  std::vector<Error> outside;
  if (!options.user.empty()) settings.user_name = options.user;
  if (!settings.user_name.empty()) {
    if (auto user = FindUser(settings.user_name)) {
      settings.user = std::move(*user);
    } else {
      const std::string where = options.user.empty() ? options.file + ": user" : "--user";
      outside.push_back({where + ": " + user.error().text, user.error().code});
    }
  }
  for (Error& problem : CheckFiles(settings)) outside.push_back(std::move(problem));
  for (Error& problem : CheckCertificates(settings, &settings.notices)) outside.push_back(std::move(problem));
  settings.secrets = ReadSecrets(options.secret_file.empty() ? options.file + ": secret.file" : "--secret-file",
                                 settings.secret_file, &settings.notices, &outside);
  settings.admin_secrets =
      ReadSecrets(options.admin_secret_file.empty() ? options.file + ": admin.secret.file" : "--admin-secret-file",
                  settings.admin_secret_file, &settings.notices, &outside);
  SettleAccess(&settings);
  if (options.check_config) {
    for (Error& problem : CheckAddresses(settings)) outside.push_back(std::move(problem));
  }
  if (options.check_ports) {
    for (Error& problem : CheckPorts(settings)) outside.push_back(std::move(problem));
  }
  if (problems.empty() && outside.empty()) return invocation;
  if (problems.empty()) {
    for (const Error& problem : outside) problems.push_back(problem.text);
    return Refuse(program, outside.front().code, std::move(problems));
  }
  // A wrong value of an option alone is a wrong option.
  const bool all_options = std::all_of(problems.begin(), problems.end(), [](const std::string& problem) {
    return problem.compare(0, 2, "--") == 0 && problem.find("loopback") == std::string::npos &&
           problem.find("is also that of") == std::string::npos;
  });
  const int code = all_options && outside.empty() ? EX_USAGE : EX_CONFIG;
  for (const Error& problem : outside) problems.push_back(problem.text);
  return Refuse(program, code, std::move(problems));
}

}  // namespace aphlict::config
