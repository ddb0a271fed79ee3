#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <vector>

#include "common/config/load.h"

namespace aphlict::config {
namespace {

// What came of a file.
struct Outcome {
  Settings settings;
  std::vector<std::string> problems;
  std::vector<ServerType> off;
};

Outcome Read(Role role, std::string_view text) {
  Outcome outcome;
  outcome.settings.role = role;
  outcome.off = ReadFile("f.json", text, &outcome.settings, &outcome.problems);
  return outcome;
}

// The settings of a file in which nothing is wrong.
Settings Good(Role role, std::string_view text) {
  Outcome outcome = Read(role, text);
  CAPTURE(text);
  for (const std::string& problem : outcome.problems) FAIL_CHECK(problem);
  return outcome.settings;
}

// The problems without the file's name, a line each.
std::string Problems(Role role, std::string_view text) {
  std::string all;
  for (const std::string& problem : Read(role, text).problems) {
    REQUIRE(problem.starts_with("f.json: "));
    all += (all.empty() ? "" : "\n") + problem.substr(8);
  }
  return all;
}

// Of a key that both roles know.
std::string ProblemsOfBoth(std::string_view text) {
  const std::string of_master = Problems(Role::kMaster, text);
  CHECK(Problems(Role::kRepeater, text) == of_master);
  return of_master;
}

// "admin 127.0.0.1 22281, client …", in order.
std::string Servers(const Settings& settings) {
  std::string text;
  for (const Server& server : settings.servers) {
    text += (text.empty() ? "" : ", ") + std::string(ServerTypeName(server.type)) + " " + server.host + " " +
            std::to_string(server.port);
  }
  return text;
}

std::string Urls(const UpstreamGroup& group) {
  std::string text;
  for (const http::Url& url : group.urls) text += (text.empty() ? "" : " ") + url.scheme + "://" + url.authority();
  return text;
}

TEST_CASE("an empty file changes nothing") {
  for (const Role role : {Role::kMaster, Role::kRepeater}) {
    const Settings settings = Good(role, "{}");
    CHECK(settings.servers.empty());
    CHECK(settings.upstream.empty());
    CHECK(settings.log_paths.empty());
    CHECK(settings.log_level == LogLevel::kInfo);
    CHECK(settings.pidfile == "");
    CHECK(settings.public_url == "");
    CHECK(settings.state == "");
    CHECK(settings.durability == Durability::kProcess);
    CHECK(settings.drain_time == seconds(20));
    CHECK_FALSE(settings.reuse_port);
    CHECK(settings.notices.empty());
  }
}

TEST_CASE("Aphlict's own configuration is accepted as it is") {
  const Settings settings = Good(Role::kMaster, R"({
    "servers": [
      {"type": "client", "port": 22280, "listen": "0.0.0.0",
       "ssl.key": null, "ssl.cert": null, "ssl.chain": null},
      {"type": "admin", "port": 22281, "listen": "127.0.0.1",
       "ssl.key": null, "ssl.cert": null, "ssl.chain": null}
    ],
    "logs": [{"path": "/var/log/aphlict.log"}],
    "cluster": [],
    "pidfile": "/var/tmp/aphlict/pid/aphlict.pid"
  })");
  CHECK(Servers(settings) == "client 0.0.0.0 22280, admin 127.0.0.1 22281");
  CHECK(settings.log_paths == std::vector<std::string>{"/var/log/aphlict.log"});
  CHECK(settings.pidfile == "/var/tmp/aphlict/pid/aphlict.pid");
  CHECK(settings.notices.empty());
}

TEST_CASE("a server has certificates of its own, and what goes out has others") {
  const Settings settings = Good(Role::kRepeater, R"({
    "servers": [{"type": "client", "ssl.key": "k", "ssl.cert": "c", "ssl.chain": "h", "ssl.client.ca": "a"},
                {"type": "admin", "listen": "::1"}],
    "ssl.key": "K", "ssl.cert": "C", "ssl.chain": "H", "ssl.ca": "A"
  })");
  const auto all = [](const net::TlsFiles& files) { return files.key + files.cert + files.chain + files.ca; };
  CHECK(all(settings.servers[0].tls) == "kcha");
  CHECK(settings.servers[1].tls.empty());
  CHECK(all(settings.tls) == "KCHA");
}

