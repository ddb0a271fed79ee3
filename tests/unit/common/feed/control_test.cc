#include "common/feed/control.h"

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace aphlict::feed {
namespace {

const history::Epoch kA(history::kEpochLength, 'a');
const history::Epoch kB(history::kEpochLength, 'b');
constexpr history::Sequence kLargest = 0x7fffffffffffffff;  // a JSON number of ours

template <class Message>
Message RoundTrip(const Message& message) {
  const auto parsed = ParseControl(Encode(message));
  REQUIRE(parsed);
  REQUIRE(std::holds_alternative<Message>(*parsed));
  return std::get<Message>(*parsed);
}

std::string ErrorOf(std::string_view text) {
  const auto parsed = ParseControl(text);
  return parsed ? "none" : parsed.error().text;
}

TEST_CASE("a hello comes back as it was") {
  Hello hello{"node", "näme \"1\"", "0.1.0", "wss://example.com/", true, {{kA, 7}, {kB, kLargest}}, std::nullopt};
  const Hello parsed = RoundTrip(hello);
  CHECK(parsed.node == hello.node);
  CHECK(parsed.name == hello.name);
  CHECK(parsed.version == hello.version);
  CHECK(parsed.url == hello.url);
  CHECK(parsed.resumes);
  CHECK(parsed.cursor == hello.cursor);
  CHECK_FALSE(parsed.instances);

  SUBCASE("with the instances that it wants") {
    hello.instances = {"dog", "", "cat"};
    CHECK(RoundTrip(hello).instances == hello.instances);
    hello.instances = std::vector<std::string>();
    CHECK(RoundTrip(hello).instances == hello.instances);
  }
  SUBCASE("from a repeater that follows for the first time") {
    const Hello first = RoundTrip(Hello{"node", "", "", "", false, {}, std::nullopt});
    CHECK_FALSE(first.resumes);
    CHECK(first.cursor.empty());
  }
}

TEST_CASE("a welcome comes back as it was") {
  const Welcome welcome{"node", "name", "0.1.0", {"above 1", "above 2"}, {{kA, {1, 0}}, {kB, {3, kLargest}}}, -5};
  const Welcome parsed = RoundTrip(welcome);
  CHECK(parsed.node == welcome.node);
  CHECK(parsed.name == welcome.name);
  CHECK(parsed.version == welcome.version);
  CHECK(parsed.above == welcome.above);
  CHECK(parsed.clock == -5);
  REQUIRE(parsed.epochs.size() == 2);
  CHECK(parsed.epochs.at(kA).floor == 1);
  CHECK(parsed.epochs.at(kA).newest == 0);
  CHECK(parsed.epochs.at(kB).floor == 3);
  CHECK(parsed.epochs.at(kB).newest == kLargest);
}

TEST_CASE("a heartbeat comes back as it was") {
  const Heartbeat heartbeat{123'456'789'012'345, {{kA, 0}, {kB, 9}}, true};
  const Heartbeat parsed = RoundTrip(heartbeat);
  CHECK(parsed.clock == heartbeat.clock);
  CHECK(parsed.cursor == heartbeat.cursor);
  CHECK(parsed.live);
  CHECK_FALSE(RoundTrip(Heartbeat{0, {}, false}).live);
}

TEST_CASE("a gap comes back as it was") {
  const history::Gap parsed = RoundTrip(history::Gap{kA, 3, kLargest});
  CHECK(parsed.epoch == kA);
  CHECK(parsed.from == 3);
  CHECK(parsed.to == kLargest);
}

TEST_CASE("the nodes above, and the word that one is about to go, come back as they were") {
  CHECK(RoundTrip(Above{{"a", "b"}}).nodes == std::vector<std::string>{"a", "b"});
  CHECK(RoundTrip(Above{}).nodes.empty());
  RoundTrip(Drain{});
}

TEST_CASE("a status keeps its report") {
  const auto parsed = ParseControl(R"({"type":"status","nodes":[{"id":"x"}],"gone":["y"]})");
  REQUIRE(parsed);
  REQUIRE(std::holds_alternative<Status>(*parsed));
  const json::Value& report = std::get<Status>(*parsed).report;
  CHECK(report["nodes"].elements().at(0)["id"].string() == "x");
  CHECK(report["gone"].elements().at(0).string() == "y");
}

// A control message as its members, each with its JSON text.
using Members = std::vector<std::pair<std::string, std::string>>;

std::string Text(const Members& members) {
  std::string text = "{";
  for (const auto& [key, value] : members) text += (text.size() > 1 ? ",\"" : "\"") + key + "\":" + value;
  return text + "}";
}

Members HelloMembers() {
  return {{"type", R"("hello")"}, {"node", R"("n")"},   {"name", R"("m")"}, {"version", R"("v")"},
          {"url", R"("")"},       {"resumes", "false"}, {"cursor", "{}"},   {"instances", "[]"}};
}
Members WelcomeMembers() {
  return {{"type", R"("welcome")"}, {"node", R"("n")"}, {"name", R"("m")"}, {"version", R"("v")"},
          {"above", "[]"},          {"clock", "0"},     {"epochs", "{}"}};
}
Members HeartbeatMembers() { return {{"type", R"("heartbeat")"}, {"clock", "0"}, {"cursor", "{}"}, {"live", "true"}}; }
Members GapMembers() { return {{"type", R"("gap")"}, {"epoch", "\"" + kA + "\""}, {"from", "1"}, {"to", "1"}}; }
Members AboveMembers() { return {{"type", R"("above")"}, {"nodes", "[]"}}; }

// Whether the error names the member, and nothing else does.
void CheckRefused(const Members& members, const std::string& key) {
  const std::string text = Text(members);
  CAPTURE(text);
  const std::string error = ErrorOf(text);
  CHECK(error.starts_with("`" + key + "` is not "));
}

// Without the member, or with one of these in its place, the message is refused.
void CheckMember(const Members& members, const std::string& key, const std::vector<std::string>& wrong,
                 bool optional = false) {
  REQUIRE(ErrorOf(Text(members)) == "none");
  for (std::size_t i = 0; i < members.size(); ++i) {
    if (members[i].first != key) continue;
    Members changed = members;
    changed.erase(changed.begin() + static_cast<std::ptrdiff_t>(i));
    if (optional) {
      CHECK(ErrorOf(Text(changed)) == "none");
    } else {
      CheckRefused(changed, key);
    }
    for (const std::string& value : wrong) {
      changed = members;
      changed[i].second = value;
      CheckRefused(changed, key);
    }
    return;
  }
  FAIL("no such member: " << key);
}

const std::vector<std::string> kNoText = {"null", "7", "true", "[]", "{}"};
const std::vector<std::string> kNoFlag = {"null", "0", "1", R"("true")", "[]", "{}"};
const std::vector<std::string> kNoInteger = {"null", R"("1")", "1.5", "1e3", "true", "[]", "{}", "9223372036854775808"};
const std::vector<std::string> kNoClock = {"null", R"("1")", "1.5", "1125899906842625", "-1125899906842625"};
const std::vector<std::string> kNoTexts = {"null", R"("a")", "7", "{}", "[7]", R"(["a",null])", R"([["a"]])"};

// An epoch's name, with a value.
std::string By(const std::string& epoch, const std::string& value) { return "{\"" + epoch + "\":" + value + "}"; }

const std::vector<std::string> kNoCursor = {"null",
                                            "[]",
                                            "7",
                                            R"("x")",
                                            By("short", "1"),
                                            By(kA + "x", "1"),
                                            By(kA, "-1"),
                                            By(kA, "1.5"),
                                            By(kA, "null"),
                                            By(kA, R"("1")"),
                                            By(kA, "9223372036854775808"),
                                            By("", "1")};

TEST_CASE("a hello with a member missing or wrong is refused, and the error names it") {
  for (const char* key : {"node", "name", "version", "url"}) CheckMember(HelloMembers(), key, kNoText);
  CheckMember(HelloMembers(), "resumes", kNoFlag);
  CheckMember(HelloMembers(), "cursor", kNoCursor);
  const std::vector<std::string> wrong(kNoTexts.begin() + 1, kNoTexts.end());  // null is none
  CheckMember(HelloMembers(), "instances", wrong, true);
}

TEST_CASE("a welcome with a member missing or wrong is refused, and the error names it") {
  for (const char* key : {"node", "name", "version"}) CheckMember(WelcomeMembers(), key, kNoText);
  CheckMember(WelcomeMembers(), "above", kNoTexts);
  CheckMember(WelcomeMembers(), "clock", kNoClock);
  CheckMember(WelcomeMembers(), "epochs",
              {"null", "[]", "7", By(kA, "null"), By(kA, "7"), By(kA, "{}"), By(kA, R"({"floor":1})"),
               By(kA, R"({"newest":1})"), By(kA, R"({"floor":0,"newest":1})"), By(kA, R"({"floor":-1,"newest":1})"),
               By(kA, R"({"floor":1,"newest":-1})"), By(kA, R"({"floor":"1","newest":1})"),
               By(kA, R"({"floor":1,"newest":1.5})"), By("short", R"({"floor":1,"newest":1})")});
}

TEST_CASE("a heartbeat with a member missing or wrong is refused, and the error names it") {
  CheckMember(HeartbeatMembers(), "clock", kNoClock);
  CheckMember(HeartbeatMembers(), "cursor", kNoCursor);
  CheckMember(HeartbeatMembers(), "live", kNoFlag);
}

TEST_CASE("a gap with a member missing or wrong is refused, and the error names it") {
  CheckMember(GapMembers(), "epoch", {"null", "7", R"("")", R"("short")", "\"" + kA + "x\"", "[]"});
  std::vector<std::string> wrong = kNoInteger;
  wrong.emplace_back("-1");
  CheckMember(GapMembers(), "from", wrong);
  CheckMember(GapMembers(), "to", wrong);

  SUBCASE("and one that ends before it begins, or begins before the first") {
    Members members = GapMembers();
    members[2].second = "2";
    CheckRefused(members, "to");
    members[2].second = "0";
    CheckRefused(members, "to");
  }
}

TEST_CASE("a list of nodes above that is missing, wrong or too long is refused") {
  CheckMember(AboveMembers(), "nodes", kNoTexts);
  Above above;
  above.nodes.assign(kMaxAbove, "n");
  CHECK(RoundTrip(above).nodes.size() == kMaxAbove);
  above.nodes.emplace_back("n");
  CHECK(ErrorOf(Encode(above)) == "`nodes` is not a list of at most 4096");
}

TEST_CASE("members that are not known are ignored, in any order") {
  for (Members members : {HelloMembers(), WelcomeMembers(), HeartbeatMembers(), GapMembers(), AboveMembers(),
                          Members{{"type", R"("drain")"}}, Members{{"type", R"("status")"}}}) {
    members.insert(members.begin(), {"further", R"({"node":7})"});
    members.push_back({"", "[null]"});
    CHECK(ErrorOf(Text(members)) == "none");
    std::swap(members.front(), members.back());
    std::swap(members[1], members[members.size() - 2]);
    CHECK(ErrorOf(Text(members)) == "none");
  }
}

TEST_CASE("what has no known type is refused") {
  for (const char* text : {"{}", R"({"type":"Hello"})", R"({"type":"message"})", R"({"type":""})", R"({"type":7})",
                           R"({"type":null})", R"({"kind":"hello"})", "[]", "7", "null", R"("hello")"}) {
    CAPTURE(text);
    CHECK(ErrorOf(text) == "a control message of no known type");
  }
}

TEST_CASE("what is not JSON is refused") {
  for (const char* text : {"", "{", R"({"type":"drain"}})", R"({"type":"drain"} // gone)", "\xff"}) {
    CAPTURE(text);
    CHECK(ErrorOf(text).starts_with("line 1, column "));
  }
}

TEST_CASE("a clock's reading is its time in whole microseconds, rounded down") {
  CHECK(ReadClock(Time(Duration(1'999'999))) == 1999);
  CHECK(ReadClock(Time(Duration(-1))) == -1);
  CHECK(FromClock(1999) == Time(Duration(1'999'000)));
  CHECK(FromClock(ReadClock(Time(seconds(5)))) == Time(seconds(5)));
}

}  // namespace
}  // namespace aphlict::feed
