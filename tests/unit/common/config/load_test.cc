#include "common/config/load.h"

#include <doctest/doctest.h>
#include <sysexits.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

namespace aphlict::config {
namespace {

using Action = Invocation::Action;

class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "load_test.XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::string path() const { return path_.string(); }
  // Writes a file, and returns its path.
  std::string File(const std::string& text) const {
    std::ofstream(path_ / "f.json") << text;
    return (path_ / "f.json").string();
  }
  // Writes a file of secrets that only its owner can read, and returns its path.
  std::string Secret(const std::string& text, const std::string& name = "secret") const {
    std::ofstream(path_ / name) << text;
    std::filesystem::permissions(path_ / name, std::filesystem::perms(0600));
    return (path_ / name).string();
  }

 private:
  std::filesystem::path path_;
};

Invocation LoadAs(Role role, const std::vector<std::string>& options) {
  std::vector<const char*> argv = {"program"};
  for (const std::string& option : options) argv.push_back(option.c_str());
  return Load(role, static_cast<int>(argv.size()), argv.data());
}

Settings Good(Role role, const std::vector<std::string>& options) {
  const Invocation invocation = LoadAs(role, options);
  CAPTURE(invocation.text);
  REQUIRE(invocation.action == Action::kRun);
  return invocation.settings;
}

Settings Master(const std::vector<std::string>& options) { return Good(Role::kMaster, options); }

Settings Repeater(std::vector<std::string> options) {
  options.insert(options.end(), {"--upstream", "http://up:1"});
  return Good(Role::kRepeater, options);
}

// The exit code and what is printed, without the program's name before each line: "78: why".
std::string Exit(Role role, const std::vector<std::string>& options) {
  const Invocation invocation = LoadAs(role, options);
  REQUIRE(invocation.action == Action::kExit);
  CHECK(invocation.to_stderr == (invocation.exit_code != 0));
  std::string text = std::to_string(invocation.exit_code) + ":";
  const std::string start = role == Role::kMaster ? "aphlict-master: " : "aphlict-repeater: ";
  std::string rest = invocation.text;
  REQUIRE(rest.ends_with("\n"));
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n');
    std::string line = rest.substr(0, end);
    if (line.starts_with(start)) line.erase(0, start.size());
    text += (text.ends_with(":") && text.size() < 4 ? " " : "\n") + line;
    rest.erase(0, end + 1);
  }
  return text;
}

std::string ExitOfMaster(const std::vector<std::string>& options) { return Exit(Role::kMaster, options); }

std::string ExitOfRepeater(std::vector<std::string> options) {
  options.insert(options.end(), {"--upstream", "http://up:1"});
  return Exit(Role::kRepeater, options);
}

std::string Servers(const Settings& settings) {
  std::string text;
  for (const Server& server : settings.servers) {
    text += (text.empty() ? "" : ", ") + std::string(ServerTypeName(server.type)) + " " + server.host + " " +
            std::to_string(server.port);
  }
  return text;
}

TEST_CASE("a master without options is complete") {
  const Settings settings = Master({});
  CHECK(settings.role == Role::kMaster);
  CHECK(Servers(settings) == "admin 127.0.0.1 22281, repeater 127.0.0.1 22282");
  CHECK(settings.servers[0].where == "admin by default");
  CHECK(settings.file == "");
  CHECK(settings.upstream.empty());
  CHECK(settings.log_paths.empty());
  CHECK(settings.log_level == LogLevel::kInfo);
  CHECK(settings.drain_time == seconds(20));
  CHECK_FALSE(settings.reuse_port);
  CHECK(settings.secrets == nullptr);
  char host[256] = {};
  REQUIRE(gethostname(host, sizeof(host) - 1) == 0);
  CHECK(settings.name == host);
}

