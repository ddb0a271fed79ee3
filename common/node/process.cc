#include "common/node/process.h"

#include <malloc.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "common/base/file.h"
#include "common/commands/command_line.h"
#include "common/commands/run.h"
#include "common/config/changes.h"
#include "common/config/load.h"
#include "common/config/options.h"
#include "common/net/timer.h"
#include "common/node/service_manager.h"

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

// glibc keeps small pieces that were freed apart, and one day joins all of them at once: when hundreds of thousands of
// subscriptions have gone, that is a turn of 10 ms and more. Without its fast bins each is joined as it is freed; those
// that come and go all the time are in the thread's own cache before that.
void FreeSmallPiecesAtOnce() {
#ifdef M_MXFAST
  mallopt(M_MXFAST, 0);
#endif
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

// Says on stderr why the process ends. Returns the exit code.
int Fail(config::Role role, const Error& error) {
  std::fprintf(stderr, "%s: %s\n", config::ProgramName(role).c_str(), error.text.c_str());
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

// Signals that come while the process takes itself apart, and no longer find a handler, must not change how it ends.
void BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2}) sigaddset(&signals, signal);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

// A node with its signals, its pid file, and the service manager that it tells of itself.
class Process {
 public:
  // What a command line means now: it names a file, which may be another each time.
  using Reload = std::function<config::Invocation()>;

  Process(const config::Settings& settings, Reload reload, Log& log, const MakeApplication& make)
      : at_start_(settings),
        reload_(std::move(reload)),
        log_(log),
        application_(make(loop_, settings, log)),
        node_(application_->node()),
        service_manager_(loop_, ServiceManager::OfThisProcess(), [this] { return Status(); }),
        on_term_(loop_, SIGTERM, [this] { DrainAndStop(); }),
        on_int_(loop_, SIGINT, [this] { StopAtOnce("SIGINT"); }),
        on_hup_(loop_, SIGHUP, [this] { TakeConfiguration(); }),
        on_usr1_(loop_, SIGUSR1, [this] { ReopenLogs(); }),
        on_usr2_(loop_, SIGUSR2, [this] { ToggleDrain(); }),
        retry_log_(loop_, [this] { log_.Flush(); }) {
    // Log lines leave at the end of each turn; what the sink did not take then is tried again.
    retry_log_.Unref();
    retry_log_.Start(seconds(1), seconds(1));
  }

  // Until a signal ends it. Once. Returns the exit code.
  int Run() {
    const config::Settings& settings = node_.settings();
    log_.Info("starting", {{"version", APHLICT_RELAY_VERSION}, {"id", node_.id()}});
    int exit_code = EX_OK;
    std::unique_ptr<PidFile> pid_file;
    if (auto started = Start(node_, settings, &pid_file); !started) {
      log_.Error("start_failed", {{"reason", started.error().text}});
      // Who starts it by hand, or a service manager that keeps stderr, is told as well where the log is a file.
      if (!settings.log_paths.empty()) Fail(settings.role, started.error());
      exit_code = started.error().code == 0 ? EX_OSERR : started.error().code;
      node_.Stop();
    } else {
      node_.SetOnOpened([this] { service_manager_.Ready(); });
      if (node_.opened()) service_manager_.Ready();
      loop_.Run();
    }
    if (!loop_.RunUntilIdle(kGoodbyeTime)) log_.Debug("goodbye_incomplete");
    application_.reset();  // while a signal still finds its handler, and before the pid file goes
    BlockSignals();
    log_.Info("stopped", {{"exit", exit_code}});
    log_.Flush();
    return exit_code;
  }

 private:
  void Stop() {
    if (std::exchange(stopped_, true)) return;
    node_.Stop();
    loop_.Stop();
  }

  void StopAtOnce(const char* signal) {
    log_.Info("stopping", {{"signal", signal}, {"drain", "no"}});
    if (!std::exchange(stopping_, true)) service_manager_.Stopping();
    Stop();
  }

