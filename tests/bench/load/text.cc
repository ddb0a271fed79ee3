#include "tests/bench/load/text.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <sstream>

namespace aphlict::bench {

std::string Format(const char* format, ...) {
  char text[2048];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  return text;
}

std::string Replace(std::string text, const std::string& from, const std::string& to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

std::vector<std::string> SplitAtCommas(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
  return parts;
}

std::string Escape(const std::string& text) {
  std::string escaped;
  for (const char c : text.substr(0, 200)) {
    if (c == '"' || c == '\\') escaped += '\\';
    escaped += c < 0x20 || c > 0x7e ? '?' : c;
  }
  return escaped;
}

std::string Percentiles(const char* name, std::vector<float>& values) {
  if (values.empty()) return Format("\"%s\":null", name);
  std::sort(values.begin(), values.end());
  const auto at = [&](double part) {
    return static_cast<double>(values[static_cast<std::size_t>(part * static_cast<double>(values.size() - 1))]);
  };
  return Format(R"("%s":{"p50":%.1f,"p99":%.1f,"max":%.1f})", name, at(0.5), at(0.99), at(1));
}

}  // namespace aphlict::bench