TEST_CASE("a repeater needs only an upstream") {
  const Settings settings = Good(Role::kRepeater, {"--upstream", "http://127.0.0.1:22282"});
  CHECK(settings.role == Role::kRepeater);
  CHECK(Servers(settings) == "admin 127.0.0.1 22283, client 0.0.0.0 22280");
  REQUIRE(settings.upstream.size() == 1);
  REQUIRE(settings.upstream[0].urls.size() == 1);
  CHECK(settings.upstream[0].urls[0].authority() == "127.0.0.1:22282");
  CHECK(Exit(Role::kRepeater, {}) ==
        "78: a repeater needs something to follow: --upstream URL, or `upstream` in the file");
}

TEST_CASE("options say where to listen, in the place of the defaults") {
  CHECK(Servers(Master({"--admin", "[::1]:5", "--clients", "6", "--repeaters", ":7"})) ==
        "admin ::1 5, client 0.0.0.0 6, repeater 127.0.0.1 7");
  CHECK(Servers(Master({"--admin", "name:1", "--admin", "2", "--repeaters", "none"})) ==
        "admin name 1, admin 127.0.0.1 2");
  CHECK(Servers(Master({"--admin", "none", "--repeaters", "none"})) == "");
  CHECK(Servers(Repeater({"--clients=none"})) == "admin 127.0.0.1 22283");
  CHECK(Master({"--admin", "5"}).servers[0].where == "--admin");
}

TEST_CASE("options say what to follow, once for each master") {
  const Settings settings =
      Good(Role::kRepeater, {"--upstream", "http://a:1,http://b:2", "--upstream", "http://c:3/x"});
  REQUIRE(settings.upstream.size() == 2);
  REQUIRE(settings.upstream[0].urls.size() == 2);
  CHECK(settings.upstream[0].urls[1].authority() == "b:2");
  REQUIRE(settings.upstream[1].urls.size() == 1);
  CHECK(settings.upstream[1].urls[0].path == "/x");
}

TEST_CASE("each further option sets its setting") {
  CHECK(Master({"--name", "n"}).name == "n");
  CHECK(Master({"--log-level", "warning"}).log_level == LogLevel::kWarning);
  CHECK(Master({"--debug"}).log_level == LogLevel::kDebug);
  CHECK(Master({"--debug", "--log-level", "error"}).log_level == LogLevel::kDebug);
  const Folder folder;
  CHECK(Master({"--state", folder.path()}).state == folder.path());
  CHECK(Master({"--durability", "power"}).durability == Durability::kPower);
  CHECK(Master({"--drain", "0"}).drain_time == seconds(0));
  CHECK(Repeater({"--drain=3600"}).drain_time == seconds(3600));
  CHECK(Repeater({"--public-url", "ws://x/"}).public_url == "ws://x/");
  CHECK(Repeater({"--reuse-port"}).reuse_port);
}

TEST_CASE("options win over the file") {
  const Folder folder;
  const std::string file = folder.File(R"({
    "servers": [{"type": "admin", "port": 1, "listen": "::1"}, {"type": "client", "port": 2},
                {"type": "client", "port": 3}],
    "upstream": [["http://a:1"], ["http://b:1"]],
    "name": "file", "public.url": "ws://file/", "log.level": "error", "drain.seconds": 5
  })");
  const Settings of_file = Good(Role::kRepeater, {"--config", file});
  CHECK(of_file.file == file);
  CHECK(Servers(of_file) == "admin ::1 1, client 0.0.0.0 2, client 0.0.0.0 3");
  CHECK(of_file.upstream.size() == 2);
  CHECK(of_file.name == "file");
  CHECK(of_file.public_url == "ws://file/");
  CHECK(of_file.log_level == LogLevel::kError);
  CHECK(of_file.drain_time == seconds(5));

  const Settings settings =
      Good(Role::kRepeater, {"--config", file, "--clients", "9", "--upstream", "http://o:1", "--name", "option",
                             "--public-url", "ws://option/", "--log-level", "debug", "--drain", "6"});
  CHECK(Servers(settings) == "admin ::1 1, client 0.0.0.0 9");
  REQUIRE(settings.upstream.size() == 1);
  CHECK(settings.upstream[0].urls[0].host == "o");
  CHECK(settings.name == "option");
  CHECK(settings.public_url == "ws://option/");
  CHECK(settings.log_level == LogLevel::kDebug);
  CHECK(settings.drain_time == seconds(6));
}

