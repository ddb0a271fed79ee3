#include "common/admin/exposition.h"

#include <doctest/doctest.h>

#include <array>
#include <string>

namespace aphlict::admin {
namespace {

using Type = Exposition::Type;

TEST_CASE("a counter's samples end with _total, and so does its name in the older format") {
  const auto write = [](MetricsFormat format) {
    Exposition out(format);
    out.Begin(Type::kCounter, "x_messages", "How many.");
    out.Sample(std::uint64_t{7}, {{"a", "b"}, {"c", "d"}});
    return out.Finish();
  };
  CHECK(write(MetricsFormat::kPrometheus) ==
        "# TYPE x_messages_total counter\n# HELP x_messages_total How many.\nx_messages_total{a=\"b\",c=\"d\"} 7\n");
  CHECK(write(MetricsFormat::kOpenMetrics) ==
        "# TYPE x_messages counter\n# HELP x_messages How many.\nx_messages_total{a=\"b\",c=\"d\"} 7\n# EOF\n");
}

TEST_CASE("OpenMetrics has a type for what is only told, and the older format takes it for a gauge") {
  const auto write = [](MetricsFormat format) {
    Exposition out(format);
    out.Begin(Type::kInfo, "x_build", "Which.");
    out.Sample(std::uint64_t{1}, {{"version", "2"}});
    return out.Finish();
  };
  CHECK(write(MetricsFormat::kPrometheus) ==
        "# TYPE x_build_info gauge\n# HELP x_build_info Which.\nx_build_info{version=\"2\"} 1\n");
  CHECK(write(MetricsFormat::kOpenMetrics) ==
        "# TYPE x_build info\n# HELP x_build Which.\nx_build_info{version=\"2\"} 1\n# EOF\n");
}

TEST_CASE("OpenMetrics is told the unit, which is the end of the name") {
  Exposition out(MetricsFormat::kOpenMetrics);
  out.Begin(Type::kGauge, "x_age_seconds", "How old.");
  out.Sample(0.25);
  out.Begin(Type::kCounter, "x_bytes", "How many.");
  out.Sample(std::uint64_t{0});
  CHECK(out.Finish() ==
        "# TYPE x_age_seconds gauge\n# UNIT x_age_seconds seconds\n# HELP x_age_seconds How old.\nx_age_seconds 0.25\n"
        "# TYPE x_bytes counter\n# UNIT x_bytes bytes\n# HELP x_bytes How many.\nx_bytes_total 0\n# EOF\n");
}

TEST_CASE("a histogram has cumulated buckets, a sum and a count") {
  constexpr std::array<std::uint64_t, 3> kBounds = {500, 1'000'000, 30'000'000};
  Histogram histogram(kBounds);
  histogram.Add(std::uint64_t{250}, 2);
  histogram.Add(std::uint64_t{2'000'000});
  histogram.Add(std::uint64_t{40'000'000});
  Exposition out(MetricsFormat::kPrometheus);
  out.Begin(Type::kHistogram, "x_seconds", "How long.");
  out.Sample(histogram, 1'000'000);
  CHECK(out.Finish() ==
        "# TYPE x_seconds histogram\n# HELP x_seconds How long.\n"
        "x_seconds_bucket{le=\"0.0005\"} 2\nx_seconds_bucket{le=\"1.0\"} 2\nx_seconds_bucket{le=\"30.0\"} 3\n"
        "x_seconds_bucket{le=\"+Inf\"} 4\nx_seconds_sum 42.0005\nx_seconds_count 4\n");
}

TEST_CASE("a label may have any text") {
  Exposition out(MetricsFormat::kPrometheus);
  out.Begin(Type::kGauge, "x", "What.");
  out.Sample(std::uint64_t{1}, {{"l", "a\"b\\c\nd é"}});
  CHECK(out.Finish().ends_with("x{l=\"a\\\"b\\\\c\\nd é\"} 1\n"));
}

TEST_CASE("numbers are written without an exponent") {
  Exposition out(MetricsFormat::kPrometheus);
  out.Begin(Type::kGauge, "x", "What.");
  for (const double value : {0.0, 0.00001, 1764144812.125, 1e22}) out.Sample(value);
  out.Sample(UINT64_MAX);
  CHECK(
      out.Finish().ends_with("x 0\nx 0.00001\nx 1764144812.125\nx 10000000000000000000000\nx 18446744073709551615\n"));
}

TEST_CASE("each format has its content type") {
  CHECK(ContentTypeOf(MetricsFormat::kPrometheus) == "text/plain; version=0.0.4; charset=utf-8");
  CHECK(ContentTypeOf(MetricsFormat::kOpenMetrics) == "application/openmetrics-text; version=1.0.0; charset=utf-8");
}

}  // namespace
}  // namespace aphlict::admin
