#include "common/commands/phabricator.h"

#include <set>
#include <utility>

#include "common/base/printable.h"
#include "common/commands/json_layout.h"
#include "common/config/load.h"
#include "common/json/value.h"

namespace aphlict::commands {

namespace {

constexpr int kFeedPort = 22'282;

std::string HostOf(const http::Url& url) {
  return url.host.find(':') == std::string::npos ? url.host : "[" + url.host + "]";
}

// `{"type": …}` as Phabricator wants it: the protocol is that of pages, not that of WebSockets.
std::string Entry(const char* type, const http::Url& url) {
  std::string text = "{\"type\": " + Quoted(type) + ", \"host\": " + Quoted(HostOf(url)) +
                     ", \"port\": " + std::to_string(url.port) +
                     ", \"protocol\": " + (url.secure() ? "\"https\"" : "\"http\"");
  if (url.path != "/") text += ", \"path\": " + Quoted(url.path);
  return text + "}";
}

bool IsOfThisHost(const http::Url& url) {
  return url.host == "localhost" || url.host == "::1" || url.host.starts_with("127.");
}

std::string NameOf(const TreeNode& node) { return Printable(node.name.empty() ? node.id : node.name); }

// A JSON value as it is written again, with changes on the way.
class Converter {
 public:
  explicit Converter(std::vector<std::string>* notes) : notes_(*notes) {}

  std::string Convert(const json::Value& root) {
    std::string text = "{\"servers\": [";
    std::string servers;
    bool feed = false, port_taken = false;
    for (const json::Value& server : root["servers"].elements()) {
      feed = feed || server["type"].string() == "repeater";
      port_taken = port_taken || server["port"].integer() == kFeedPort;
      if (server["type"].string() == "client") NoteClients(server);
      servers += (servers.empty() ? "" : ", ") + Server(server);
    }
    if (!feed && port_taken) {
      servers += (servers.empty() ? "" : ", ") + std::string(R"({"type": "repeater", "port": null})");
      notes_.push_back("servers: port 22282 is taken, so there is no feed for repeaters; give it another one");
    } else if (!feed) {
      servers +=
          (servers.empty() ? "" : ", ") + std::string(R"({"type": "repeater", "listen": "127.0.0.1", "port": 22282})");
      notes_.push_back(
          "servers: a feed for repeaters on 127.0.0.1:22282 was added; for repeaters on other hosts, let it listen "
          "elsewhere and give it a `secret.file`");
    }
    text += servers + "]";
    for (const auto& [key, value] : root.members()) {
      if (key == "servers" || key == "memory.hint") continue;
      if (key == "logs" || key == "pidfile") {
        NoteFile(key, value);
        continue;
      }
      text += ", " + Quoted(key) + ": " + Layout(value);
    }
    return text + "}";
  }

 private:
  void NoteClients(const json::Value& server) {
    const json::Value& port = server["port"];
    if (server.has("port") && port.is_null()) return;  // it is off
    notes_.push_back("servers: the master itself serves browsers on port " +
                     (server.has("port") ? std::string(port.number_text()) : std::string("22280")) +
                     ", as Aphlict did. A repeater on this host needs another port, or this one: then remove the "
                     "`client` entry");
  }

  // What Aphlict wrote where the systemd units may not.
  void NoteFile(const std::string& key, const json::Value& value) {
    if (value.is_null() || (value.is_array() && value.elements().empty())) return;
    notes_.push_back(key == "logs" ? "logs: left out: the journal has the log. For a file, name one in "
                                     "/var/log/aphlict-relay, where the systemd unit may write"
                                   : "pidfile: left out: systemd needs none, and its unit may not write there");
  }

  // With the address that it gets where none was named, which is not the same for each type.
  static std::string Server(const json::Value& server) {
    std::string text;
    const auto add = [&](std::string_view key, const std::string& value) {
      text += (text.empty() ? "" : ", ") + Quoted(key) + ": " + value;
    };
    const bool admin = server["type"].string() == "admin";
    const bool client = server["type"].string() == "client";
    add("type", Quoted(server["type"].string()));
    if (server["listen"].is_null()) add("listen", client ? "\"0.0.0.0\"" : "\"127.0.0.1\"");
    if (!server.has("port")) add("port", admin ? "22281" : client ? "22280" : std::to_string(kFeedPort));
    for (const auto& [key, value] : server.members()) {
      if (key == "type" || (value.is_null() && key != "port")) continue;
      add(key, Layout(value));
    }
    return "{" + text + "}";
  }

  std::vector<std::string>& notes_;
};

}  // namespace

Proposal NotificationServers(const std::vector<TreeNode>& nodes, const http::Url& admin) {
  Proposal proposal;
  std::vector<std::string> entries;
  if (!nodes.empty() && nodes.front().role == "repeater") {
    proposal.notes.push_back(NameOf(nodes.front()) +
                             " is a repeater: the `admin` entry is missing; ask a master (--admin URL)");
  } else {
    entries.push_back(Entry("admin", admin));
    if (IsOfThisHost(admin)) {
      proposal.notes.push_back(
          "the `admin` entry is for a Phabricator on this host; for others, ask by the URL that "
          "they will use (--admin URL)");
    }
  }
  std::set<std::string> listed;
  bool clients = false;
  for (const TreeNode& node : nodes) {
    if (node.again) continue;
    if (node.url.empty()) {
      // A master without one usually serves no browsers.
      if (node.depth > 0 || node.role == "repeater") {
        proposal.notes.push_back(NameOf(node) + " is left out: it has no public URL (--public-url, `public.url`)");
      }
      continue;
    }
    const auto url = http::ParseUrl(node.url);
    if (!url) {
      proposal.notes.push_back(NameOf(node) + " is left out: its public URL: " + Printable(url.error().text));
      continue;
    }
    clients = true;
    const std::string entry = Entry("client", *url);
    if (listed.insert(entry).second) entries.push_back(entry);
  }
  if (!clients) proposal.notes.push_back("there is no `client` entry: no node has a public URL");
  proposal.text = "[";
  for (std::size_t i = 0; i < entries.size(); ++i) proposal.text += (i == 0 ? "\n  " : ",\n  ") + entries[i];
  proposal.text += "\n]\n";
  return proposal;
}

Proposal ConvertAphlict(std::string_view name, std::string_view text) {
  Proposal proposal;
  config::Settings settings;
  config::ReadFile(name, text, &settings, &proposal.problems);
  if (!proposal.problems.empty()) return proposal;
  proposal.notes = settings.notices;
  const auto root = json::Parse(text, {.comments = true});
  const auto converted = json::Parse(Converter(&proposal.notes).Convert(*root));
  proposal.text = Layout(*converted);
  return proposal;
}

}  // namespace aphlict::commands
