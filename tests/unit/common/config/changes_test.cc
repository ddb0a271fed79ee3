#include "common/config/changes.h"

#include <doctest/doctest.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/config/load.h"

namespace aphlict::config {
namespace {

using Keys = std::vector<std::string>;

// What a file sets. `role` is that of a repeater where the text has an upstream.
Settings Of(const std::string& text) {
  Settings settings;
  settings.role = text.find("upstream") == std::string::npos ? Role::kMaster : Role::kRepeater;
  std::vector<std::string> problems;
  ReadFile("f.json", text, &settings, &problems);
  for (const std::string& problem : problems) FAIL_CHECK(problem);
  return settings;
}

// Of a node that was started with `before`.
Changes Compared(const Settings& before, const Settings& after) { return Compare(before, after, before); }
Keys Changed(const std::string& before, const std::string& after) { return Compared(Of(before), Of(after)).keys; }

std::string ServersOf(const std::string& entries) { return "{\"servers\": [" + entries + "]}"; }

TEST_CASE("the distance of two words counts what is put in, left out and replaced") {
  CHECK(EditDistance("", "") == 0);
  CHECK(EditDistance("port", "port") == 0);
  CHECK(EditDistance("", "port") == 4);
  CHECK(EditDistance("port", "") == 4);
  CHECK(EditDistance("orgins", "origins") == 1);
  CHECK(EditDistance("origginns", "origins") == 2);
  CHECK(EditDistance("prot", "port") == 2);
  CHECK(EditDistance("public_url", "public.url") == 1);
  CHECK(EditDistance("kitten", "sitting") == 3);
}

TEST_CASE("the nearest word is suggested, unless none is near") {
  const Keys words = {"port", "listen", "origins", "ssl.key"};
  CHECK(Nearest("orgins", words) == "origins");
  CHECK(Nearest("prt", words) == "port");
  CHECK(Nearest("PORT", words) == "port");
  CHECK(Nearest("ssl_key", words) == "ssl.key");
  CHECK(Nearest("listening", words) == "listen");
  CHECK_FALSE(Nearest("limits.clients", words));
  CHECK_FALSE(Nearest("", words));
  CHECK_FALSE(Nearest("port", {}));

  SUBCASE("where nothing of a short word is left, it is another") {
    CHECK_FALSE(Nearest("x", words));
    CHECK_FALSE(Nearest("foo", words));
  }
  SUBCASE("of two that are as near, it is the first") { CHECK(Nearest("bat", {"cat", "hat"}) == "cat"); }
}

TEST_CASE("equal settings have no changes, wherever they come from") {
  const std::string text = R"({"servers": [{"type": "client", "origins": ["https://a.example"]}], "name": "n"})";
  CHECK(Changed(text, text).empty());
  CHECK(Changed("{}", R"({"limits": {"clients": 0, "history.seconds": 60}, "drain.seconds": 20})").empty());
}

TEST_CASE("a change is named by its key, and whether a running node takes it") {
  struct Row {
    const char* key;
    const char* value;
    bool reloads;
  };
  for (const Row& row :
       {Row{"name", "\"x\"", false}, Row{"state", "\"/s\"", false}, Row{"durability", "\"power\"", false},
        Row{"reuse.port", "true", false}, Row{"pidfile", "\"/p\"", false}, Row{"user", "\"u\"", false},
        Row{"log.format", "\"json\"", false}, Row{"public.url", "\"ws://a/\"", true}, Row{"drain.seconds", "5", true},
        Row{"log.level", "\"error\"", true}, Row{"ssl.ca", "\"/a\"", true}, Row{"ssl.chain", "\"/a\"", true},
        Row{"secret.file", "\"/a\"", true}, Row{"admin.secret.file", "\"/a\"", true}}) {
    CAPTURE(row.key);
    const Changes changes = Compared(Of("{}"), Of("{\"" + std::string(row.key) + "\": " + row.value + "}"));
    CHECK(changes.keys == Keys{row.key});
    CHECK(changes.at_restart == (row.reloads ? Keys{} : Keys{row.key}));
  }
  CHECK(Changed("{}", R"({"logs": [{"path": "/l"}]})") == Keys{"logs[].path"});
  CHECK(Changed(R"({"upstream": [["http://a"]]})", R"({"upstream": [["http://a", "http://b"]]})") == Keys{"upstream"});
  CHECK(Changed(R"({"upstream": [["http://a"]]})", R"({"upstream": [{"urls": ["http://a"], "instances": ["i"]}]})") ==
        Keys{"upstream"});
  CHECK(Changed("{}", R"({"cluster": [{"host": "h"}]})") == Keys{"cluster"});
  CHECK(Changed(R"({"cluster": [{"host": "h"}]})", R"({"cluster": [{"host": "h", "port": 22281}]})").empty());
  CHECK(Changed("{}", R"({"memory.hint": 5})").empty());
}

TEST_CASE("each limit is a change of its own") {
  std::size_t limits = 0;
  for (const Setting& setting : AllSettings()) {
    if (!setting.key.starts_with("limits.")) continue;
    ++limits;
    CAPTURE(setting.key);
    const std::string key = setting.key.substr(7);
    const std::string value = key == "unfinished.bytes" ? "70000" : "300";  // its least value is larger
    CHECK(Changed("{}", "{\"limits\": {\"" + key + "\": " + value + "}}") == Keys{setting.key});
  }
  CHECK(limits == 23);
}

TEST_CASE("a history that outgrows what a state folder was opened for needs another start") {
  const auto with = [](int bytes, bool state) {
    return Of("{\"limits\": {\"history.bytes\": " + std::to_string(bytes) + "}" + (state ? R"(, "state": "/s")" : "") +
              "}");
  };
  const Keys key = {"limits.history.bytes"};
  const auto at_restart = [&](int before, int after, int at_start, bool state) {
    return Compare(with(before, state), with(after, state), with(at_start, state)).at_restart;
  };
  CHECK(at_restart(1000, 2000, 1000, true) == key);
  CHECK(at_restart(2000, 1000, 2000, true).empty());
  CHECK(at_restart(1000, 2000, 2000, true).empty());  // made smaller meanwhile, and as it was again
  CHECK(at_restart(1000, 2001, 2000, true) == key);
  CHECK(at_restart(1000, 2000, 1000, false).empty());
}

TEST_CASE("the host's name may change while a node runs, that of a node may not") {
  Settings before = Of("{}");
  Settings after = Of("{}");
  before.named_by_host = after.named_by_host = true;
  before.name = "host";
  after.name = "renamed";
  CHECK(Compared(before, after).keys.empty());
  after.named_by_host = false;
  CHECK(Compared(before, after).at_restart == Keys{"name"});
}

TEST_CASE("secrets are compared, and not only the file's name") {
  const auto with = [](const char* text) {
    Settings settings = Of("{}");
    settings.secret_file = "/secret";
    settings.secrets = std::make_shared<const Secrets>(std::move(*Secrets::Parse(text)));
    return settings;
  };
  const std::string one(20, 'a');
  const std::string two(20, 'b');
  const auto changed = [&](const std::string& before, const std::string& after) {
    return !Compared(with(before.c_str()), with(after.c_str())).keys.empty();
  };
  CHECK_FALSE(changed(one, one));
  CHECK(changed(one, two));
  CHECK(changed(one, one + "\n" + two));
  CHECK(changed(one + "\n" + two, two + "\n" + one));
  CHECK_FALSE(SameSecrets(nullptr, with(one.c_str()).secrets));
  CHECK(SameSecrets(nullptr, nullptr));
}

TEST_CASE("servers are the same by type, address and port, in whatever order") {
  const std::string admin = R"({"type": "admin", "port": 1, "listen": "127.0.0.1"})";
  const std::string client = R"({"type": "client", "port": 2})";
  const std::string any = R"({"type": "client", "port": 0})";
  const auto match = [](const std::string& before, const std::string& after) {
    return MatchServers(Of(ServersOf(before)).servers, Of(ServersOf(after)).servers);
  };
  using Places = std::vector<std::optional<std::size_t>>;
  CHECK(match(admin + "," + client, client + "," + admin) == Places{1, 0});
  CHECK(match(admin, client) == Places{std::nullopt});
  CHECK(match(admin + "," + client, client) == Places{1});
  CHECK(match(any, any + "," + any) == Places{0, std::nullopt});
  CHECK(match("", "").empty());

  CHECK(Changed(ServersOf(admin + "," + client), ServersOf(client + "," + admin)).empty());
  CHECK(Changed(ServersOf(admin), ServersOf(admin + "," + client)) ==
        Keys{"servers[].type", "servers[].listen", "servers[].port"});
  CHECK(Changed(ServersOf(client), ServersOf(any)) == Keys{"servers[].port"});
}

TEST_CASE("what a server has beside its address is a change of its own, where the server stays") {
  const auto client = [](const std::string& more) { return ServersOf(R"({"type": "client", "port": 2)" + more + "}"); };
  CHECK(Changed(client(""), client(R"(, "origins": ["https://a.example"])")) == Keys{"servers[].origins"});
  CHECK(Changed(client(""), client(R"(, "trusted.proxies": ["10.0.0.0/8"])")) == Keys{"servers[].trusted.proxies"});
  CHECK(Changed(client(R"(, "trusted.proxies": ["::1"])"),
                client(R"(, "trusted.proxies": ["::1"], "proxy.protocol": true)")) == Keys{"servers[].proxy.protocol"});
  CHECK(Changed(client(""), client(R"(, "ssl.key": "/k", "ssl.cert": "/c")")) ==
        Keys{"servers[].ssl.key", "servers[].ssl.cert"});
  const auto admin = [](const std::string& more) {
    return ServersOf(R"({"type": "admin", "port": 2, "listen": "::1")" + more + "}");
  };
  CHECK(Changed(admin(""), admin(R"(, "allow": [])")) == Keys{"servers[].allow"});
  CHECK(Changed(admin(""), admin(R"(, "hosts": ["a"])")) == Keys{"servers[].hosts"});
}

TEST_CASE("a file may have every key that is listed") {
  for (const Setting& setting : AllSettings()) {
    CAPTURE(setting.key);
    const std::string member = "\"" + setting.key.substr(setting.key.find("[].") + 3) + "\": null";
    std::string text = "{\"" + setting.key + "\": null}";
    if (setting.key.starts_with("servers[].")) text = ServersOf(R"({"type": "admin", )" + member + "}");
    if (setting.key.starts_with("logs[].")) text = R"({"logs": [{"path": "/x", )" + member + "}]}";
    if (setting.key.starts_with("limits.")) text = "{\"limits\": {\"" + setting.key.substr(7) + "\": null}}";
    Settings settings;
    std::vector<std::string> problems;
    ReadFile("f.json", text, &settings, &problems);
    for (const std::string& problem : problems) CHECK(problem.find("unknown key") == std::string::npos);
  }
}

}  // namespace
}  // namespace aphlict::config
