// Metrics as text, in the two formats that scrapers ask for: Prometheus's (0.0.4) and OpenMetrics 1.0.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>

#include "common/base/histogram.h"

namespace aphlict::admin {

enum class MetricsFormat { kPrometheus, kOpenMetrics };

// The value of Content-Type.
std::string_view ContentTypeOf(MetricsFormat format);

class Exposition {
 public:
  enum class Type { kCounter, kGauge, kHistogram, kInfo };
  using Labels = std::initializer_list<std::pair<std::string_view, std::string_view>>;

  explicit Exposition(MetricsFormat format) : format_(format) {}

  // Begins a metric; its samples follow. `name` is without `_total` or `_info`, which its type adds, and ends with its
  // unit, where it has one: `_seconds` or `_bytes`. `help` is a sentence, and plain text.
  void Begin(Type type, std::string_view name, std::string_view help);

  // A sample of a counter, a gauge or an info. Labels' values may be any text in UTF-8.
  void Sample(std::uint64_t value, Labels labels = {});
  void Sample(double value, Labels labels = {});
  // The samples of a histogram, whose values are counted in so many parts of the metric's unit.
  void Sample(const Histogram& histogram, double parts);

  // The whole text. REQUIRES: nothing is written after it.
  std::string Finish();

 private:
  void Name(std::string_view suffix);
  void Write(Labels labels);
  void EndLine(std::uint64_t value);
  void EndLine(double value);

  MetricsFormat format_;
  std::string text_;
  std::string name_;         // of the present metric
  std::string_view suffix_;  // of its samples
};

}  // namespace aphlict::admin
