#include "common/admin/host_names.h"

#include <unistd.h>

#include <algorithm>
#include <sstream>

#include "common/base/file.h"
#include "common/http/head.h"
#include "common/net/address.h"

namespace aphlict::admin {

std::vector<std::string> LoopbackNamesIn(std::string_view hosts_file) {
  std::vector<std::string> names;
  std::istringstream lines{std::string(hosts_file)};
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line.substr(0, line.find('#')));
    std::string word;
    if (!(words >> word)) continue;
    const auto address = net::Address::Parse(word, 0);
    if (!address || !address->is_loopback()) continue;
    while (words >> word) names.push_back(http::ToLower(word));
  }
  return names;
}

std::vector<std::string> NamesOfThisHost() {
  const auto hosts = ReadWholeFile("/etc/hosts");
  std::vector<std::string> names;
  if (hosts) names = LoopbackNamesIn(*hosts);
  char own[256] = {};
  if (gethostname(own, sizeof(own) - 1) == 0 && own[0] != '\0') names.push_back(http::ToLower(own));
  return names;
}

std::string HostOf(std::string_view header) {
  if (header.starts_with('[')) {
    const std::size_t end = header.find(']');
    return http::ToLower(std::string(header.substr(1, end == std::string_view::npos ? end : end - 1)));
  }
  std::string host = http::ToLower(std::string(header.substr(0, header.find(':'))));
  if (host.ends_with('.')) host.pop_back();
  return host;
}

bool IsOwnHost(const std::string& host, const std::vector<std::string>& names) {
  if (host.find('.') == std::string::npos || host.ends_with(".localhost")) return true;
  return net::Address::Parse(host, 0).has_value() || std::find(names.begin(), names.end(), host) != names.end();
}

}  // namespace aphlict::admin
