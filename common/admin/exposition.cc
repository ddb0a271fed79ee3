#include "common/admin/exposition.h"

#include <charconv>
#include <cstddef>
#include <utility>

namespace aphlict::admin {

namespace {

void AppendNumber(std::string& out, std::uint64_t value) {
  char digits[20];
  const auto result = std::to_chars(digits, digits + sizeof(digits), value);
  out.append(digits, result.ptr);
}

void AppendNumber(std::string& out, double value) {
  char digits[400];  // the largest double has 309
  const auto result = std::to_chars(digits, digits + sizeof(digits), value, std::chars_format::fixed);
  out.append(digits, result.ptr);
}

// The bound of a bucket, the same text in both formats: OpenMetrics wants a point in it.
std::string BoundText(double bound) {
  std::string text;
  AppendNumber(text, bound);
  if (text.find('.') == std::string::npos) text += ".0";
  return text;
}

std::string_view UnitOf(std::string_view name) {
  for (const std::string_view unit : {"seconds", "bytes"}) {
    if (name.ends_with(unit)) return unit;
  }
  return "";
}

}  // namespace

std::string_view ContentTypeOf(MetricsFormat format) {
  return format == MetricsFormat::kOpenMetrics ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                               : "text/plain; version=0.0.4; charset=utf-8";
}

void Exposition::Begin(Type type, std::string_view name, std::string_view help) {
  const bool open_metrics = format_ == MetricsFormat::kOpenMetrics;
  name_ = name;
  suffix_ = type == Type::kCounter ? "_total" : type == Type::kInfo ? "_info" : "";
  // In OpenMetrics the metric's own name is without the suffix; in the older format it is that of its samples.
  std::string shown = name_;
  if (!open_metrics) shown += suffix_;
  std::string_view type_name = "gauge";
  if (type == Type::kCounter) type_name = "counter";
  if (type == Type::kHistogram) type_name = "histogram";
  if (type == Type::kInfo && open_metrics) type_name = "info";
  text_.append("# TYPE ").append(shown).append(" ").append(type_name).append("\n");
  if (const std::string_view unit = UnitOf(name); open_metrics && !unit.empty()) {
    text_.append("# UNIT ").append(shown).append(" ").append(unit).append("\n");
  }
  text_.append("# HELP ").append(shown).append(" ").append(help).append("\n");
}

void Exposition::Sample(std::uint64_t value, Labels labels) {
  Name(suffix_);
  Write(labels);
  EndLine(value);
}

void Exposition::Sample(double value, Labels labels) {
  Name(suffix_);
  Write(labels);
  EndLine(value);
}

void Exposition::Sample(const Histogram& histogram, double parts) {
  std::uint64_t count = 0;
  for (std::size_t i = 0; i < histogram.counts().size(); ++i) {
    count += histogram.counts()[i];
    Name("_bucket");
    const bool bounded = i < histogram.bounds().size();
    Write({{"le", bounded ? BoundText(static_cast<double>(histogram.bounds()[i]) / parts) : "+Inf"}});
    EndLine(count);
  }
  Name("_sum");
  EndLine(static_cast<double>(histogram.sum()) / parts);
  Name("_count");
  EndLine(count);
}

std::string Exposition::Finish() {
  if (format_ == MetricsFormat::kOpenMetrics) text_ += "# EOF\n";
  return std::move(text_);
}

void Exposition::Name(std::string_view suffix) { text_.append(name_).append(suffix); }

void Exposition::Write(Labels labels) {
  char separator = '{';
  for (const auto& [name, value] : labels) {
    text_.push_back(separator);
    separator = ',';
    text_.append(name).append("=\"");
    for (const char c : value) {
      if (c == '\\' || c == '"') text_.push_back('\\');
      if (c == '\n') {
        text_.append("\\n");
      } else {
        text_.push_back(c);
      }
    }
    text_.push_back('"');
  }
  if (labels.size() > 0) text_.push_back('}');
}

void Exposition::EndLine(std::uint64_t value) {
  text_.push_back(' ');
  AppendNumber(text_, value);
  text_.push_back('\n');
}

void Exposition::EndLine(double value) {
  text_.push_back(' ');
  AppendNumber(text_, value);
  text_.push_back('\n');
}

}  // namespace aphlict::admin
