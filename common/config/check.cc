#include "common/config/check.h"

#include <fcntl.h>
#include <sysexits.h>
#include <unistd.h>

#include <cerrno>
#include <ctime>
#include <filesystem>
#include <memory>
#include <string>

#include "common/config/load.h"
#include "common/net/address.h"
#include "common/net/listener.h"
#include "common/net/loop.h"

namespace aphlict::config {

namespace {

namespace fs = std::filesystem;

Error Problem(const std::string& where, const fs::path& path, int error) {
  return {where + ": " + path.string() + ": " + net::ErrorText(error),
          error == EACCES || error == EPERM ? EX_NOPERM : EX_CONFIG};
}

// By the user that the process acts as. Sets errno.
bool MayUse(const fs::path& path, int mode) { return faccessat(AT_FDCWD, path.c_str(), mode, AT_EACCESS) == 0; }

// `path` is absolute in these. A folder, or the next one above it that exists: those below are made when they are
// needed.
Result<void> CheckFolder(const std::string& where, const fs::path& path) {
  std::error_code error;
  fs::path nearest = path;
  while (!fs::exists(nearest, error) && nearest.has_relative_path()) nearest = nearest.parent_path();
  if (!fs::is_directory(nearest, error)) return Problem(where, path, ENOTDIR);
  if (!MayUse(nearest, W_OK | X_OK)) return Problem(where, path, errno);
  return {};
}

// Does not open it: of a FIFO, this would be the end for who reads it.
Result<void> CheckFile(const std::string& where, const fs::path& path) {
  std::error_code error;
  if (fs::is_directory(path, error)) return Problem(where, path, EISDIR);
  if (!fs::exists(path, error)) return CheckFolder(where, path.parent_path());
  if (!MayUse(path, W_OK)) return Problem(where, path, errno);
  return {};
}

void Collect(const Result<void>& result, std::vector<Error>* problems) {
  if (!result) problems->push_back(result.error());
}

}  // namespace

std::vector<Error> CheckFiles(const Settings& settings) {
  const ActingAs acting(settings.user ? &*settings.user : nullptr);
  std::vector<Error> problems;
  const std::string file = settings.file + ": ";
  for (std::size_t i = 0; i < settings.log_paths.size(); ++i) {
    Collect(CheckFile(file + "logs[" + std::to_string(i) + "].path", fs::absolute(settings.log_paths[i])), &problems);
  }
  if (!settings.pidfile.empty()) Collect(CheckFile(file + "pidfile", fs::absolute(settings.pidfile)), &problems);
  if (!settings.state.empty()) Collect(CheckFolder("state", fs::absolute(settings.state)), &problems);
  return problems;
}

std::vector<Error> CheckCertificates(const Settings& settings, std::vector<std::string>* notices) {
  std::vector<Error> problems;
  const auto check = [&](const std::string& where, const Result<std::unique_ptr<net::TlsContext>>& context) {
    if (!context) {
      problems.push_back({where + context.error().text, EX_CONFIG});
      return;
    }
    for (const std::string& notice : (*context)->Notices(std::time(nullptr))) notices->push_back(where + notice);
  };
  for (const Server& server : settings.servers) {
    if (!server.tls.empty()) check(server.where + ": ", net::TlsContext::ForServer(server.tls, nullptr));
  }
  if (!settings.tls.empty()) check("", net::TlsContext::ForClient(settings.tls));
  return problems;
}

std::vector<Error> CheckAddresses(const Settings& settings) {
  std::vector<Error> problems;
  for (const Server& server : settings.servers) {
    const auto addresses = net::ResolveNow(server.host, server.port);
    if (!addresses) {
      problems.push_back({server.where + ": " + addresses.error().text, EX_CONFIG});
      continue;
    }
    const net::Address& address = addresses->front();
    // Of an address in text, this has been said without looking it up.
    if (IsOpenFeed(settings, server) && !address.is_loopback() && !net::Address::Parse(server.host, 0)) {
      problems.push_back({server.where + ": " + OpenFeedProblem(address.ToString()), EX_CONFIG});
    }
  }
  return problems;
}

std::vector<Error> CheckPorts(const Settings& settings) {
  std::vector<Error> problems;
  net::Loop loop;
  std::vector<std::unique_ptr<net::Listener>> taken;  // until all are: two of them may be one address
  for (const Server& server : settings.servers) {
    const auto addresses = net::ResolveNow(server.host, server.port);
    if (!addresses) continue;
    const bool shared = server.type == ServerType::kClient && settings.reuse_port;
    auto listener = net::Listener::Bind(loop, addresses->front(), shared, nullptr);
    if (!listener) {
      problems.push_back({server.where + ": " + listener.error().text, listener.error().code});
    } else {
      taken.push_back(std::move(*listener));
    }
  }
  return problems;
}

}  // namespace aphlict::config