TEST_CASE("a master's options win over its file as well") {
  const Folder folder;
  const std::string of_file = folder.path() + "/file";
  const std::string of_option = folder.path() + "/option";
  const std::string file = folder.File(R"({"state": ")" + of_file + R"(", "durability": "power", "reuse.port": true})");
  CHECK(Master({"--config", file}).state == of_file);
  CHECK(Master({"--config", file}).durability == Durability::kPower);
  CHECK(Master({"--config", file}).reuse_port);
  CHECK(Master({"--config", file, "--state", of_option}).state == of_option);
  CHECK(Master({"--config", file, "--durability", "process"}).durability == Durability::kProcess);
}

TEST_CASE("a type that the file does not mention gets its default, and one that it switches off does not") {
  const Folder folder;
  CHECK(Servers(Master({"--config", folder.File(R"({"servers": [{"type": "client"}]})")})) ==
        "client 0.0.0.0 22280, admin 127.0.0.1 22281, repeater 127.0.0.1 22282");
  const std::string off = folder.File(R"({"servers": [{"type": "repeater", "port": null}]})");
  CHECK(Servers(Master({"--config", off})) == "admin 127.0.0.1 22281");

  SUBCASE("but an option switches it on again") {
    CHECK(Servers(Master({"--config", off, "--repeaters", "5"})) == "admin 127.0.0.1 22281, repeater 127.0.0.1 5");
  }
}

TEST_CASE("the configuration can be checked without running") {
  CHECK(LoadAs(Role::kMaster, {"--check-config"}).action == Action::kCheckConfig);
  CHECK(LoadAs(Role::kMaster, {"--check-config", "--name", "n"}).settings.name == "n");
  CHECK(LoadAs(Role::kRepeater, {"--check-config"}).exit_code == EX_CONFIG);
}

TEST_CASE("help and version go to stdout, and are no failure") {
  const Invocation help = LoadAs(Role::kRepeater, {"--help"});
  CHECK(help.action == Action::kExit);
  CHECK(help.exit_code == 0);
  CHECK_FALSE(help.to_stderr);
  for (const char* option : {"--config", "--admin", "--clients", "--repeaters", "--upstream", "--public-url", "--name",
                             "--reuse-port", "--secret-file", "--drain", "--log-level", "--debug", "--check-config"}) {
    CAPTURE(option);
    CHECK(help.text.find(option) != std::string::npos);
  }
  CHECK(help.text.find("--state") == std::string::npos);
  const std::string of_master = LoadAs(Role::kMaster, {"--help"}).text;
  CHECK(of_master.find("--state") != std::string::npos);
  CHECK(of_master.find("--durability") != std::string::npos);
  CHECK(of_master.find("--upstream") == std::string::npos);
  CHECK(ExitOfMaster({"--version"}) == "0: aphlict-master " APHLICT_RELAY_VERSION);
  CHECK(ExitOfRepeater({"--version"}) == "0: aphlict-repeater " APHLICT_RELAY_VERSION);
}