  void DrainAndStop() {
    if (std::exchange(stopping_, true)) return StopAtOnce("SIGTERM");
    log_.Info("stopping", {{"signal", "SIGTERM"}, {"drain", "yes"}});
    node_.BeginDrain([this] { Stop(); });
    service_manager_.Stopping();
  }

  void ToggleDrain() {
    if (stopping_) return;
    if (!node_.draining()) return node_.BeginDrain(nullptr);
    node_.EndDrain();
  }

  void ReopenLogs() {
    log_.Reopen();
    log_.Info("logs_reopened");
  }

  void TakeConfiguration() {
    ReopenLogs();
    if (stopping_) return log_.Warning("reload_refused", {{"reason", "the node is about to stop"}});
    service_manager_.Reloading();
    reload_refused_ = !TakeSettings(reload_());
    service_manager_.Reloaded();
  }

  // Returns whether all of it was taken; else nothing was, and the log says why.
  bool TakeSettings(const config::Invocation& invocation) {
    const auto refuse = [&](std::string_view reason) { log_.Error("reload_refused", {{"reason", reason}}); };
    if (invocation.action != config::Invocation::Action::kRun) {
      for (const std::string& problem : invocation.problems) refuse(problem);
      if (invocation.problems.empty()) refuse(invocation.text);
      return false;
    }
    const config::Changes changes = config::Compare(node_.settings(), invocation.settings, at_start_);
    for (const std::string& key : changes.at_restart) {
      log_.Error("reload_refused", {{"key", key}, {"reason", "another value is only taken by another start"}});
    }
    if (!changes.at_restart.empty()) return false;
    // Keys and secrets that are about to be used may be the first.
    if (HoldsSecrets(invocation.settings)) ForbidCoreFiles();
    if (auto applied = node_.Apply(invocation.settings); !applied) {
      refuse(applied.error().text);
      return false;
    }
    for (const std::string& notice : invocation.settings.notices) log_.Warning("configuration", {{"notice", notice}});
    std::string keys;
    for (const std::string& key : changes.keys) keys += (keys.empty() ? "" : ", ") + key;
    log_.Info("reloaded", {{"changed", keys.empty() ? "nothing" : keys}});
    return true;
  }

  std::string Status() const {
    return (reload_refused_ ? "the last reload was refused, see the log; " : "") + node_.Summary();
  }

  const config::Settings& at_start_;  // outlives this
  net::Loop loop_;
  Reload reload_;
  Log& log_;
  std::unique_ptr<Application> application_;
  Node& node_;  // the application's
  ServiceManager service_manager_;
  net::SignalWatcher on_term_;
  net::SignalWatcher on_int_;
  net::SignalWatcher on_hup_;
  net::SignalWatcher on_usr1_;
  net::SignalWatcher on_usr2_;
  net::Timer retry_log_;
  bool stopping_ = false;  // the drain, if there is one, is the last
  bool stopped_ = false;
  bool reload_refused_ = false;
};

}  // namespace

int RunProcess(config::Role role, int argc, const char* const* argv, const MakeApplication& make) {
  std::signal(SIGPIPE, SIG_IGN);
  if (const auto exit_code = commands::Run(role, argc, argv)) return *exit_code;
  RaiseDescriptorLimit();
  FreeSmallPiecesAtOnce();
  const config::Invocation invocation = config::Load(role, argc, argv, commands::ListOfCommands(role));
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
    return Log::Open(settings.log_paths, {settings.log_level, settings.log_format, settings.name});
  };
  auto log = open_log();
  if (!log) return Fail(role, log.error());
  for (const std::string& notice : settings.notices) (*log)->Warning("configuration", {{"notice", notice}});
  return Process(
             settings, [=] { return config::Load(role, argc, argv); }, **log, make)
      .Run();
}

}  // namespace aphlict::node
