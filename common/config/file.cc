// The configuration file.
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <optional>

#include "common/admin/host_names.h"
#include "common/config/changes.h"
#include "common/config/limits.h"
#include "common/config/load.h"
#include "common/json/value.h"

namespace aphlict::config {

namespace {

// Reads the file's tree into settings, and collects what is wrong with it.
class FileReader {
 public:
  FileReader(std::string_view file, Settings* settings, std::vector<std::string>* problems)
      : file_(file), settings_(*settings), problems_(*problems) {}

  void Read(const json::Value& root) {
    if (!root.is_object()) return Problem("", root, "expected an object, got " + std::string(root.type_name()));
    Members(
        root, "",
        {
            {"servers", [&](auto& value, auto& key) { Servers(value, key); }},
            {"logs", [&](auto& value, auto& key) { Logs(value, key); }},
            {"cluster", [&](auto& value, auto& key) { Cluster(value, key); }},
            {"pidfile", [&](auto& value, auto& key) { Text(value, key, &settings_.pidfile); }},
            {"memory.hint", [&](auto& value, auto& key) { MemoryHint(value, key); }},
            {"upstream", [&](auto& value, auto& key) { Upstream(value, key); }},
            {"ssl.ca", [&](auto& value, auto& key) { Text(value, key, &settings_.tls.ca); }},
            {"ssl.cert", [&](auto& value, auto& key) { Text(value, key, &settings_.tls.cert); }},
            {"ssl.key", [&](auto& value, auto& key) { Text(value, key, &settings_.tls.key); }},
            {"ssl.chain", [&](auto& value, auto& key) { Text(value, key, &settings_.tls.chain); }},
            {"public.url", [&](auto& value, auto& key) { PublicUrl(value, key); }},
            {"name", [&](auto& value, auto& key) { Text(value, key, &settings_.name); }},
            {"state", [&](auto& value, auto& key) { State(value, key); }},
            {"durability", [&](auto& value, auto& key) { DurabilityName(value, key); }},
            {"drain.seconds", [&](auto& value, auto& key) { DrainTime(value, key); }},
            {"reuse.port", [&](auto& value, auto& key) { Flag(value, key, &settings_.reuse_port); }},
            {"user", [&](auto& value, auto& key) { Text(value, key, &settings_.user_name); }},
            {"secret.file", [&](auto& value, auto& key) { FilePath(value, key, &settings_.secret_file); }},
            {"admin.secret.file", [&](auto& value, auto& key) { FilePath(value, key, &settings_.admin_secret_file); }},
            {"log.format", [&](auto& value, auto& key) { Word(value, key, ParseLogFormat, &settings_.log_format); }},
            {"log.level", [&](auto& value, auto& key) { Word(value, key, ParseLogLevel, &settings_.log_level); }},
            {"limits", [&](auto& value, auto& key) { LimitsObject(value, key); }},
        });
  }

  // Types whose listeners the file switches off.
  std::vector<ServerType> off;

 private:
  using Handlers =
      std::vector<std::pair<std::string_view, std::function<void(const json::Value&, const std::string&)>>>;

  void Problem(const std::string& key, const json::Value& value, const std::string& text) {
    std::string line(file_);
    line += ": ";
    if (!key.empty()) line += key + ": ";
    problems_.push_back(line + text + " (line " + std::to_string(value.line()) + ")");
  }

  void Expected(const std::string& key, const json::Value& value, const std::string& what) {
    Problem(key, value, "expected " + what + ", got " + std::string(value.type_name()));
  }

  // Calls the handler of each member that is not null; a key without one is a problem.
  void Members(const json::Value& object, const std::string& prefix, const Handlers& handlers) {
    for (const auto& [key, value] : object.members()) {
      const std::string path = prefix.empty() ? key : prefix + "." + key;
      const auto found =
          std::find_if(handlers.begin(), handlers.end(), [&key = key](const auto& each) { return each.first == key; });
      if (found != handlers.end()) {
        if (!value.is_null()) found->second(value, path);
        continue;
      }
      std::vector<std::string> names;
      for (const auto& [name, handler] : handlers) names.emplace_back(name);
      std::string text = "unknown key";
      if (const auto nearest = Nearest(key, names)) text += "; did you mean `" + *nearest + "`?";
      Problem(path, value, text);
    }
  }

