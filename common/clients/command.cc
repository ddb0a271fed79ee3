#include "common/clients/command.h"

#include <algorithm>
#include <cmath>

#include "common/json/value.h"

namespace aphlict::clients {

namespace {

constexpr double kDefaultAgeMs = 60'000;

// Longer than any history, and small enough for arithmetic on times.
constexpr double kLongestAgeMs = 1e11;

Result<std::vector<std::string>> Phids(const json::Value& data) {
  if (!data.is_array()) return Error{"expected a list of PHIDs as `data`, got " + std::string(data.type_name())};
  std::vector<std::string> phids;
  phids.reserve(data.elements().size());
  for (const json::Value& element : data.elements()) {
    if (element.is_string()) phids.push_back(element.string());
  }
  return phids;
}

Duration Age(const json::Value& data) {
  double age = data["age"].real().value_or(0);
  if (age == 0 || std::isnan(age)) age = kDefaultAgeMs;
  age = std::clamp(age, -kLongestAgeMs, kLongestAgeMs);
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double, std::milli>(age));
}

}  // namespace

Result<Command> ParseCommand(std::string_view text, int max_depth, Time sent) {
  // What every page sends every 15 s, as Phabricator spells it: an idle node does little else.
  if (text == R"({"command":"ping"})") return Command(Ping{});
  const auto message = json::Parse(text, {.max_depth = max_depth, .comments = false});
  if (!message) return message.error();
  if (!message->is_object()) return Error{"expected an object, got " + std::string(message->type_name())};
  const json::Value& name = (*message)["command"];
  const json::Value& data = (*message)["data"];
  if (!name.is_string()) return Error{"expected a string as `command`, got " + std::string(name.type_name())};
  if (name.string() == "ping") return Command(Ping{});
  if (name.string() == "replay") return Command(ReplayRequest{sent - Age(data)});
  const bool subscribe = name.string() == "subscribe";
  if (!subscribe && name.string() != "unsubscribe") return Error{"unknown command " + name.string().substr(0, 64)};
  auto phids = Phids(data);
  if (!phids) return phids.error();
  if (subscribe) return Command(Subscribe{std::move(*phids)});
  return Command(Unsubscribe{std::move(*phids)});
}

std::string InstanceOfPath(std::string_view path) {
  std::string instance;
  if (const std::size_t tilde = path.find('~'); tilde != std::string_view::npos) {
    instance = path.substr(tilde + 1);
    instance.erase(std::min(instance.find('~'), instance.size()));
    std::erase(instance, '/');
  }
  return instance.empty() ? "default" : instance;
}

}  // namespace aphlict::clients