TEST_CASE("a wrong option exits with 64") {
  for (const std::string options :
       {"--nonsense", "word", "--name", "--name=", "--config=", "--name a --name b", "--admin 1 2", "--drain -1",
        "--drain 3601", "--drain 1.5", "--drain x", "--upstream http://a:1", "--public-url ws://a/"}) {
    CAPTURE(options);
    std::istringstream words(options);
    const std::string text = ExitOfMaster({std::istream_iterator<std::string>(words), {}});
    CHECK(text.starts_with("64: "));
    CHECK(text.ends_with("; --help lists the options"));
  }
  CHECK(ExitOfRepeater({"--state", "/s"}).starts_with("64: "));
  CHECK(ExitOfRepeater({"--durability", "power"}).starts_with("64: "));
  CHECK(ExitOfMaster({"--log-level", "loud"}).starts_with("64: --log-level: "));
  CHECK(ExitOfMaster({"--durability", "disk"}) == R"(64: --durability: expected "process" or "power", got "disk")");
  CHECK(ExitOfRepeater({"--public-url", "x"}).starts_with("64: --public-url: "));
  CHECK(Exit(Role::kRepeater, {"--upstream", "a"}).starts_with("64: --upstream: "));
  CHECK(Exit(Role::kRepeater, {"--upstream", "http://a,b"}).starts_with("64: --upstream: "));
  CHECK(ExitOfMaster({"--admin", "x"}) ==
        "64: --admin: expected ADDRESS:PORT, such as 127.0.0.1:22281 or [::1]:22281, got x");
}

TEST_CASE("a wrong file exits with 78, and tells every problem") {
  const Folder folder;
  const std::string file = folder.File("{\"servers\": 7,\n\"nam\": \"x\"}");
  CHECK(ExitOfMaster({"--config", file}) == "78: " + file +
                                                ": servers: expected a list of servers, got a number (line 1)\n" +
                                                file + ": nam: unknown key; did you mean `name`? (line 2)");

  SUBCASE("beside those of the options") {
    const std::string text = ExitOfMaster({"--config", file, "--admin", "x"});
    CHECK(text.starts_with("78: "));
    CHECK(text.find("\n--admin: expected ADDRESS:PORT") != std::string::npos);
  }
  SUBCASE("and what the whole lacks") {
    const std::string text = Exit(Role::kRepeater, {"--config", file});
    CHECK(text.find("\na repeater needs something to follow") != std::string::npos);
  }
}

TEST_CASE("a file that is not there exits with 78") {
  const Folder folder;
  CHECK(ExitOfMaster({"--config", folder.path() + "/none"}) ==
        "78: " + folder.path() + "/none: No such file or directory");
  CHECK(ExitOfMaster({"--config", folder.path()}) == "78: " + folder.path() + ": Is a directory");
}

