// A page's command: what is made of it is what a slow and separate reading makes of it.
#include <algorithm>
#include <cmath>

#include "common/clients/command.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/slow_json.h"

namespace aphlict::fuzz {
namespace {

constexpr int kDepth = 12;
constexpr Time kSent{seconds(1000)};

void CheckAge(Duration age, const SlowJson& data) {
  const SlowJson& given = data["age"];
  double expected = given.type == SlowJson::Type::kNumber ? std::strtod(given.text.c_str(), nullptr) : 0;
  if (expected == 0) expected = 60'000;
  expected = std::max(-1e11, std::min(1e11, expected));
  const double found = static_cast<double>(age.count()) / 1e6;
  Check(std::abs(found - expected) <= 1e-3 + std::abs(expected) * 1e-12, "both readings find the same age");
}

void CheckPhids(const std::vector<std::string>& phids, const SlowJson& data) {
  std::vector<std::string> expected;
  for (const SlowJson& each : data.elements) {
    if (each.type == SlowJson::Type::kString) expected.push_back(each.text);
  }
  Check(phids == expected, "both readings find the same PHIDs");
}

void Test(std::string_view text) {
  const auto command = clients::ParseCommand(text, kDepth, kSent);
  const auto root = ReadSlowly(text, kDepth, false);
  const SlowJson nothing;
  const SlowJson& name = root ? (*root)["command"] : nothing;
  const SlowJson& data = root ? (*root)["data"] : nothing;
  const bool is_name = name.type == SlowJson::Type::kString;
  const bool takes_phids = is_name && (name.text == "subscribe" || name.text == "unsubscribe");
  const bool expected =
      takes_phids ? data.type == SlowJson::Type::kArray : is_name && (name.text == "ping" || name.text == "replay");
  Check(command.has_value() == expected, "both readings take it for a command, or none does");
  if (!command) return Check(!command.error().text.empty(), "an error says why it is none");
  if (const auto* replay = std::get_if<clients::ReplayRequest>(&*command)) return CheckAge(kSent - replay->since, data);
  if (const auto* subscribe = std::get_if<clients::Subscribe>(&*command)) {
    Check(name.text == "subscribe", "both readings find the same command");
    return CheckPhids(subscribe->phids, data);
  }
  if (const auto* unsubscribe = std::get_if<clients::Unsubscribe>(&*command)) {
    Check(name.text == "unsubscribe", "both readings find the same command");
    return CheckPhids(unsubscribe->phids, data);
  }
  Check(name.text == "ping", "both readings find the same command");
}

}  // namespace
}  // namespace aphlict::fuzz

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  aphlict::fuzz::Test(aphlict::fuzz::Text(data, size));
  return 0;
}
