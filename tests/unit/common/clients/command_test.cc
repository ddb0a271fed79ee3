#include "common/clients/command.h"

#include <doctest/doctest.h>

#include <string>
#include <variant>

namespace aphlict::clients {
namespace {

std::string List(const std::vector<std::string>& phids) {
  std::string text;
  for (const std::string& phid : phids) text += " [" + phid + "]";
  return text;
}

std::string Describe(const Subscribe& subscribe) { return "subscribe" + List(subscribe.phids); }
std::string Describe(const Unsubscribe& unsubscribe) { return "unsubscribe" + List(unsubscribe.phids); }
constexpr Time kSent{seconds(1000)};

Duration Age(const ReplayRequest& replay) { return kSent - replay.since; }

std::string Describe(const ReplayRequest& replay) { return "replay " + std::to_string(Age(replay).count()) + " ns"; }
std::string Describe(const Ping&) { return "ping"; }

// "subscribe [a] [b]", "replay 5 ns", or "error: why".
std::string Parsed(std::string_view text, int max_depth = 1024) {
  const auto command = ParseCommand(text, max_depth, kSent);
  if (!command) {
    CHECK(command.error().text != "");
    return "error: " + command.error().text;
  }
  return std::visit([](const auto& each) { return Describe(each); }, *command);
}

std::string Frame(const std::string& name, const std::string& data) {
  return R"({"command":")" + name + R"(","data":)" + data + "}";
}

TEST_CASE("subscribe and unsubscribe name PHIDs") {
  CHECK(Parsed(Frame("subscribe", R"(["PHID-USER-1","PHID-PROJ-2"])")) == "subscribe [PHID-USER-1] [PHID-PROJ-2]");
  CHECK(Parsed(Frame("unsubscribe", R"(["PHID-USER-1"])")) == "unsubscribe [PHID-USER-1]");
  CHECK(Parsed(Frame("subscribe", "[]")) == "subscribe");

  SUBCASE("entries that are not strings are left out") {
    CHECK(Parsed(Frame("subscribe", R"([1,"a",null,["b"],{"c":"d"},true,"e"])")) == "subscribe [a] [e]");
    CHECK(Parsed(Frame("unsubscribe", R"([null])")) == "unsubscribe");
  }
  SUBCASE("whatever they look like") {
    CHECK(Parsed(Frame("subscribe", R"(["","constructor","__proto__","é"])")) ==
          "subscribe [] [constructor] [__proto__] [é]");
  }
}

TEST_CASE("subscribe and unsubscribe without a list are no commands") {
  for (const std::string name : {"subscribe", "unsubscribe"}) {
    CHECK(Parsed(R"({"command":")" + name + R"("})") == "error: expected a list of PHIDs as `data`, got null");
    CHECK(Parsed(Frame(name, "null")) == "error: expected a list of PHIDs as `data`, got null");
    CHECK(Parsed(Frame(name, R"({"length":4e8})")) == "error: expected a list of PHIDs as `data`, got an object");
    CHECK(Parsed(Frame(name, R"("PHID-USER-1")")) == "error: expected a list of PHIDs as `data`, got a string");
    CHECK(Parsed(Frame(name, "7")) == "error: expected a list of PHIDs as `data`, got a number");
  }
}

TEST_CASE("replay asks for the last milliseconds") {
  CHECK(Parsed(Frame("replay", R"({"age":1500})")) == "replay 1500000000 ns");
  CHECK(Parsed(Frame("replay", R"({"age":0.5})")) == "replay 500000 ns");
  CHECK(Parsed(Frame("replay", R"({"age":15e2})")) == "replay 1500000000 ns");
  CHECK(Parsed(Frame("replay", R"({"age":60000,"other":1})")) == "replay 60000000000 ns");

  SUBCASE("the last minute, where it does not say how many") {
    const std::string minute = "replay 60000000000 ns";
    CHECK(Parsed(R"({"command":"replay"})") == minute);
    for (const char* data : {"null", "{}", "[]", "7", R"("age")", R"({"age":0})", R"({"age":-0.0})", R"({"age":null})",
                             R"({"age":"5"})", R"({"age":true})", R"({"age":[5]})", R"({"age":{}})"}) {
      CAPTURE(data);
      CHECK(Parsed(Frame("replay", data)) == minute);
    }
  }
  SUBCASE("more than any history has, where the number is past reason") {
    for (const char* age : {"1e400", "1e300", "99999999999999999999999999"}) {
      CAPTURE(age);
      const auto command = ParseCommand(Frame("replay", R"({"age":)" + std::string(age) + "}"), 8, kSent);
      REQUIRE(command);
      CHECK(Age(std::get<ReplayRequest>(*command)) == std::chrono::duration_cast<Duration>(seconds(100'000'000)));
    }
  }
  SUBCASE("of the future, which are none") {
    CHECK(Parsed(Frame("replay", R"({"age":-5})")) == "replay -5000000 ns");
    CHECK(Parsed(Frame("replay", R"({"age":-1e400})")) == "replay -100000000000000000 ns");
  }
}

TEST_CASE("ping needs no data, and may have any") {
  CHECK(Parsed(R"({"command":"ping"})") == "ping");
  for (const char* data : {"null", "7", "[1]", R"({"a":{}})", R"("x")"}) CHECK(Parsed(Frame("ping", data)) == "ping");
}

TEST_CASE("members may stand in any order, and beside others; of two alike the last counts") {
  CHECK(Parsed(R"( { "x" : 1 , "data" : [ "a" ] , "command" : "subscribe" } )") == "subscribe [a]");
  CHECK(Parsed(R"({"command":"subscribe","command":"unsubscribe","data":[1],"data":["b"]})") == "unsubscribe [b]");
}

TEST_CASE("what is no command is told from one, with the reason") {
  CHECK(Parsed("null") == "error: expected an object, got null");
  CHECK(Parsed("7") == "error: expected an object, got a number");
  CHECK(Parsed(R"("ping")") == "error: expected an object, got a string");
  CHECK(Parsed(R"(["ping"])") == "error: expected an object, got a list");
  CHECK(Parsed("{}") == "error: expected a string as `command`, got null");
  CHECK(Parsed(R"({"command":7})") == "error: expected a string as `command`, got a number");
  CHECK(Parsed(R"({"command":["ping"]})") == "error: expected a string as `command`, got a list");
  CHECK(Parsed(R"({"command":"Ping"})") == "error: unknown command Ping");
  CHECK(Parsed(R"({"command":"toString"})") == "error: unknown command toString");
  CHECK(Parsed(R"({"command":""})") == "error: unknown command ");
  CHECK(Parsed(R"({"command":")" + std::string(10'000, 'x') + R"("})") ==
        "error: unknown command " + std::string(64, 'x'));

  SUBCASE("as JSON") {
    for (const char* text : {"", " ", "{", R"({"command":"ping")", R"({"command":"ping"}x)", R"({'command':'ping'})",
                             R"({"command":"ping",})", R"(/**/{"command":"ping"})", "{\"command\":\"p\xff\"}"}) {
      CAPTURE(text);
      CHECK(Parsed(text).starts_with("error: "));
    }
  }
  SUBCASE("by its depth") {
    const std::string deep = Frame("ping", std::string(20, '[') + std::string(20, ']'));
    CHECK(Parsed(deep, 21) == "ping");
    CHECK(Parsed(deep, 20).starts_with("error: "));
  }
}

TEST_CASE("the instance stands between the first tilde of a path and the next") {
  CHECK(InstanceOfPath("/~dog/") == "dog");
  CHECK(InstanceOfPath("/ws/~dog/") == "dog");
  CHECK(InstanceOfPath("/~dog") == "dog");
  CHECK(InstanceOfPath("~dog") == "dog");
  CHECK(InstanceOfPath("/~dog~cat/") == "dog");
  CHECK(InstanceOfPath("/a~dog/~cat") == "dog");

  SUBCASE("without slashes") {
    CHECK(InstanceOfPath("/~a/b") == "ab");
    CHECK(InstanceOfPath("/~/a//b/c/") == "abc");
  }
  SUBCASE("as it is written") {
    CHECK(InstanceOfPath("/~a%20b%2F+c/") == "a%20b%2F+c");
    CHECK(InstanceOfPath("/~Dog/") == "Dog");
    CHECK(InstanceOfPath("/~é/") == "é");
  }
  SUBCASE("and is default where there is none") {
    for (const char* path : {"", "/", "/ws/", "/~/", "/~", "/~~dog", "/~//~dog", "/dog"}) {
      CAPTURE(path);
      CHECK(InstanceOfPath(path) == "default");
    }
  }
}

}  // namespace
}  // namespace aphlict::clients
