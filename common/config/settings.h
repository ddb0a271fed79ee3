// What a node was told to do: the configuration file and the command line, read, checked and merged.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/admin/access.h"
#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/base/time.h"
#include "common/base/user.h"
#include "common/http/head.h"
#include "common/http/origin.h"
#include "common/net/tls_context.h"
#include "common/server/trusted_proxies.h"

namespace aphlict::config {

enum class Role { kMaster, kRepeater };

// Who connects to a listener; the spelling in the file is "admin", "client", "repeater".
enum class ServerType { kAdmin, kClient, kRepeater };
std::string_view ServerTypeName(ServerType type);

// What a publish that was answered 200 survives, where a master has a state folder.
enum class Durability {
  kProcess,  // the process's death; nothing waits for the disk
  kPower,    // the machine's as well: answered when it is on the disk
};

struct Server {
  ServerType type;
  std::string host;           // an IPv4 or IPv6 address without brackets, or a name
  std::uint16_t port = 0;     // 0: one that the kernel chooses, which the log tells
  std::string where;          // what set it, for errors: "/etc/aphlict.json: servers[1]" or "--admin"
  net::TlsFiles tls = {};     // empty: without TLS; `ca` is whose certificates peers must show
  admin::Access access = {};  // of an admin server
  std::vector<http::OriginPattern> origins = {};  // of a client server: the pages that may connect; none: all
  server::TrustedProxies proxies = {};            // of an admin or a client server
};

// One group of upstreams: the ways to one master. A repeater follows one of them at a time.
struct UpstreamGroup {
  std::vector<http::Url> urls;         // at least one; scheme http or https
  std::vector<std::string> instances;  // only these are asked for; none: all

  bool operator==(const UpstreamGroup&) const = default;
};

// The bounds. Each is a key of `limits` in the file; what happens past it is in README.md.
struct Limits {
  std::size_t publish_bytes = 8 * 1024 * 1024;              // "publish.bytes"
  int json_depth = 1024;                                    // "json.depth"
  std::size_t message_subscribers = 65'536;                 // "message.subscribers"
  std::size_t instance_bytes = 128;                         // "instance.bytes"
  std::size_t instances = 65'536;                           // "instances"
  std::size_t head_bytes = 16 * 1024;                       // "head.bytes"
  std::size_t head_fields = 100;                            // "head.fields"
  seconds head_time{10};                                    // "head.seconds"
  std::size_t unfinished_bytes = 64 * 1024 * 1024;          // "unfinished.bytes", of each type of port
  std::size_t clients = 0;                                  // "clients"; 0: descriptors - 256
  std::size_t connections_per_address = 0;                  // "connections.per.address", of clients; 0: no such bound
  std::size_t command_bytes = 1024 * 1024;                  // "command.bytes"
  std::size_t command_fragments = 1024;                     // "command.fragments"
  seconds command_time{30};                                 // "command.seconds"
  std::size_t client_subscriptions = 65'536;                // "client.subscriptions"
  std::size_t client_subscription_bytes = 4 * 1024 * 1024;  // "client.subscription.bytes"
  std::size_t client_stalled_bytes = 1024 * 1024;           // "client.stalled.bytes": unsent, and …
  seconds client_stalled_time{5};                           // "client.stalled.seconds": … no progress for as long
  std::size_t client_unsent_bytes = 8 * 1024 * 1024;        // "client.unsent.bytes"
  seconds client_ping_interval{30};                         // "client.ping.seconds": of silence
  seconds history_time{60};                                 // "history.seconds"
  std::size_t history_bytes = 64 * 1024 * 1024;             // "history.bytes"
  std::size_t repeaters = 1024;                             // "repeaters"
};

struct Settings {
  Role role = Role::kMaster;
  std::string file;  // empty: none
  std::vector<Server> servers;
  std::vector<UpstreamGroup> upstream;  // of a repeater: at least one
  std::vector<http::Url> cluster;       // of a master: the admin ports of push peers, scheme http or https
  net::TlsFiles tls;                    // for outgoing connections; `ca`: none means the system's authorities
  std::vector<std::string> log_paths;   // none: stderr
  LogLevel log_level = LogLevel::kInfo;
  LogFormat log_format = LogFormat::kText;
  std::string pidfile;
  std::string name;            // how this node calls itself in the status
  bool named_by_host = false;  // it is the host's name, which may change while the node runs
  std::string public_url;      // the URL that browsers reach its client port by, or empty
  std::string state;           // of a master: the folder of its durable history; empty: none
  Durability durability = Durability::kProcess;
  seconds drain_time{20};  // over which clients are closed when the node stops
  bool reuse_port = false;
  std::optional<User> user;  // that the node becomes once its ports are taken; nothing: it stays who it is
  std::string user_name;
  std::string secret_file;                 // of the feed; empty: none
  std::shared_ptr<const Secrets> secrets;  // what it holds: presented upstream, and asked of repeaters; null: none
  std::string admin_secret_file;
  std::shared_ptr<const Secrets> admin_secrets;  // tokens for the admin port; null: none
  Limits limits;
  std::vector<std::string> notices;  // to log as warnings at the start: what was accepted but has no effect
};

}  // namespace aphlict::config
