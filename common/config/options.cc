#include "common/config/options.h"

#include <string_view>

#include "common/config/load.h"

namespace aphlict::config {

std::string ProgramName(Role role) { return role == Role::kMaster ? "aphlict-master" : "aphlict-repeater"; }

std::string Purpose(Role role) {
  return role == Role::kMaster ? "Takes Phabricator's notifications, and passes them to repeaters and browsers."
                               : "Follows a master, and passes its notifications to browsers and to further repeaters.";
}

std::string OptionWithoutValue(int argc, const char* const* argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument.starts_with("--") && argument.find('=') + 1 == argument.size()) return std::string(argument);
  }
  return "";
}

void Declare(CLI::App& app, Role role, Options& options) {
  const bool master = role == Role::kMaster;
  // One that can be given several times takes one value each time: what stands behind it is not its second.
  const auto add_repeatable = [&](const char* name, std::vector<std::string>& values, const std::string& help) {
    return app.add_option(name, values, help)->allow_extra_args(false);
  };
  app.add_option("--config", options.file, "Configuration file (JSON; Aphlict's is accepted as it is)")
      ->type_name("FILE");
  add_repeatable("--admin", options.admin,
                 std::string("Where Phabricator and operators connect; `none`: nowhere. Default: ") +
                     (master ? "127.0.0.1:22281" : "127.0.0.1:22283"))
      ->type_name("ADDRESS:PORT");
  add_repeatable(
      "--clients", options.clients,
      std::string("Where browsers connect; `none`: nowhere. Default: ") + (master ? "none" : "0.0.0.0:22280"))
      ->type_name("ADDRESS:PORT");
  add_repeatable("--repeaters", options.repeaters,
                 std::string("Where repeaters connect: the feed; `none`: nowhere. Default: ") +
                     (master ? "127.0.0.1:22282" : "none"))
      ->type_name("ADDRESS:PORT");
  if (master) {
    app.add_option("--state", options.state, "Folder for a history that survives the process. Default: none")
        ->type_name("DIR");
    app.add_option("--durability", options.durability,
                   "What an accepted publish survives with --state: the death of the process, or of the power as well "
                   "(slower). Default: process")
        ->type_name("process|power");
  } else {
    add_repeatable("--upstream", options.upstream,
                   "What to follow: the URLs of one master's feed, separated by commas; once for each master")
        ->type_name("URL[,URL...]");
    app.add_option("--public-url", options.public_url, "The URL by which browsers reach this repeater")
        ->type_name("URL");
    app.add_option("--ssl-ca", options.tls.ca,
                   "Whose certificates upstreams must have (PEM). Default: the system's authorities")
        ->type_name("FILE");
    app.add_option("--ssl-cert", options.tls.cert, "The certificate that this repeater shows to upstreams (PEM)")
        ->type_name("FILE");
    app.add_option("--ssl-key", options.tls.key, "Its key (PEM)")->type_name("FILE");
  }
  app.add_option("--name", options.name, "How the node calls itself in the status. Default: the host's name")
      ->type_name("NAME");
  app.add_flag("--reuse-port", options.reuse_port, "Share the clients' port with other processes of the same user");
  app.add_option("--user", options.user,
                 "The user that a node started as root becomes once its ports are taken. Default: it stays root")
      ->type_name("NAME");
  app.add_option("--secret-file", options.secret_file,
                 "The feed's secret: asked of repeaters, and presented upstream. Default: none, and a feed on loopback")
      ->type_name("FILE");
  app.add_option("--admin-secret-file", options.admin_secret_file,
                 "The admin port's token, for whoever is not in its `allow`. Default: none")
      ->type_name("FILE");
  app.add_option("--drain", options.drain,
                 "Over how many seconds clients are closed when the node is told to stop. Default: 20")
      ->type_name("SECONDS")
      ->check(CLI::Range(std::int64_t{0}, kMaxDrainSeconds));
  app.add_option("--log-level", options.log_level, "What is logged: this and what is worse. Default: info")
      ->type_name("debug|info|warning|error");
  app.add_option("--log-format", options.log_format, "text (key=value) or json, a line for each event. Default: text")
      ->type_name("text|json");
  app.add_flag("--debug", options.debug, "The same as --log-level debug");
  CLI::Option* const check =
      app.add_flag("--check-config", options.check_config, "Say whether the configuration is right, and exit");
  app.add_flag("--check-ports", options.check_ports, "With --check-config: whether the ports are free, too")
      ->needs(check);
  app.add_flag("--list-settings", options.list_settings,
               "List the keys of the configuration file, and when another value is taken, and exit");
}

}  // namespace aphlict::config
