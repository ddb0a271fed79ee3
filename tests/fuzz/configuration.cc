// The configuration file: what is accepted is within its bounds, and the same document written in one line, without
// comments, is read the same.
#include <algorithm>

#include "common/config/load.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/slow_json.h"

namespace aphlict::fuzz {
namespace {

constexpr std::string_view kFile = "relay.json";

// What a file says: settings, or what is wrong.
struct Reading {
  config::Settings settings;
  std::vector<std::string> problems;
  std::vector<config::ServerType> off;
};

Reading Read(config::Role role, std::string_view text) {
  Reading reading;
  reading.settings.role = role;
  reading.off = config::ReadFile(kFile, text, &reading.settings, &reading.problems);
  return reading;
}

// A problem without the place in the text.
std::string WithoutLine(const std::string& problem) { return problem.substr(0, problem.rfind(" (line ")); }

std::string Describe(const Reading& reading) {
  const config::Settings& settings = reading.settings;
  std::string text;
  for (const auto& server : settings.servers) {
    text +=
        std::to_string(static_cast<int>(server.type)) + " " + server.host + " " + std::to_string(server.port) + "\n";
  }
  for (const auto& group : settings.upstream) {
    text += "group";
    for (const auto& url : group.urls) text += " " + url.scheme + "://" + url.authority() + url.path;
    for (const auto& instance : group.instances) text += " " + instance;
    text += "\n";
  }
  for (const auto& path : settings.log_paths) text += "log " + path + "\n";
  for (const auto& notice : settings.notices) text += "notice " + notice + "\n";
  for (const auto& problem : reading.problems) text += "problem " + WithoutLine(problem) + "\n";
  for (const auto type : reading.off) text += "off " + std::to_string(static_cast<int>(type)) + "\n";
  const config::Limits& limits = settings.limits;
  text += settings.pidfile + "|" + settings.name + "|" + settings.public_url + "|" + settings.state + "|" +
          std::to_string(static_cast<int>(settings.durability)) + std::to_string(settings.drain_time.count()) +
          (settings.reuse_port ? " reuse " : " ") + std::to_string(static_cast<int>(settings.log_level));
  for (const std::size_t limit :
       {limits.publish_bytes, limits.message_subscribers, limits.instance_bytes, limits.instances, limits.head_bytes,
        limits.head_fields, limits.unfinished_bytes, limits.clients, limits.command_bytes, limits.command_fragments,
        limits.client_subscriptions, limits.client_subscription_bytes, limits.client_stalled_bytes,
        limits.client_unsent_bytes, limits.history_bytes, limits.repeaters,
        static_cast<std::size_t>(limits.json_depth)}) {
    text += " " + std::to_string(limit);
  }
  return text;
}

void CheckBounds(const Reading& reading) {
  const config::Settings& settings = reading.settings;
  for (const auto& server : settings.servers) Check(!server.host.empty(), "a server has an address");
  for (const auto& group : settings.upstream) {
    Check(!group.urls.empty(), "a group has a URL");
    for (const auto& url : group.urls) {
      Check(!url.host.empty() && url.port != 0 && url.path.starts_with('/'), "a URL has a host, a port and a path");
      const auto again = http::ParseUrl(url.scheme + "://" + url.authority() + url.path);
      Check(again && again->authority() == url.authority() && again->path == url.path,
            "a URL written anew is the same");
    }
  }
  Check(settings.drain_time.count() >= 0 && settings.drain_time.count() <= config::kMaxDrainSeconds, "drains end");
  Check(settings.limits.publish_bytes > 0 && settings.limits.json_depth > 0 && settings.limits.history_bytes > 0 &&
            settings.limits.head_time.count() > 0,
        "a bound is no less than 1");
}

void Test(Input input) {
  const config::Role role = input.Flag() ? config::Role::kMaster : config::Role::kRepeater;
  const std::string_view text = input.Rest();
  // Whether a comment may have one is nobody's rule.
  if (std::any_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < ' ' && c != '\n'; })) {
    return;
  }
  const Reading reading = Read(role, text);
  for (const auto& problem : reading.problems) {
    Check(problem.starts_with(std::string(kFile) + ": "), "a problem says in which file");
  }
  if (reading.problems.empty()) CheckBounds(reading);
  const auto root = ReadSlowly(text, 1024, true);
  if (!root)
    return Check(reading.problems.size() == 1 && reading.settings.servers.empty(), "what is not JSON is refused");
  CheckSame(Describe(reading), Describe(Read(role, WritePlainly(*root))), "the same document is read the same");
}

}  // namespace
}  // namespace aphlict::fuzz

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  aphlict::fuzz::Test(aphlict::fuzz::Input(data, size));
  return 0;
}
