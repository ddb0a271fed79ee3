#include "common/feed/figures.h"

#include <doctest/doctest.h>

#include <string>

namespace aphlict::feed {
namespace {

std::string Taken(const std::string& text) { return Figures::Parse(text).text; }

TEST_CASE("figures are passed on as they are, known and unknown alike") {
  const std::string text =
      R"({"state":"ready","clients":3,"messages_out":7,"refused":{"client.too_large":1,"admin.host":2},)"
      R"("latency":{"bounds_us":[1,2],"counts":[0,5,0],"sum_us":9},"new_in_the_next_version":{"a":"b"}})";
  CHECK(Taken(text) == text);
  CHECK(Taken(Taken(text)) == text);
  CHECK(Figures().text == "{}");
  CHECK(Taken("{}") == "{}");
}

TEST_CASE("what is summed up is read") {
  const Figures figures = Figures::Parse(R"({"clients_total":5,"messages_out":7,"gaps":1,"clients":9})");
  CHECK(figures.sums.clients_total == 5);
  CHECK(figures.sums.messages_out == 7);
  CHECK(figures.sums.gaps == 1);
  CHECK(Figures::Parse(R"({"messages_out":-7,"gaps":"x"})").sums.messages_out == 0);
}

TEST_CASE("what does not fit is left out, and the rest is taken") {
  for (const char* misfit : {R"("a":-1)", R"("a":1.5)", R"("a":true)", R"("a":null)", R"("a":"Text")", R"("a":"")",
                             R"("a":"a b")", R"("a":[1,"b"])", R"("a":[[1]])", R"("a":[-1])", R"("A":1)", R"("":1)",
                             R"("1":1)", R"("a b":1)", R"("a\"":1)", R"("é":1)", R"("a":1e400)"}) {
    CAPTURE(misfit);
    CHECK(Taken("{" + std::string(misfit) + R"(,"z":1})") == R"({"z":1})");
  }
  CHECK(Taken(R"({"a":{"b":{"c":1},"d":2}})") == R"({"a":{"d":2}})");
  for (const char* other : {"[]", "7", "null", "", "{"}) CHECK(Taken(other) == "{}");
}

TEST_CASE("figures have bounds") {
  const std::string longest(Figures::kMaxName, 'n');
  CHECK(Taken("{\"" + longest + "\":1,\"" + longest + "n\":2}") == "{\"" + longest + "\":1}");
  std::string members;
  std::string numbers;
  for (std::size_t i = 0; i < Figures::kMaxMembers; ++i) {
    members += (i == 0 ? "\"a" : ",\"a") + std::to_string(i) + "\":1";
    numbers += i == 0 ? "1" : ",1";
  }
  CHECK(Taken("{" + members + "}") == "{" + members + "}");
  CHECK(Taken("{" + members + ",\"b\":1}") == "{" + members + "}");
  CHECK(Taken("{\"a\":[" + numbers + "]}") == "{\"a\":[" + numbers + "]}");
  CHECK(Taken("{\"a\":[" + numbers + ",1]}") == "{}");
  std::string large;
  for (int i = 0; i < 20; ++i) large += (i == 0 ? "\"o" : ",\"o") + std::to_string(i) + "\":{" + members + "}";
  const Figures figures = Figures::Parse("{\"messages_out\":5," + large + "}");
  CHECK(figures.text == "{}");
  CHECK(figures.sums.messages_out == 0);
}

TEST_CASE("sums come out right although differences wrap round") {
  Figures::Sums sums{5, 6, 7};
  sums -= {10, 10, 10};
  sums += {11, 12, 13};
  CHECK(sums.clients_total == 6);
  CHECK(sums.messages_out == 8);
  CHECK(sums.gaps == 10);
}

}  // namespace
}  // namespace aphlict::feed
