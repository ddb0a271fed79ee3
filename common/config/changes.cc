#include "common/config/changes.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include "common/config/limits.h"
#include "common/http/head.h"

namespace aphlict::config {

namespace {

constexpr std::string_view kLimits = "limits.";
constexpr std::string_view kServers = "servers[].";

// What a comparison is made of, from something of the settings or of a server.
template <class T>
auto Same(T member) {
  return [member](const Settings& before, const Settings& after) { return before.*member == after.*member; };
}

template <class Part>
auto SamePart(Part part) {
  return [part](const Settings& before, const Settings& after) { return part(before) == part(after); };
}

// Of the listeners that are in both: a new one has nothing that has changed.
template <class Part>
auto SameOfServers(Part part) {
  return [part](const Settings& before, const Settings& after) {
    const auto places = MatchServers(before.servers, after.servers);
    for (std::size_t i = 0; i < places.size(); ++i) {
      if (places[i] && part(before.servers[*places[i]]) != part(after.servers[i])) return false;
    }
    return true;
  };
}

// Of the list of listeners, in whatever order it is.
template <class Part>
auto SameListOfServers(Part part) {
  return SamePart([part](const Settings& settings) {
    std::vector<decltype(part(settings.servers[0]))> all;
    for (const Server& server : settings.servers) all.push_back(part(server));
    std::sort(all.begin(), all.end());
    return all;
  });
}

}  // namespace

std::vector<Setting> AllSettings() {
  constexpr bool kAtRestart = false;
  std::vector<Setting> all;
  const auto add = [&](std::string key, Setting::Comparison same, bool reloads = true) {
    all.push_back({std::move(key), reloads, std::move(same)});
  };
  const auto add_of_servers = [&](std::string_view key, auto part) {
    add(std::string(kServers) + std::string(key), SameOfServers(part));
  };
  const auto anything = [](const Settings&, const Settings&) { return true; };  // has no effect

  add("servers[].type", SameListOfServers([](const Server& server) { return server.type; }));
  add("servers[].listen", SameListOfServers([](const Server& server) { return std::tuple(server.type, server.host); }));
  add("servers[].port",
      SameListOfServers([](const Server& server) { return std::tuple(server.type, server.host, server.port); }));
  add_of_servers("ssl.key", [](const Server& server) { return server.tls.key; });
  add_of_servers("ssl.cert", [](const Server& server) { return server.tls.cert; });
  add_of_servers("ssl.chain", [](const Server& server) { return server.tls.chain; });
  add_of_servers("ssl.client.ca", [](const Server& server) { return server.tls.ca; });
  add("ssl.ca", SamePart([](const Settings& settings) { return settings.tls.ca; }));
  add("ssl.key", SamePart([](const Settings& settings) { return settings.tls.key; }));
  add("ssl.cert", SamePart([](const Settings& settings) { return settings.tls.cert; }));
  add("ssl.chain", SamePart([](const Settings& settings) { return settings.tls.chain; }));
  add_of_servers("allow", [](const Server& server) { return server.access.allow; });
  add_of_servers("hosts", [](const Server& server) { return server.access.hosts; });
  add_of_servers("origins", [](const Server& server) { return server.origins; });
  add_of_servers("trusted.proxies", [](const Server& server) { return server.proxies.networks; });
  add_of_servers("proxy.protocol", [](const Server& server) { return server.proxies.proxy_protocol; });
  add("upstream", Same(&Settings::upstream));
  add("secret.file", [](const Settings& before, const Settings& after) {
    return before.secret_file == after.secret_file && SameSecrets(before.secrets, after.secrets);
  });
  add("admin.secret.file", [](const Settings& before, const Settings& after) {
    return before.admin_secret_file == after.admin_secret_file &&
           SameSecrets(before.admin_secrets, after.admin_secrets);
  });
  add("user", Same(&Settings::user_name), kAtRestart);
  const auto same_name = [](const Settings& before, const Settings& after) {
    return before.name == after.name || (before.named_by_host && after.named_by_host);
  };
  add("name", same_name, kAtRestart);
  add("public.url", Same(&Settings::public_url));
  add("state", Same(&Settings::state), kAtRestart);
  add("durability", Same(&Settings::durability), kAtRestart);
  add("drain.seconds", Same(&Settings::drain_time));
  add("reuse.port", Same(&Settings::reuse_port), kAtRestart);
  add("logs[].path", Same(&Settings::log_paths));
  add("log.level", Same(&Settings::log_level));
  add("log.format", Same(&Settings::log_format), kAtRestart);
  add("pidfile", Same(&Settings::pidfile), kAtRestart);
  add("cluster", Same(&Settings::cluster));
  add("memory.hint", anything);
  ForEachLimit([&](std::string_view key, auto member, std::int64_t, std::int64_t) {
    add(std::string(kLimits) + std::string(key),
        SamePart([member](const Settings& settings) { return settings.limits.*member; }));
  });
  return all;
}

Changes Compare(const Settings& before, const Settings& after, const Settings& at_start) {
  Changes changes;
  for (const Setting& setting : AllSettings()) {
    if (setting.same(before, after)) continue;
    changes.keys.push_back(setting.key);
    // The map of a state folder's database is made at the start, for as many bytes as the history may have.
    const bool outgrows_state = setting.key == "limits.history.bytes" && !after.state.empty() &&
                                after.limits.history_bytes > at_start.limits.history_bytes;
    if (!setting.reloads || outgrows_state) changes.at_restart.push_back(setting.key);
  }
  return changes;
}

std::vector<std::optional<std::size_t>> MatchServers(const std::vector<Server>& before,
                                                     const std::vector<Server>& after) {
  std::vector<std::optional<std::size_t>> places;
  std::vector<bool> taken(before.size());
  for (const Server& server : after) {
    std::optional<std::size_t> place;
    for (std::size_t i = 0; i < before.size() && !place; ++i) {
      const Server& other = before[i];
      if (!taken[i] && other.type == server.type && other.host == server.host && other.port == server.port) place = i;
    }
    if (place) taken[*place] = true;
    places.push_back(place);
  }
  return places;
}

std::size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);  // from the beginning of `a` so far to each beginning of `b`
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0u : 1u)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

std::optional<std::string> Nearest(std::string_view word, const std::vector<std::string>& candidates) {
  constexpr std::size_t kMost = 3;
  std::optional<std::string> nearest;
  std::size_t least = kMost + 1;
  for (const std::string& candidate : candidates) {
    const std::size_t distance = EditDistance(http::ToLower(std::string(word)), http::ToLower(candidate));
    // Of a short word, nothing may be left that the two have in common.
    if (distance >= least || 2 * distance > std::max(word.size(), candidate.size())) continue;
    least = distance;
    nearest = candidate;
  }
  return nearest;
}

}  // namespace aphlict::config
