// The body of a publish: accepted exactly when a slow and separate reading accepts it, with the same content; and its
// copy for a push peer is the same message, which has come by one node more.
#include "master/publish.h"

#include <algorithm>

#include "master/touched.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/slow_json.h"

namespace aphlict::fuzz {
namespace {

constexpr master::PublishLimits kLimits{.json_depth = 12, .subscribers = 6};

std::string Describe(const master::Publish& publish) {
  std::string text = "uniqueID " + publish.unique_id;
  publish.subscribers.ForEach([&](std::string_view subscriber) {
    text += "\nsubscriber " + std::string(subscriber);
    return true;
  });
  return text;
}

bool IsString(const SlowJson& value) { return value.type == SlowJson::Type::kString; }

// What a publish must be (master/publish.h). Nothing: refused.
std::optional<master::Publish> PublishOf(const SlowJson& root) {
  const SlowJson& subscribers = root["subscribers"];
  if (root.type != SlowJson::Type::kObject || subscribers.type != SlowJson::Type::kArray) return std::nullopt;
  if (!std::all_of(subscribers.elements.begin(), subscribers.elements.end(), IsString)) return std::nullopt;
  for (std::size_t i = 0; i < root.keys.size(); ++i) {  // also of those that another key overrides
    const SlowJson& each = root.elements[i];
    if (root.keys[i] != "subscribers" || each.type != SlowJson::Type::kArray) continue;
    const auto strings = std::count_if(each.elements.begin(), each.elements.end(), IsString);
    if (static_cast<std::size_t>(strings) > kLimits.subscribers) return std::nullopt;
  }
  master::Publish publish;
  for (const SlowJson& each : subscribers.elements) publish.subscribers.Add(each.text);
  if (IsString(root["uniqueID"])) publish.unique_id = root["uniqueID"].text;
  return publish;
}

void TestCopy(std::string_view body, const master::Publish& publish, const SlowJson& root) {
  master::Touched touched = master::FindTouched(body, kLimits.json_depth);
  const SlowJson& list = root["touched"];
  std::vector<std::string> expected;
  if (list.type == SlowJson::Type::kArray) {
    for (const SlowJson& each : list.elements) {
      if (IsString(each)) expected.push_back(each.text);
    }
  }
  Check(touched.nodes == expected, "both readings find the same nodes");
  std::string copy(body.substr(0, touched.begin));
  copy.append(touched.Insertion({"NEW"})).append(body.substr(touched.end));
  const auto copied = master::ParsePublish(copy, kLimits);
  Check(copied.has_value(), "the copy is a publish");
  CheckSame(Describe(*copied), Describe(publish), "of the same content");
  expected.push_back("NEW");
  Check(master::FindTouched(copy, kLimits.json_depth).nodes == expected, "that has come by one node more");
  const auto count = [](const SlowJson& object) {
    return std::count(object.keys.begin(), object.keys.end(), "touched");
  };
  Check(count(*ReadSlowly(copy, kLimits.json_depth, false)) == std::max<std::ptrdiff_t>(1, count(root)),
        "and has no second list");
}

void Test(std::string_view body) {
  const auto publish = master::ParsePublish(body, kLimits);
  const auto root = ReadSlowly(body, kLimits.json_depth, false);
  const auto expected = root ? PublishOf(*root) : std::nullopt;
  Check(publish.has_value() == expected.has_value(), "both readings accept it, or none does");
  if (!publish) {
    Check(publish.error().code == 400 && !publish.error().text.empty(), "a refusal says why");
    return;
  }
  CheckSame(Describe(*publish), Describe(*expected), "both readings find the same");
  TestCopy(body, *publish, *root);
  const auto again = master::ParsePublish(WritePlainly(*root), kLimits);
  Check(again.has_value(), "what is accepted is also accepted in one line");
  CheckSame(Describe(*publish), Describe(*again), "and is the same there");
}

}  // namespace
}  // namespace aphlict::fuzz

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  aphlict::fuzz::Test(aphlict::fuzz::Text(data, size));
  return 0;
}