TEST_CASE("a server gets its type's address and port where it does not say others") {
  const char* all = R"({"servers": [{"type": "admin"}, {"type": "client"}, {"type": "repeater"}]})";
  CHECK(Servers(Good(Role::kMaster, all)) == "admin 127.0.0.1 22281, client 0.0.0.0 22280, repeater 127.0.0.1 22282");
  CHECK(Servers(Good(Role::kRepeater, all)) == "admin 127.0.0.1 22283, client 0.0.0.0 22280, repeater 127.0.0.1 22282");
  CHECK(Servers(Good(Role::kMaster, R"({"servers": [{"type": "client", "listen": "[::1]", "port": 0},
                                                    {"type": "admin", "listen": "name", "port": 65535},
                                                    {"type": "admin", "listen": "::1", "port": 5}]})")) ==
        "client ::1 0, admin name 65535, admin ::1 5");

  SUBCASE("and the admin port says that Aphlict would have listened everywhere") {
    const Settings settings = Good(Role::kMaster, R"({"servers": [{"type": "client"}, {"type": "admin"}]})");
    REQUIRE(settings.notices.size() == 1);
    CHECK(settings.notices[0].starts_with("servers[1]: no `listen`: the admin port is bound to 127.0.0.1"));
  }
  SUBCASE("and knows where it was set") {
    const Settings settings = Good(Role::kMaster, R"({"servers": [{"type": "client"}, {"type": "repeater"}]})");
    CHECK(settings.servers[1].where == "f.json: servers[1]");
  }
}

TEST_CASE("a port that is null switches the type off") {
  const Outcome outcome = Read(Role::kMaster, R"({"servers": [{"type": "admin", "port": null, "listen": "x"},
                                                              {"type": "repeater", "port": null}]})");
  CHECK(outcome.problems.empty());
  CHECK(outcome.settings.servers.empty());
  CHECK(outcome.off == std::vector<ServerType>{ServerType::kAdmin, ServerType::kRepeater});
}

TEST_CASE("a problem with a server names it, the key and the line") {
  const auto problem = [](const std::string& server) {
    return ProblemsOfBoth("{\"servers\": [\n{\"type\": \"client\"},\n" + server + "]}");
  };
  CHECK(ProblemsOfBoth(R"({"servers": {}})") == "servers: expected a list of servers, got an object (line 1)");
  CHECK(problem("7") == "servers[1]: expected an object, got a number (line 3)");
  CHECK(problem("null") == "servers[1]: expected an object, got null (line 3)");
  CHECK(problem(R"({"type": 7})") == "servers[1].type: expected a string, got a number (line 3)");
  const std::string no_type = R"(servers[1].type: expected "admin", "client" or "repeater" (line 3))";
  CHECK(problem(R"({"type": "clients"})") == no_type);
  CHECK(problem(R"({"type": null})") == no_type);
  CHECK(problem("{}") == no_type);
  const std::string port = "servers[1].port: expected a number from 0 to 65535";
  CHECK(problem("{\"type\": \"admin\",\n\"port\": \"x\", \"listen\": \"x\"}") == port + ", got a string (line 4)");
  CHECK(problem(R"({"type": "client", "port": 65536})") == port + " (line 3)");
  CHECK(problem(R"({"type": "client", "port": -1})") == port + " (line 3)");
  CHECK(problem(R"({"type": "client", "port": 1.5})") == port + " (line 3)");
  CHECK(problem(R"({"type": "client", "port": true})") == port + ", got a boolean (line 3)");
  CHECK(problem(R"({"type": "client", "listen": 7})")
            .starts_with("servers[1].listen: expected a string, got a number (line 3)"));
  CHECK(problem(R"({"type": "client", "listen": ""})") == "servers[1].listen: expected an address or a name (line 3)");
  for (const char* key : {"ssl.key", "ssl.cert", "ssl.chain", "ssl.client.ca"}) {
    CHECK(problem(R"({"type": "client", ")" + std::string(key) + R"(": 7})") ==
          "servers[1]." + std::string(key) + ": expected a string, got a number (line 3)");
  }
}

