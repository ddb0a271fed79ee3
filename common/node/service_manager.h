// What the node tells the service manager that has started it (sd_notify(3)): datagrams of NAME=VALUE lines to the Unix
// socket that NOTIFY_SOCKET names. Without it nothing is told, and nothing costs.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/time.h"
#include "common/net/loop.h"
#include "common/net/timer.h"

namespace aphlict::node {

class ServiceManager {
 public:
  // The variables as systemd sets them, or null. Of a socket's name, "@" in the beginning is one of the abstract ones.
  // WATCHDOG_USEC counts where WATCHDOG_PID is this process's, or not set.
  struct Environment {
    const char* socket = nullptr;         // NOTIFY_SOCKET
    const char* watchdog_usec = nullptr;  // WATCHDOG_USEC
    const char* watchdog_pid = nullptr;   // WATCHDOG_PID
  };
  static Environment OfThisProcess();

  // `status` makes the line that `systemctl status` shows. It is asked for once a second at most, and sent where it has
  // changed.
  ServiceManager(net::Loop& loop, const Environment& environment, std::function<std::string()> status);
  ~ServiceManager();
  ServiceManager(const ServiceManager&) = delete;
  ServiceManager& operator=(const ServiceManager&) = delete;

  // The node is there for everybody. From now on the loop feeds the watchdog, if there is one.
  void Ready();
  // A change of the configuration begins, and is over. Says nothing of a node that is not ready yet.
  void Reloading();
  void Reloaded();
  // The node begins to end.
  void Stopping();

 private:
  void Tick();
  void RefreshStatus();
  // A datagram. Those that the manager does not take yet are kept, but for the last status, and tried again.
  void Tell(std::string_view lines);
  bool Send(std::string_view lines);

  std::function<std::string()> status_;
  std::string socket_name_;
  int socket_ = -1;  // -1: there is nobody to tell
  Duration watchdog_{};
  bool ready_ = false;
  std::string told_status_;
  std::string unsent_;
  Time refreshed_{};
  std::unique_ptr<net::Timer> tick_;
};

}  // namespace aphlict::node
