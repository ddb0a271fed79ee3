#include "common/node/service_manager.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <utility>

namespace aphlict::node {

namespace {

constexpr Duration kRefresh = seconds(1);

// 0 where it is no number.
std::int64_t NumberOf(const char* text) {
  std::int64_t number = 0;
  if (text != nullptr) std::from_chars(text, text + std::strlen(text), number);
  return number;
}

}  // namespace

ServiceManager::Environment ServiceManager::OfThisProcess() {
  return {std::getenv("NOTIFY_SOCKET"), std::getenv("WATCHDOG_USEC"), std::getenv("WATCHDOG_PID")};
}

ServiceManager::ServiceManager(net::Loop& loop, const Environment& environment, std::function<std::string()> status)
    : status_(std::move(status)) {
  if (environment.socket == nullptr || std::strlen(environment.socket) < 2) return;
  socket_name_ = environment.socket;
  if ((socket_name_[0] != '/' && socket_name_[0] != '@') || socket_name_.size() >= sizeof(sockaddr_un::sun_path))
    return;
  socket_ = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (socket_ < 0) return;
  const bool is_ours = environment.watchdog_pid == nullptr || NumberOf(environment.watchdog_pid) == getpid();
  if (is_ours) watchdog_ = std::chrono::microseconds(NumberOf(environment.watchdog_usec));
  tick_ = std::make_unique<net::Timer>(loop, [this] { Tick(); });
  tick_->Unref();
}

ServiceManager::~ServiceManager() {
  if (socket_ >= 0) close(socket_);
}

void ServiceManager::Ready() {
  if (socket_ < 0 || std::exchange(ready_, true)) return;
  Tell("READY=1\n");
  RefreshStatus();
  // Twice as often as it has to be, as sd_watchdog_enabled(3) has it.
  const Duration interval = watchdog_ > Duration::zero() ? std::min(kRefresh, watchdog_ / 2) : kRefresh;
  tick_->Start(interval, interval);
}

void ServiceManager::Reloading() {
  if (!ready_) return;
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  const std::int64_t usec = std::int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000;
  Tell("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(usec) + "\n");
}

void ServiceManager::Reloaded() {
  if (!ready_) return;
  Tell("READY=1\n");
  RefreshStatus();
}

void ServiceManager::Stopping() {
  if (socket_ < 0) return;
  Tell("STOPPING=1\n");
  if (ready_) RefreshStatus();
}

void ServiceManager::Tick() {
  if (!unsent_.empty() && Send(unsent_)) unsent_.clear();
  if (watchdog_ > Duration::zero()) Send("WATCHDOG=1\n");
  if (Now() - refreshed_ >= kRefresh) RefreshStatus();
}

void ServiceManager::RefreshStatus() {
  refreshed_ = Now();
  std::string status = status_();
  std::replace(status.begin(), status.end(), '\n', ' ');
  if (status == told_status_) return;
  if (Send("STATUS=" + status + "\n")) told_status_ = std::move(status);
}

void ServiceManager::Tell(std::string_view lines) {
  // In their order: a state that could not be sent goes before this one.
  if (!unsent_.empty() && !Send(unsent_)) return static_cast<void>(unsent_.append(lines));
  unsent_.clear();
  if (!Send(lines)) unsent_ = lines;
}

bool ServiceManager::Send(std::string_view lines) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, socket_name_.data(), socket_name_.size());
  if (address.sun_path[0] == '@') address.sun_path[0] = '\0';
  // The name of a file ends with a zero, which belongs to it; an abstract one is as long as it is.
  const std::size_t length = offsetof(sockaddr_un, sun_path) + socket_name_.size() + (socket_name_[0] == '@' ? 0 : 1);
  const ssize_t sent = sendto(socket_, lines.data(), lines.size(), MSG_NOSIGNAL,
                              reinterpret_cast<const sockaddr*>(&address), static_cast<socklen_t>(length));
  return sent >= 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != ENOBUFS);  // else it is not there any more
}

}  // namespace aphlict::node