TEST_CASE("a file that may not be read exits with 77") {
  const Folder folder;
  const std::string file = folder.File("{}");
  std::filesystem::permissions(file, std::filesystem::perms::none);
  std::filesystem::permissions(folder.path(), std::filesystem::perms::all);
  // Root may read everything.
  const uid_t user = geteuid();
  if (user == 0) REQUIRE(seteuid(65'534) == 0);
  const Invocation invocation = LoadAs(Role::kMaster, {"--config", file});
  REQUIRE(seteuid(user) == 0);
  CHECK(invocation.exit_code == EX_NOPERM);
  CHECK(invocation.text == "aphlict-master: " + file + ": Permission denied\n");
}

TEST_CASE("what the configuration names must be usable, and the check leaves no trace") {
  const Folder folder;
  const std::string path = folder.path();
  const auto file = [&](const std::string& members) { return folder.File("{" + members + "}"); };
  CHECK(Master({"--config", file(R"("logs": [{"path": ")" + path + R"(/new/log"}], "pidfile": ")" + path +
                                 R"(/pid", "state": ")" + path + R"(/deep/state")")})
            .pidfile == path + "/pid");
  CHECK_FALSE(std::filesystem::exists(path + "/new"));
  CHECK_FALSE(std::filesystem::exists(path + "/pid"));
  CHECK_FALSE(std::filesystem::exists(path + "/deep"));

  const std::string logs = file(R"("logs": [{"path": ")" + path + R"("}])");
  CHECK(ExitOfMaster({"--config", logs}) ==
        "78: " + logs + ": logs[0].path: " + path + ": EISDIR: illegal operation on a directory");
  const std::string pidfile = file(R"("pidfile": ")" + path + R"(/f.json/pid")");
  CHECK(ExitOfMaster({"--config", pidfile}) ==
        "78: " + pidfile + ": pidfile: " + path + "/f.json: ENOTDIR: not a directory");
  CHECK(ExitOfMaster({"--state", path + "/f.json"}) == "78: state: " + path + "/f.json: ENOTDIR: not a directory");

  SUBCASE("every problem of it is told") {
    file(R"("logs": [{"path": ")" + path + R"("}])");  // over the one with the pid file
    const std::string text = ExitOfMaster({"--config", logs, "--state", path + "/f.json", "--admin", "x"});
    CHECK(text.starts_with("78: --admin: "));
    CHECK(text.find(": logs[0].path: ") != std::string::npos);
    CHECK(text.find("\nstate: ") != std::string::npos);
  }
  SUBCASE("what may not be written exits with 77") {
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    const uid_t user = geteuid();
    if (user == 0) return;  // root may write everything, and access(2) asks for the real user
    std::filesystem::permissions(path, std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec);
    CHECK(ExitOfMaster({"--state", path + "/s"}) == "77: state: " + path + "/s: EACCES: permission denied");
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  }
  SUBCASE("a name to listen on must resolve when the configuration is checked") {
    const std::string name(64, 'x');  // longer than a label may be: nobody is asked
    CHECK(LoadAs(Role::kMaster, {"--admin", name + ":5"}).action == Action::kRun);
    CHECK(ExitOfMaster({"--check-config", "--admin", name + ":5"}).starts_with("78: --admin: resolve " + name + ": "));
  }
}

TEST_CASE("two servers on one port are a problem, whatever set them") {
  CHECK(ExitOfMaster({"--admin", "5", "--repeaters", "5"}) == "78: --repeaters: port 5 is also that of --admin");
  CHECK(ExitOfMaster({"--admin", "127.0.0.2:5", "--clients", "0.0.0.0:5"}) ==
        "78: --clients: port 5 is also that of --admin");
  CHECK(ExitOfMaster({"--clients", "[::]:22281"}) == "78: --clients: port 22281 is also that of admin by default");
  const Folder folder;
  const std::string file = folder.File(R"({"servers": [{"type": "client", "port": 22282},
                                                       {"type": "admin", "listen": "::1", "port": 7},
                                                       {"type": "admin", "listen": "::1", "port": 7}]})");
  CHECK(ExitOfMaster({"--config", file}) == "78: " + file + ": servers[2]: port 7 is also that of " + file +
                                                ": servers[1]\n" + "repeater by default: port 22282 is also that of " +
                                                file + ": servers[0]");

  SUBCASE("but not on different addresses, or where the kernel picks the port") {
    CHECK(Master({"--admin", "127.0.0.1:5", "--clients", "127.0.0.2:5"}).servers.size() == 3);
    CHECK(Master({"--admin", "0", "--clients", "0", "--repeaters", "0"}).servers.size() == 3);
  }
}

TEST_CASE("the feed listens on loopback only, unless there is a secret") {
  const std::string text = ExitOfMaster({"--repeaters", "0.0.0.0:5"});
  CHECK(text.starts_with("78: --repeaters: 0.0.0.0 is not a loopback address"));
  CHECK(text.find("openssl rand -hex 32 > FILE") != std::string::npos);
  CHECK(ExitOfMaster({"--repeaters", "[2001:db8::1]:5"}).starts_with("78: --repeaters: 2001:db8::1 is not"));
  for (const char* loopback : {"127.0.0.1:5", "127.9.9.9:5", "[::1]:5", "localhost:5"}) {
    CHECK(Master({"--repeaters", loopback}).servers.size() == 2);
  }
  const Folder folder;
  CHECK(Servers(Master({"--repeaters", "0.0.0.0:5", "--secret-file", folder.Secret("0123456789abcdef")})) ==
        "admin 127.0.0.1 22281, repeater 0.0.0.0 5");
}

TEST_CASE("a file of secrets is read, by option or by key, and the option wins") {
  const Folder folder;
  const std::string secret = folder.Secret("0123456789abcdef");
  const std::string file = folder.File(R"({"secret.file": ")" + secret + "\"}");
  CHECK(Master({"--secret-file", secret}).secrets->Accept("0123456789abcdef"));
  CHECK(Master({"--config", file}).secrets->Accept("0123456789abcdef"));
  CHECK(Repeater({"--config", file}).secrets->RevealFirst() == "0123456789abcdef");
  const std::string other = folder.Secret("fedcba9876543210", "other");
  CHECK(Master({"--config", file, "--secret-file", other}).secrets->RevealFirst() == "fedcba9876543210");
  CHECK(Master({"--config", file}).notices.empty());
}

