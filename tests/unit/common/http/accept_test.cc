#include "common/http/accept.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

namespace aphlict::http {
namespace {

// "350", or "350 named".
std::string Wanted(const std::vector<std::string>& accept, const char* type = "text/plain",
                   const char* version = "0.0.4") {
  Headers headers;
  for (const std::string& value : accept) headers.Add("accept", value);
  const Preference preference = PreferenceFor(headers, type, version);
  return std::to_string(preference.quality) + (preference.named ? " named" : "");
}

TEST_CASE("without an Accept header everything is wanted") { CHECK(Wanted({}) == "1000"); }

TEST_CASE("a type is wanted by its name, its kind, or like everything") {
  CHECK(Wanted({"text/plain"}) == "1000 named");
  CHECK(Wanted({"Text/PLAIN;q=0.5"}) == "500 named");
  CHECK(Wanted({"text/*; q=0.25"}) == "250");
  CHECK(Wanted({"*/*;q=0.125"}) == "125");
  CHECK(Wanted({"text/html, application/json;q=0.9"}) == "0");
  CHECK(Wanted({""}) == "0");
}

TEST_CASE("the closest range counts, in whatever order and header they stand") {
  CHECK(Wanted({"*/*;q=0.1, text/plain;q=0.7, text/*;q=0.3"}) == "700 named");
  CHECK(Wanted({"*/*;q=0.1", "text/*;q=0.3"}) == "300");
  CHECK(Wanted({"text/plain;q=0.2, text/plain;version=0.0.4;q=0.9"}) == "900 named");
  CHECK(Wanted({"text/plain;q=0, */*"}) == "0 named");
}

TEST_CASE("a range with a version is of that one only") {
  CHECK(Wanted({"text/plain;version=0.0.4"}) == "1000 named");
  CHECK(Wanted({"text/plain; version=\"0.0.4\"; charset=utf-8"}) == "1000 named");
  CHECK(Wanted({"text/plain;version=1.0.0"}) == "0");
  CHECK(Wanted({"text/plain;version=1.0.0, */*;q=0.1"}) == "100");
}

TEST_CASE("a quality that is none is none") {
  for (const char* quality : {"", "x", "2", "-1", "0.5x", "nan", "1e9"}) {
    CAPTURE(quality);
    CHECK(Wanted({"text/plain;q=" + std::string(quality)}) == "0 named");
  }
}

TEST_CASE("what Prometheus sends prefers OpenMetrics") {
  const std::string accept =
      "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
      "text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
  CHECK(Wanted({accept}, "application/openmetrics-text", "1.0.0") == "500 named");
  CHECK(Wanted({accept}) == "300 named");
}

}  // namespace
}  // namespace aphlict::http