TEST_CASE("an upstream is a list of groups, each of which is a list of URLs, or an object with instances") {
  const auto upstream = [](const std::string& value) {
    return Good(Role::kRepeater, R"({"upstream": )" + value + "}").upstream;
  };
  SUBCASE("one URL") {
    const auto groups = upstream(R"([["http://a:1"]])");
    REQUIRE(groups.size() == 1);
    CHECK(Urls(groups[0]) == "http://a:1");
    CHECK(groups[0].instances.empty());
  }
  SUBCASE("two masters") {
    const auto groups = upstream(R"([["http://a:1"], ["http://b:2"]])");
    REQUIRE(groups.size() == 2);
    CHECK(Urls(groups[1]) == "http://b:2");
  }
  SUBCASE("two ways to one master, and another") {
    const auto groups = upstream(R"([["http://a:1", "http://[::1]:2/feed/"],
                                     {"urls": ["http://b:1"], "instances": ["dog", "cat"]},
                                     {"urls": ["http://c:1"], "instances": null}])");
    REQUIRE(groups.size() == 3);
    CHECK(Urls(groups[0]) == "http://a:1 http://[::1]:2");
    CHECK(groups[0].urls[1].path == "/feed/");
    CHECK(Urls(groups[1]) == "http://b:1");
    CHECK(groups[1].instances == std::vector<std::string>{"dog", "cat"});
    CHECK(Urls(groups[2]) == "http://c:1");
    CHECK(groups[2].instances.empty());
  }
  SUBCASE("or nothing") { CHECK(upstream("null").empty()); }
}

TEST_CASE("an upstream may have TLS, and a path") {
  const auto urls =
      Good(Role::kRepeater, R"({"upstream": [["https://a:1/x/", "wss://b", "http://[::1]"]]})").upstream[0].urls;
  CHECK(urls[0].secure());
  CHECK(urls[0].path == "/x/");
  CHECK(urls[1].secure());
  CHECK_FALSE(urls[2].secure());
  CHECK(urls[2].authority() == "[::1]:80");
}

TEST_CASE("a problem with an upstream names the group, the key and the line") {
  const auto problem = [](const std::string& value) {
    return Problems(Role::kRepeater, "{\n\"upstream\":\n" + value + "}");
  };
  CHECK(Problems(Role::kMaster, R"({"upstream": [["http://a:1"]]})") ==
        "upstream: a master has no upstream; run aphlict-repeater (line 1)");
  CHECK(problem("7") == "upstream: expected a list of groups, each a list of URLs, got a number (line 3)");
  CHECK(problem(R"("http://a:1")") ==
        "upstream: expected a list of groups, each a list of URLs, got a string (line 3)");
  CHECK(problem("[]") == "upstream: expected at least one group (line 3)");
  CHECK(problem(R"(["http://a:1"])") == "upstream[0]: expected a list of URLs, got a string (line 3)");
  CHECK(problem("{}") == "upstream: expected a list of groups, each a list of URLs, got an object (line 3)");
  CHECK(problem("[7]") == "upstream[0]: expected a list of URLs, got a number (line 3)");
  CHECK(problem("[[]]") == "upstream[0]: expected at least one URL (line 3)");
  CHECK(problem(R"([["http://a:1", 7]])") == "upstream[0][1]: expected a URL, got a number (line 3)");
  CHECK(problem("[[\"http://a:1\"],\n{}]") == "upstream[1].urls: is missing (line 4)");
  CHECK(problem(R"([{"urls": {}}])") == "upstream[0].urls: expected a list of URLs, got an object (line 3)");
  CHECK(problem(R"([{"urls": ["http://a:1"], "instances": "dog"}])") ==
        "upstream[0].instances: expected a list of instances, got a string (line 3)");
  CHECK(problem(R"([{"urls": ["http://a:1"], "instances": []}])") ==
        "upstream[0].instances: expected at least one instance; without this key, it is all (line 3)");
  CHECK(problem(R"([{"urls": ["http://a:1"], "instances": [7]}])") ==
        "upstream[0].instances[0]: expected a name, got a number (line 3)");
  CHECK(problem(R"([{"urls": ["http://a:1"], "instances": [""]}])")
            .starts_with("upstream[0].instances[0]: expected a name"));
  for (const char* url : {"", "a:1", "http://", "ftp://a", "http://a:0", "http://u@a", "http://a:1#x"}) {
    CAPTURE(url);
    CHECK(problem("[[\"" + std::string(url) + "\"]]").starts_with("upstream[0][0]: "));
  }
}

TEST_CASE("each further key sets its setting") {
  CHECK(Good(Role::kMaster, R"({"logs": []})").log_paths.empty());
  CHECK(Good(Role::kMaster, R"({"logs": [{"path": "/a"}, {"path": "/b"}]})").log_paths ==
        std::vector<std::string>{"/a", "/b"});
  CHECK(Good(Role::kMaster, R"({"pidfile": "/p"})").pidfile == "/p");
  CHECK(Good(Role::kMaster, R"({"name": "n"})").name == "n");
  CHECK(Good(Role::kRepeater, R"({"public.url": "wss://x.example.com/"})").public_url == "wss://x.example.com/");
  CHECK(Good(Role::kRepeater, R"({"reuse.port": true})").reuse_port);
  CHECK_FALSE(Good(Role::kRepeater, R"({"reuse.port": false})").reuse_port);
  CHECK(Good(Role::kMaster, R"({"log.level": "debug"})").log_level == LogLevel::kDebug);
  CHECK(Good(Role::kMaster, R"({"log.level": "error"})").log_level == LogLevel::kError);
  CHECK(Good(Role::kMaster, R"({"state": "/s"})").state == "/s");
  CHECK(Good(Role::kMaster, R"({"durability": "power"})").durability == Durability::kPower);
  CHECK(Good(Role::kMaster, R"({"durability": "process"})").durability == Durability::kProcess);
  CHECK(Good(Role::kMaster, R"({"drain.seconds": 0})").drain_time == seconds(0));
  CHECK(Good(Role::kRepeater, R"({"drain.seconds": 3600})").drain_time == seconds(3600));

  SUBCASE("or says that it has no effect") {
    const std::string text = R"({"memory.hint": 256, "cluster": [{"host": "h"}]})";
    CHECK(Good(Role::kMaster, text).notices ==
          std::vector<std::string>{"memory.hint: has no effect: memory is bounded by `limits`"});
    REQUIRE(Good(Role::kRepeater, text).notices.size() == 2);
    CHECK(Good(Role::kRepeater, text).notices[1] ==
          "cluster: has no effect: only masters take publishes and push them to peers");
  }
}

TEST_CASE("a further key of the wrong type is named, with its line") {
  struct Wrong {
    std::string key;
    std::string value;
    std::string problem;
  };
  for (const Wrong& wrong : {
           Wrong{"logs", "{}", "expected a list of objects, got an object"},
           Wrong{"cluster", "true", "expected a list of peers, got a boolean"},
           Wrong{"pidfile", "7", "expected a string, got a number"},
           Wrong{"memory.hint", "\"x\"", "expected a number, got a string"},
           Wrong{"public.url", "[]", "expected a URL, got a list"},
           Wrong{"name", "{}", "expected a string, got an object"},
           Wrong{"reuse.port", "1", "expected true or false, got a number"},
           Wrong{"reuse.port", "\"yes\"", "expected true or false, got a string"},
           Wrong{"log.level", "1", "expected a string, got a number"},
           Wrong{"limits", "[]", "expected an object, got a list"},
           Wrong{"drain.seconds", "-1", "expected a whole number from 0 to 3600"},
           Wrong{"drain.seconds", "3601", "expected a whole number from 0 to 3600"},
           Wrong{"drain.seconds", "1.5", "expected a whole number from 0 to 3600"},
           Wrong{"drain.seconds", "\"1\"", "expected a whole number from 0 to 3600"},
       }) {
    CHECK(ProblemsOfBoth("{\n\n\"" + wrong.key + "\": " + wrong.value + "}") ==
          wrong.key + ": " + wrong.problem + " (line 3)");
  }
  CHECK(ProblemsOfBoth(R"({"logs": [7]})") == "logs[0]: expected an object, got a number (line 1)");
  CHECK(ProblemsOfBoth("{\"logs\": [{\"path\": \"/a\"},\n{}]}") == "logs[1].path: is missing (line 2)");
  CHECK(ProblemsOfBoth(R"({"logs": [{"path": 7}]})") == "logs[0].path: expected a string, got a number (line 1)");
  CHECK(ProblemsOfBoth(R"({"logs": [{"path": ""}]})") == "logs[0].path: expected a file, got nothing (line 1)");
  CHECK(ProblemsOfBoth(R"({"log.level": "loud"})").starts_with("log.level: "));
  CHECK(ProblemsOfBoth(R"({"public.url": "here"})").starts_with("public.url: "));
  CHECK(Problems(Role::kMaster, R"({"state": 7})") == "state: expected a string, got a number (line 1)");
  CHECK(Problems(Role::kMaster, R"({"durability": 7})") == "durability: expected a string, got a number (line 1)");
  CHECK(Problems(Role::kMaster, R"({"durability": "disk"})") ==
        R"(durability: expected "process" or "power", got "disk" (line 1))");

  SUBCASE("and what only a master has") {
    CHECK(Problems(Role::kRepeater, R"({"state": "/s"})") == "state: a repeater keeps no state (line 1)");
    CHECK(Problems(Role::kRepeater, R"({"durability": "power"})") == "durability: a repeater keeps no state (line 1)");
  }
}

TEST_CASE("push peers are read as Aphlict's file has them") {
  const auto peers = [](const std::string& text) {
    std::vector<std::string> all;
    for (const http::Url& url : Good(Role::kMaster, "{\"cluster\": [" + text + "]}").cluster) {
      all.push_back(url.scheme + "://" + url.authority() + url.path);
    }
    return all;
  };
  using Peers = std::vector<std::string>;
  CHECK(peers("") == Peers{});
  CHECK(peers(R"({"host": "a.example.com", "port": 22289, "protocol": "https"}, {"host": "::1"})") ==
        Peers{"https://a.example.com:22289/", "http://[::1]:22281/"});
  const auto problem = [](const std::string& text) { return Problems(Role::kMaster, "{\"cluster\": [" + text + "]}"); };
  CHECK(problem("7") == "cluster[0]: expected an object, got a number (line 1)");
  CHECK(problem("{}") == "cluster[0].host: is missing (line 1)");
  CHECK(problem(R"({"host": 7})").starts_with("cluster[0].host: expected a string"));
  CHECK(problem(R"({"host": "h", "port": 0})") == "cluster[0].port: expected a number from 1 to 65535 (line 1)");
  CHECK(problem(R"({"host": "h", "protocol": "ftp"})") ==
        R"(cluster[0].protocol: expected "http" or "https" (line 1))");
  CHECK(problem(R"({"host": "h", "prot": "http"})").starts_with("cluster[0].prot: unknown key"));
  CHECK(problem(R"({"host": "h"}, {"host": "h", "port": 22281})").starts_with("cluster[1]: is listed twice"));
}

TEST_CASE("a value that is null is a value that is not set") {
  for (const char* key : {"servers", "logs", "cluster", "pidfile", "memory.hint", "upstream", "public.url", "name",
                          "state", "durability", "drain.seconds", "reuse.port", "log.level", "limits"}) {
    CAPTURE(key);
    for (const Role role : {Role::kMaster, Role::kRepeater}) {
      const Settings settings = Good(role, "{\"" + std::string(key) + "\": null}");
      CHECK(settings.servers.empty());
      CHECK(settings.notices.empty());
      CHECK(settings.drain_time == seconds(20));
    }
  }
}

struct LimitKey {
  std::string key;
  std::int64_t standard;
  std::int64_t least;
  std::int64_t most;
  std::function<std::int64_t(const Limits&)> value;
};

template <class T>
std::function<std::int64_t(const Limits&)> Member(T Limits::*member) {
  return [member](const Limits& limits) {
    if constexpr (std::is_same_v<T, seconds>) {
      return static_cast<std::int64_t>((limits.*member).count());
    } else {
      return static_cast<std::int64_t>(limits.*member);
    }
  };
}

// As the table of README.md has them.
std::vector<LimitKey> LimitKeys() {
  constexpr std::int64_t kFrame = 48 * 1024 * 1024;
  constexpr std::int64_t kCount = 100'000'000;
  constexpr std::int64_t kClientBytes = std::int64_t{1} << 31;
  return {
      {"publish.bytes", 8'388'608, 1, kFrame, Member(&Limits::publish_bytes)},
      {"json.depth", 1024, 1, 100'000, Member(&Limits::json_depth)},
      {"message.subscribers", 65'536, 1, 1'000'000, Member(&Limits::message_subscribers)},
      {"instance.bytes", 128, 1, 65'535, Member(&Limits::instance_bytes)},
      {"instances", 65'536, 1, kCount, Member(&Limits::instances)},
      {"head.bytes", 16'384, 256, 16 * 1024 * 1024, Member(&Limits::head_bytes)},
      {"head.fields", 100, 8, 10'000, Member(&Limits::head_fields)},
      {"head.seconds", 10, 1, 86'400, Member(&Limits::head_time)},
      {"unfinished.bytes", 67'108'864, 65'536, std::int64_t{1} << 40, Member(&Limits::unfinished_bytes)},
      {"clients", 0, 0, kCount, Member(&Limits::clients)},
      {"command.bytes", 1'048'576, 128, kFrame, Member(&Limits::command_bytes)},
      {"command.fragments", 1024, 1, kCount, Member(&Limits::command_fragments)},
      {"command.seconds", 30, 1, 86'400, Member(&Limits::command_time)},
      {"client.subscriptions", 65'536, 1, kCount, Member(&Limits::client_subscriptions)},
      {"client.subscription.bytes", 4'194'304, 1, kClientBytes, Member(&Limits::client_subscription_bytes)},
      {"client.stalled.bytes", 1'048'576, 1, kClientBytes, Member(&Limits::client_stalled_bytes)},
      {"client.stalled.seconds", 5, 1, 86'400, Member(&Limits::client_stalled_time)},
      {"client.unsent.bytes", 8'388'608, 1, kClientBytes, Member(&Limits::client_unsent_bytes)},
      {"history.seconds", 60, 1, 86'400, Member(&Limits::history_time)},
      {"history.bytes", 67'108'864, 1, std::int64_t{1} << 40, Member(&Limits::history_bytes)},
      {"repeaters", 1024, 1, kCount, Member(&Limits::repeaters)},
  };
}

TEST_CASE("each limit has its default, and can be set from its least to its most") {
  for (const LimitKey& limit : LimitKeys()) {
    CAPTURE(limit.key);
    const auto set = [&](const std::string& value) { return "{\"limits\": {\n\"" + limit.key + "\": " + value + "}}"; };
    CHECK(limit.value(Good(Role::kMaster, "{}").limits) == limit.standard);
    CHECK(limit.value(Good(Role::kMaster, set("null")).limits) == limit.standard);
    for (const std::int64_t value : {limit.least, limit.least + 1, limit.most}) {
      const Settings settings = Good(Role::kRepeater, set(std::to_string(value)));
      CHECK(limit.value(settings.limits) == value);
      for (const LimitKey& other : LimitKeys()) {
        if (other.key != limit.key) CHECK(other.value(settings.limits) == other.standard);
      }
    }
    const std::string expected = "limits." + limit.key + ": expected a whole number from " +
                                 std::to_string(limit.least) + " to " + std::to_string(limit.most);
    CHECK(ProblemsOfBoth(set(std::to_string(limit.least - 1))) == expected + " (line 2)");
    CHECK(ProblemsOfBoth(set(std::to_string(limit.most + 1))) == expected + " (line 2)");
    CHECK(ProblemsOfBoth(set("10.5")) == expected + " (line 2)");
    CHECK(ProblemsOfBoth(set("1e3")) == expected + " (line 2)");
    CHECK(ProblemsOfBoth(set("\"300\"")) == expected + ", got a string (line 2)");
    CHECK(ProblemsOfBoth(set("true")) == expected + ", got a boolean (line 2)");
    CHECK(ProblemsOfBoth(set("[]")) == expected + ", got a list (line 2)");
  }
}

TEST_CASE("a key that is not known is a problem, and the nearest is suggested") {
  CHECK(ProblemsOfBoth(R"({"servrs": []})") == "servrs: unknown key; did you mean `servers`? (line 1)");
  CHECK(ProblemsOfBoth("{\n\"public_url\": \"x\"}") == "public_url: unknown key; did you mean `public.url`? (line 2)");
  CHECK(ProblemsOfBoth(R"({"Name": "x"})") == "Name: unknown key; did you mean `name`? (line 1)");
  CHECK(ProblemsOfBoth(R"({"servers": [{"type": "client", "prot": 5}]})") ==
        "servers[0].prot: unknown key; did you mean `port`? (line 1)");
  CHECK(ProblemsOfBoth(R"({"limits": {"history.byte": 5}})") ==
        "limits.history.byte: unknown key; did you mean `history.bytes`? (line 1)");
  CHECK(ProblemsOfBoth(R"({"logs": [{"pathh": "x", "path": "/a"}]})") ==
        "logs[0].pathh: unknown key; did you mean `path`? (line 1)");

  SUBCASE("or none where nothing is near") {
    CHECK(ProblemsOfBoth(R"({"something else": []})") == "something else: unknown key (line 1)");
    CHECK(ProblemsOfBoth(R"({"limits": {"zzzzzzzzzzzz": 5}})") == "limits.zzzzzzzzzzzz: unknown key (line 1)");
  }
  SUBCASE("although its value is null") {
    CHECK(ProblemsOfBoth(R"({"servrs": null})") == "servrs: unknown key; did you mean `servers`? (line 1)");
  }
}

TEST_CASE("every problem is told, in the order of the file") {
  CHECK(Problems(Role::kRepeater, R"({
    "servers": [{"type": "client", "port": -1},
                {"typ": "client"}],
    "upstream": [["nowhere"]],
    "limits": {"clients": "x", "client": 1},
    "pidfile": []
  })") == R"(servers[0].port: expected a number from 0 to 65535 (line 2)
servers[1].typ: unknown key; did you mean `type`? (line 3)
servers[1].type: expected "admin", "client" or "repeater" (line 3)
upstream[0][0]: )" +
              http::ParseUrl("nowhere").error().text + R"( (line 4)
limits.clients: expected a whole number from 0 to 100000000, got a string (line 5)
limits.client: unknown key; did you mean `clients`? (line 5)
pidfile: expected a string, got a list (line 6))");
}

TEST_CASE("what is no object is a problem") {
  CHECK(ProblemsOfBoth("[]") == "expected an object, got a list (line 1)");
  CHECK(ProblemsOfBoth("\n\nnull") == "expected an object, got null (line 3)");
  CHECK(ProblemsOfBoth("").starts_with("line 1, column "));
  CHECK(ProblemsOfBoth("{\n\"a\": }").starts_with("line 2, column "));
}

TEST_CASE("comments are allowed, and of two equal keys the last counts") {
  const Settings settings = Good(Role::kMaster, R"({
    // the name
    "name": "a", /* not this one */
    "name": "b"
  })");
  CHECK(settings.name == "b");
}

TEST_CASE("durability is of the process or of the power") {
  CHECK(*ParseDurability("process") == Durability::kProcess);
  CHECK(*ParseDurability("power") == Durability::kPower);
  for (const char* text : {"", "Power", "disk"}) CHECK_FALSE(ParseDurability(text));
}

TEST_CASE("an admin server has lists of networks, one for all rights or one for each") {
  const auto text = [](const std::string& keys) {
    return R"({"servers": [{"type": "admin", "listen": "127.0.0.1", )" + keys + "}]}";
  };
  const auto access = [&](const std::string& keys) { return Good(Role::kMaster, text(keys)).servers[0].access; };
  const auto address = [](const char* host) { return *net::Address::Parse(host, 1); };
  for (const auto& networks : access(R"("allow": ["10.0.0.0/8", "::1"])").allow) {
    REQUIRE(networks);
    CHECK(net::AnyContains(*networks, address("10.1.1.1")));
    CHECK(net::AnyContains(*networks, address("::1")));
    CHECK_FALSE(net::AnyContains(*networks, address("11.1.1.1")));
  }
  const auto each = access(R"("allow": {"status": [], "metrics": ["10.0.0.1"]})").allow;
  CHECK_FALSE(each[0].has_value());
  REQUIRE(each[1]);
  CHECK(each[1]->empty());
  REQUIRE(each[2]);
  CHECK(each[2]->size() == 1);
  CHECK(access(R"("hosts": ["A.Example.com", "b.internal."])").hosts ==
        std::vector<std::string>{"a.example.com", "b.internal"});
  CHECK(
      Problems(Role::kMaster, text(R"("allow": ["10.0.0.1/8", 5])")) ==
      "servers[0].allow[0]: \"10.0.0.1/8\" is an address inside of a network: bits are set behind the prefix (line 1)\n"
      "servers[0].allow[1]: expected a network, got a number (line 1)");
  CHECK(Problems(Role::kMaster, text(R"("allow": {"publishes": []})")) ==
        "servers[0].allow.publishes: unknown key; did you mean `publish`? (line 1)");
  CHECK(Problems(Role::kMaster, R"({"servers": [{"type": "client", "allow": [], "hosts": []}]})") ==
        "servers[0].allow: is only for a server of the type \"admin\" (line 1)\n"
        "servers[0].hosts: is only for a server of the type \"admin\" (line 1)");
}

}  // namespace
}  // namespace aphlict::config