  void Text(const json::Value& value, const std::string& key, std::string* target) {
    if (!value.is_string()) return Expected(key, value, "a string");
    *target = value.string();
  }

  void FilePath(const json::Value& value, const std::string& key, std::string* target) {
    Text(value, key, target);
    if (value.is_string() && target->empty()) Problem(key, value, "expected a file, got nothing");
  }

  // `least` where it is none.
  std::int64_t Port(const json::Value& value, const std::string& key, std::int64_t least) {
    const auto port = value.integer();
    if (port && *port >= least && *port <= 65'535) return *port;
    Problem(key, value,
            "expected a number from " + std::to_string(least) + " to 65535" +
                (value.is_number() ? "" : ", got " + std::string(value.type_name())));
    return least;
  }

  void Servers(const json::Value& value, const std::string& key) {
    if (!value.is_array()) return Expected(key, value, "a list of servers");
    for (std::size_t i = 0; i < value.elements().size(); ++i) {
      ServerObject(value.elements()[i], key + "[" + std::to_string(i) + "]");
    }
  }

  void ServerObject(const json::Value& value, const std::string& key) {
    if (!value.is_object()) return Expected(key, value, "an object");
    std::string type;
    std::optional<std::string> listen;
    std::optional<std::int64_t> port;
    net::TlsFiles tls;
    admin::Access access;
    std::vector<http::OriginPattern> origins;
    server::TrustedProxies proxies;
    Members(value, key,
            {
                {"type", [&](auto& each, auto& path) { Text(each, path, &type); }},
                {"port", [&](auto& each, auto& path) { port = Port(each, path, 0); }},
                {"listen",
                 [&](auto& each, auto& path) {
                   listen = "";
                   Text(each, path, &*listen);
                 }},
                {"allow", [&](auto& each, auto& path) { Allow(each, path, &access); }},
                {"hosts", [&](auto& each, auto& path) { Hosts(each, path, &access.hosts); }},
                {"origins", [&](auto& each, auto& path) { Origins(each, path, &origins); }},
                {"trusted.proxies", [&](auto& each, auto& path) { Networks(each, path, &proxies.networks); }},
                {"proxy.protocol", [&](auto& each, auto& path) { Flag(each, path, &proxies.proxy_protocol); }},
                {"ssl.key", [&](auto& each, auto& path) { Text(each, path, &tls.key); }},
                {"ssl.cert", [&](auto& each, auto& path) { Text(each, path, &tls.cert); }},
                {"ssl.chain", [&](auto& each, auto& path) { Text(each, path, &tls.chain); }},
                {"ssl.client.ca", [&](auto& each, auto& path) { Text(each, path, &tls.ca); }},
            });
    Server server{ServerType::kAdmin, "127.0.0.1", 0, std::string(file_) + ": " + key, std::move(tls)};
    for (const char* name : {"allow", "hosts"}) OnlyOf({"admin"}, type, value, key, name);
    OnlyOf({"client"}, type, value, key, "origins");
    for (const char* name : {"trusted.proxies", "proxy.protocol"}) OnlyOf({"client", "admin"}, type, value, key, name);
    if (proxies.proxy_protocol && proxies.networks.empty()) {
      Problem(key + ".proxy.protocol", value, "needs `trusted.proxies`: whose header is taken");
    }
    server.proxies = std::move(proxies);
    if (type == "admin") {
      server.access = std::move(access);
      server.port = settings_.role == Role::kMaster ? 22'281 : 22'283;
      if (!listen) {
        settings_.notices.push_back(
            key + ": no `listen`: the admin port is bound to 127.0.0.1, where Aphlict would have taken 0.0.0.0");
      }
    } else if (type == "client") {
      server.type = ServerType::kClient;
      server.origins = std::move(origins);
      server.host = "0.0.0.0";
      server.port = 22'280;
    } else if (type == "repeater") {
      server.type = ServerType::kRepeater;
      server.port = 22'282;
    } else {
      if (value["type"].is_null() || value["type"].is_string()) {
        Problem(key + ".type", value, "expected \"admin\", \"client\" or \"repeater\"");
      }
      return;
    }
    if (value.has("port") && value["port"].is_null()) {
      off.push_back(server.type);
      return;
    }
    if (listen) server.host = *listen;
    if (server.host.size() > 1 && server.host.front() == '[' && server.host.back() == ']') {
      server.host = server.host.substr(1, server.host.size() - 2);
    }
    if (server.host.empty()) Problem(key + ".listen", value, "expected an address or a name");
    if (port) server.port = static_cast<std::uint16_t>(*port);
    settings_.servers.push_back(std::move(server));
  }

  // A key of a server that means nothing for another type.
  void OnlyOf(const std::vector<std::string>& types, const std::string& actual, const json::Value& server,
              const std::string& key, std::string_view name) {
    if (std::find(types.begin(), types.end(), actual) != types.end() || server[name].is_null()) return;
    Problem(
        key + "." + std::string(name), server[name],
        "is only for a server of the type \"" + types[0] + "\"" + (types.size() > 1 ? " or \"" + types[1] + "\"" : ""));
  }

  void Origins(const json::Value& value, const std::string& key, std::vector<http::OriginPattern>* origins) {
    if (!value.is_array()) return Expected(key, value, "a list of origins");
    if (value.elements().empty()) Problem(key, value, "expected at least one origin; without this key, it is all");
    for (std::size_t i = 0; i < value.elements().size(); ++i) {
      const json::Value& each = value.elements()[i];
      const std::string path = key + "[" + std::to_string(i) + "]";
      if (!each.is_string()) {
        Expected(path, each, "an origin");
      } else if (auto origin = http::OriginPattern::Parse(each.string()); !origin) {
        Problem(path, each, origin.error().text);
      } else {
        origins->push_back(std::move(*origin));
      }
    }
  }

  void Allow(const json::Value& value, const std::string& key, admin::Access* access) {
    if (value.is_object()) {
      Handlers handlers;
      for (std::size_t i = 0; i < admin::kRightNames.size(); ++i) {
        handlers.emplace_back(admin::kRightNames[i], [this, access, i](auto& each, auto& path) {
          Networks(each, path, &access->allow[i].emplace());
        });
      }
      return Members(value, key, handlers);
    }
    std::vector<net::Network> networks;
    Networks(value, key, &networks);
    access->allow.fill(networks);
  }

  void Networks(const json::Value& value, const std::string& key, std::vector<net::Network>* networks) {
    if (!value.is_array()) return Expected(key, value, "a list of networks");
    for (std::size_t i = 0; i < value.elements().size(); ++i) {
      const json::Value& each = value.elements()[i];
      const std::string path = key + "[" + std::to_string(i) + "]";
      if (!each.is_string()) {
        Expected(path, each, "a network");
      } else if (auto network = net::Network::Parse(each.string()); !network) {
        Problem(path, each, network.error().text);
      } else {
        networks->push_back(*network);
      }
    }
  }

  void Hosts(const json::Value& value, const std::string& key, std::vector<std::string>* hosts) {
    if (!value.is_array()) return Expected(key, value, "a list of names");
    for (std::size_t i = 0; i < value.elements().size(); ++i) {
      const json::Value& each = value.elements()[i];
      if (!each.is_string() || each.string().empty() || each.string().find_first_of(":/ ") != std::string::npos) {
        Expected(key + "[" + std::to_string(i) + "]", each, "a name without scheme and port");
      } else {
        hosts->push_back(admin::HostOf(each.string()));
      }
    }
  }

  void Logs(const json::Value& value, const std::string& key) {
    if (!value.is_array()) return Expected(key, value, "a list of objects");
    for (std::size_t i = 0; i < value.elements().size(); ++i) {
      const json::Value& log = value.elements()[i];
      const std::string path = key + "[" + std::to_string(i) + "]";
      if (!log.is_object()) {
        Expected(path, log, "an object");
        continue;
      }
      std::string target;
      Members(log, path, {{"path", [&](auto& each, auto& at) { FilePath(each, at, &target); }}});
      if (log["path"].is_null()) Problem(path + ".path", log, "is missing");
      if (!target.empty()) settings_.log_paths.push_back(target);
    }
  }

  void Cluster(const json::Value& value, const std::string& key) {
    if (!value.is_array()) return Expected(key, value, "a list of peers");
    for (std::size_t i = 0; i < value.elements().size(); ++i) {
      Peer(value.elements()[i], key + "[" + std::to_string(i) + "]");
    }
    if (settings_.role == Role::kRepeater && !value.elements().empty()) {
      settings_.notices.push_back(key + ": has no effect: only masters take publishes and push them to peers");
    }
  }

  void Peer(const json::Value& value, const std::string& key) {
    if (!value.is_object()) return Expected(key, value, "an object");
    http::Url peer;
    peer.scheme = "http";
    peer.port = 22'281;
    Members(value, key,
            {
                {"host", [&](auto& each, auto& path) { Text(each, path, &peer.host); }},
                {"port", [&](auto& each, auto& path) { peer.port = static_cast<std::uint16_t>(Port(each, path, 1)); }},
                {"protocol", [&](auto& each, auto& path) { Text(each, path, &peer.scheme); }},
            });
    if (peer.host.empty()) Problem(key + ".host", value, "is missing");
    if (peer.scheme != "http" && peer.scheme != "https") {
      Problem(key + ".protocol", value, "expected \"http\" or \"https\"");
    }
    const bool twice = std::find(settings_.cluster.begin(), settings_.cluster.end(), peer) != settings_.cluster.end();
    if (twice) Problem(key, value, "is listed twice, and would get each message twice");
    settings_.cluster.push_back(std::move(peer));
  }

  void MemoryHint(const json::Value& value, const std::string& key) {
    if (!value.is_number()) return Expected(key, value, "a number");
    settings_.notices.push_back(key + ": has no effect: memory is bounded by `limits`");
  }

  void Upstream(const json::Value& value, const std::string& key) {
    if (settings_.role == Role::kMaster) return Problem(key, value, "a master has no upstream; run aphlict-repeater");
    if (!value.is_array()) return Expected(key, value, "a list of groups, each a list of URLs");
    if (value.elements().empty()) Problem(key, value, "expected at least one group");
    for (std::size_t i = 0; i < value.elements().size(); ++i) {
      Group(value.elements()[i], key + "[" + std::to_string(i) + "]");
    }
  }

  void Group(const json::Value& value, const std::string& key) {
    UpstreamGroup group;
    if (value.is_object()) {
      Members(value, key,
              {
                  {"urls", [&](auto& each, auto& path) { Urls(each, path, &group); }},
                  {"instances", [&](auto& each, auto& path) { InstanceNames(each, path, &group); }},
              });
      if (value["urls"].is_null()) Problem(key + ".urls", value, "is missing");
    } else {
      Urls(value, key, &group);
    }
    settings_.upstream.push_back(std::move(group));
  }

  void Urls(const json::Value& value, const std::string& key, UpstreamGroup* group) {
    if (!value.is_array()) return Expected(key, value, "a list of URLs");
    if (value.elements().empty()) Problem(key, value, "expected at least one URL");
    for (std::size_t i = 0; i < value.elements().size(); ++i) {
      UpstreamUrl(value.elements()[i], key + "[" + std::to_string(i) + "]", group);
    }
  }

  void UpstreamUrl(const json::Value& value, const std::string& key, UpstreamGroup* group) {
    if (!value.is_string()) return Expected(key, value, "a URL");
    auto url = http::ParseUrl(value.string());
    if (!url) return Problem(key, value, url.error().text);
    group->urls.push_back(std::move(*url));
  }

  void InstanceNames(const json::Value& value, const std::string& key, UpstreamGroup* group) {
    if (!value.is_array()) return Expected(key, value, "a list of instances");
    if (value.elements().empty()) Problem(key, value, "expected at least one instance; without this key, it is all");
    for (std::size_t i = 0; i < value.elements().size(); ++i) {
      const json::Value& each = value.elements()[i];
      if (!each.is_string() || each.string().empty()) {
        Expected(key + "[" + std::to_string(i) + "]", each, "a name");
        continue;
      }
      group->instances.push_back(each.string());
    }
  }

  void PublicUrl(const json::Value& value, const std::string& key) {
    if (!value.is_string()) return Expected(key, value, "a URL");
    if (auto url = http::ParseUrl(value.string()); !url) return Problem(key, value, url.error().text);
    settings_.public_url = value.string();
  }

  void State(const json::Value& value, const std::string& key) {
    if (settings_.role == Role::kRepeater) return Problem(key, value, "a repeater keeps no state");
    Text(value, key, &settings_.state);
  }

  void DurabilityName(const json::Value& value, const std::string& key) {
    if (settings_.role == Role::kRepeater) return Problem(key, value, "a repeater keeps no state");
    if (!value.is_string()) return Expected(key, value, "a string");
    const auto durability = ParseDurability(value.string());
    if (!durability) return Problem(key, value, durability.error().text);
    settings_.durability = *durability;
  }

  void DrainTime(const json::Value& value, const std::string& key) {
    const auto number = value.integer();
    if (!number || *number < 0 || *number > kMaxDrainSeconds) {
      return Problem(key, value, "expected a whole number from 0 to " + std::to_string(kMaxDrainSeconds));
    }
    settings_.drain_time = seconds(*number);
  }

  void Flag(const json::Value& value, const std::string& key, bool* target) {
    if (!value.is_bool()) return Expected(key, value, "true or false");
    *target = value.boolean();
  }

  // One of the words that `parse` knows.
  template <typename T>
  void Word(const json::Value& value, const std::string& key, Result<T> (*parse)(std::string_view), T* target) {
    if (!value.is_string()) return Expected(key, value, "a string");
    const auto parsed = parse(value.string());
    if (!parsed) return Problem(key, value, parsed.error().text);
    *target = *parsed;
  }

  void LimitsObject(const json::Value& value, const std::string& key) {
    if (!value.is_object()) return Expected(key, value, "an object");
    Limits& limits = settings_.limits;
    const auto number = [&](auto* target, std::int64_t least, std::int64_t most) {
      return [this, target, least, most](const json::Value& each, const std::string& path) {
        const auto integer = each.integer();
        if (!integer || *integer < least || *integer > most) {
          return Problem(path, each,
                         "expected a whole number from " + std::to_string(least) + " to " + std::to_string(most) +
                             (each.is_number() ? "" : ", got " + std::string(each.type_name())));
        }
        *target = static_cast<std::remove_pointer_t<decltype(target)>>(*integer);
      };
    };
    Handlers handlers;
    ForEachLimit([&](std::string_view name, auto member, std::int64_t least, std::int64_t most) {
      handlers.emplace_back(name, number(&(limits.*member), least, most));
    });
    Members(value, key, handlers);
  }

  std::string_view file_;
  Settings& settings_;
  std::vector<std::string>& problems_;
};

}  // namespace

Result<Durability> ParseDurability(const std::string& text) {
  if (text == "process") return Durability::kProcess;
  if (text == "power") return Durability::kPower;
  return Error{"expected \"process\" or \"power\", got \"" + text + "\""};
}

std::vector<ServerType> ReadFile(std::string_view file, std::string_view text, Settings* settings,
                                 std::vector<std::string>* problems) {
  const auto root = json::Parse(text, {.comments = true});
  if (!root) {
    problems->push_back(std::string(file) + ": " + root.error().text);
    return {};
  }
  FileReader reader(file, settings, problems);
  reader.Read(*root);
  return reader.off;
}

}  // namespace aphlict::config