TEST_CASE("a file of secrets that is wrong is an error of the configuration, which names it and not what it holds") {
  const Folder folder;
  CHECK(ExitOfMaster({"--secret-file", "/nowhere/s"}) == "78: --secret-file: /nowhere/s: No such file or directory");
  CHECK(ExitOfRepeater({"--secret-file", "/nowhere/s", "--check-config"}) ==
        "78: --secret-file: /nowhere/s: No such file or directory");
  const std::string secret = folder.Secret("short");
  const std::string file = folder.File(R"({"secret.file": ")" + secret + "\"}");
  CHECK(ExitOfMaster({"--config", file}) ==
        "78: " + file + ": secret.file: " + secret +
            ": secret 1 is shorter than 16 bytes; `openssl rand -hex 32` makes one");
  // One thing is wrong, and not two.
  CHECK(ExitOfMaster({"--repeaters", "0.0.0.0:5", "--secret-file", "/nowhere/s"}) ==
        "78: --secret-file: /nowhere/s: No such file or directory");
}

TEST_CASE("a file of secrets that others can read is a notice") {
  const Folder folder;
  const std::string secret = folder.Secret("0123456789abcdef");
  std::filesystem::permissions(secret, std::filesystem::perms(0644));
  const Settings settings = Master({"--secret-file", secret});
  REQUIRE(settings.notices.size() == 1);
  CHECK(settings.notices[0] ==
        "--secret-file: " + secret + ": its mode is 0644: others than its owner may read it; chmod 600 " + secret);
}

// "host port", or "problem".
std::string Listen(std::string_view text) {
  std::string host = "default";
  std::uint16_t port = 1;
  const std::string problem = ParseListenAddress(text, &host, &port);
  if (problem.empty()) return host + " " + std::to_string(port);
  CHECK(problem == "expected ADDRESS:PORT, such as 127.0.0.1:22281 or [::1]:22281, got " + std::string(text));
  return "problem";
}

TEST_CASE("an address to listen on has a host, a port, or both") {
  CHECK(Listen("127.0.0.1:22281") == "127.0.0.1 22281");
  CHECK(Listen("name.example.com:5") == "name.example.com 5");
  CHECK(Listen(":22280") == "default 22280");
  CHECK(Listen("22280") == "default 22280");
  CHECK(Listen("0") == "default 0");
  CHECK(Listen("a:65535") == "a 65535");

  SUBCASE("an IPv6 address in brackets") {
    CHECK(Listen("[::1]:22280") == "::1 22280");
    CHECK(Listen("[::]:0") == ":: 0");
    CHECK(Listen("[2001:db8::5]:80") == "2001:db8::5 80");
    CHECK(Listen("[::ffff:127.0.0.1]:80") == "::ffff:127.0.0.1 80");
  }
  SUBCASE("and anything else is a problem") {
    for (const char* text : {"",        ":",       "a:",        "a",     "127.0.0.1", "a:b",
                             "a:-1",    "a:+1",    "a: 1",      "a:1 ",  "a:65536",   "a:99999999999999999999",
                             "a:0x50",  "::1",     "::1:80",    "1:2:3", "[::1]",     "[::1]:",
                             "[::1]80", "[::1]:x", "[name]:80", "[]:80", "[::1",      "[::1]:80:80"}) {
      CAPTURE(text);
      CHECK(Listen(text) == "problem");
    }
  }
}

}  // namespace
}  // namespace aphlict::config
