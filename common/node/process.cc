#include "common/node/process.h"

#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <utility>

#include "common/config/load.h"

namespace aphlict::node {

namespace {

constexpr Duration kGoodbyeTime = seconds(3);  // for close frames and last answers to be taken

// As many descriptors as the hard limit allows: each client is one.
void RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// As Aphlict does for its logs and its pid file. Where it fails, opening the file tells why.
void MakeFolderOf(const std::string& path) {
  std::error_code error;
  if (const auto folder = std::filesystem::path(path).parent_path(); !folder.empty()) {
    std::filesystem::create_directories(folder, error);
  }
}

// The file that tells the process's id. One that is left from before is written over.
class PidFile {
 public:
  static Result<std::unique_ptr<PidFile>> Write(const std::string& path) {
    MakeFolderOf(path);
    std::ofstream file(path, std::ios::trunc);
    file << getpid() << '\n';
    file.close();
    if (!file) {
      return Error{"pidfile " + path + ": " + net::ErrorText(errno), errno == EACCES ? EX_NOPERM : EX_OSERR};
    }
    return std::unique_ptr<PidFile>(new PidFile(path));
  }

  // Removes it, unless another process has written its own since.
  ~PidFile() {
    std::ifstream file(path_);
    long written = 0;
    if (file >> written && written == getpid()) {
      std::error_code error;
      std::filesystem::remove(path_, error);
    }
  }

 private:
  explicit PidFile(std::string path) : path_(std::move(path)) {}
  std::string path_;
};

std::string_view ProgramName(config::Role role) {
  return role == config::Role::kMaster ? "aphlict-master" : "aphlict-repeater";
}

// Says on stderr why the process ends. Returns the exit code.
int Fail(config::Role role, const Error& error) {
  std::fprintf(stderr, "%s: %s\n", ProgramName(role).data(), error.text.c_str());
  return error.code == 0 ? EX_OSERR : error.code;
}

bool HoldsSecrets(const config::Settings& settings) {
  const auto has_key = [](const config::Server& server) { return !server.tls.key.empty(); };
  return settings.secrets || settings.admin_secrets || !settings.tls.key.empty() ||
         std::any_of(settings.servers.begin(), settings.servers.end(), has_key);
}

// The pid file comes last: of two nodes on the same ports, the second must leave that of the first alone.
Result<void> Start(Node& node, const config::Settings& settings, std::unique_ptr<PidFile>* pid_file) {
  if (auto taken = node.TakePorts(); !taken) return taken;
  if (settings.user) {
    if (auto became = BecomeUser(*settings.user); !became) {
      return Error{"become " + settings.user->name + ": " + became.error().text, became.error().code};
    }
    node.log().Info("user", {{"name", settings.user->name}, {"uid", settings.user->uid}});
  }
  if (HoldsSecrets(settings)) ForbidCoreFiles();  // becoming another user may have allowed them
  if (auto opened = node.Open(); !opened) return opened;
  if (settings.pidfile.empty()) return {};
  auto written = PidFile::Write(settings.pidfile);
  if (!written) return written.error();
  *pid_file = std::move(*written);
  return {};
}

int Run(const config::Settings& settings, Log& log, const MakeApplication& make) {
  for (const std::string& notice : settings.notices) log.Warning("configuration", {{"notice", notice}});

  net::Loop loop;
  auto application = make(loop, settings, log);
  Node& node = application->node();
  log.Info("starting", {{"version", APHLICT_RELAY_VERSION}, {"id", node.id()}});

  bool stopping = false;  // the drain, if there is one, is the last
  bool stopped = false;
  const auto stop = [&] {
    if (std::exchange(stopped, true)) return;
    node.Stop();
    loop.Stop();
  };
  const auto stop_at_once = [&](const char* signal) {
    log.Info("stopping", {{"signal", signal}, {"drain", "no"}});
    stop();
  };
  const auto drain_and_stop = [&] {
    if (std::exchange(stopping, true)) return stop_at_once("SIGTERM");
    log.Info("stopping", {{"signal", "SIGTERM"}, {"drain", "yes"}});
    node.BeginDrain(stop);
  };
  const auto toggle_drain = [&] {
    if (stopping) return;
    if (!node.draining()) return node.BeginDrain(nullptr);
    if (auto ended = node.EndDrain(); !ended) log.Error("drain_not_ended", {{"reason", ended.error().text}});
  };
  const auto reopen_logs = [&] {
    log.Reopen();
    log.Info("logs_reopened");
  };
  int exit_code = EX_OK;
  const net::SignalWatcher on_term(loop, SIGTERM, drain_and_stop);
  const net::SignalWatcher on_int(loop, SIGINT, [&] { stop_at_once("SIGINT"); });
  const net::SignalWatcher on_hup(loop, SIGHUP, [&] {
    reopen_logs();
    node.Reload();
  });
  const net::SignalWatcher on_usr1(loop, SIGUSR1, reopen_logs);
  const net::SignalWatcher on_usr2(loop, SIGUSR2, toggle_drain);
  // Log lines leave at the end of each turn; what the sink did not take then is tried again.
  net::Timer retry_log(loop, [&] { log.Flush(); });
  retry_log.Unref();
  retry_log.Start(seconds(1), seconds(1));
  std::unique_ptr<PidFile> pid_file;
  if (auto started = Start(node, settings, &pid_file); !started) {
    log.Error("start_failed", {{"reason", started.error().text}});
    // Who starts it by hand, or a service manager that keeps stderr, is told as well where the log is a file.
    if (!settings.log_paths.empty()) Fail(settings.role, started.error());
    exit_code = started.error().code == 0 ? EX_OSERR : started.error().code;
    node.Stop();
  } else {
    loop.Run();
  }
  if (!loop.RunUntilIdle(kGoodbyeTime)) log.Debug("goodbye_incomplete");
  application.reset();
  log.Info("stopped", {{"exit", exit_code}});
  log.Flush();
  return exit_code;
}

}  // namespace

int RunProcess(config::Role role, int argc, const char* const* argv, const MakeApplication& make) {
  std::signal(SIGPIPE, SIG_IGN);
  RaiseDescriptorLimit();
  const config::Invocation invocation = config::Load(role, argc, argv);
  if (invocation.action == config::Invocation::Action::kExit) {
    std::fputs(invocation.text.c_str(), invocation.to_stderr ? stderr : stdout);
    return invocation.exit_code;
  }
  const config::Settings& settings = invocation.settings;
  if (invocation.action == config::Invocation::Action::kCheckConfig) {
    for (const std::string& notice : settings.notices) std::printf("note: %s\n", notice.c_str());
    std::puts("the configuration is fine");
    return EX_OK;
  }
  if (HoldsSecrets(settings)) ForbidCoreFiles();
  const auto open_log = [&] {
    const ActingAs acting(settings.user ? &*settings.user : nullptr);  // who will open the files anew
    for (const std::string& path : settings.log_paths) MakeFolderOf(path);
    return Log::Open(settings.log_paths, {settings.log_level, settings.log_format, settings.name});
  };
  auto log = open_log();
  if (!log) return Fail(role, log.error());
  return Run(settings, **log, make);
}

}  // namespace aphlict::node
