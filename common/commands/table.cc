#include "common/commands/table.h"

#include <algorithm>
#include <cstdio>
#include <numeric>
#include <sstream>
#include <utility>

#include "common/base/printable.h"

namespace aphlict::commands {

namespace {

constexpr std::size_t kBetween = 2;  // spaces between columns

bool Continues(char byte) { return (static_cast<unsigned char>(byte) & 0xc0) == 0x80; }

std::size_t Characters(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char byte) { return !Continues(byte); }));
}

// The first `count` characters; where some are missing then, the last is an ellipsis.
std::string Cut(const std::string& text, std::size_t count) {
  if (Characters(text) <= count) return text;
  std::size_t end = 0;
  for (std::size_t taken = 0; end < text.size(); ++end) {
    if (!Continues(text[end]) && taken++ == count - 1) break;
  }
  return text.substr(0, end) + "…";
}

std::string Format(const char* format, double value, const char* unit) {
  char text[32];
  std::snprintf(text, sizeof(text), format, value, unit);
  return text;
}

}  // namespace

void Table::Add(std::vector<std::string> cells) {
  for (std::string& cell : cells) cell = Printable(cell);
  rows_.push_back(std::move(cells));
}

std::vector<std::size_t> Table::Widths(std::size_t width) const {
  std::vector<std::size_t> widths;
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    std::size_t widest = Characters(columns_[i].title);
    for (const auto& row : rows_) widest = std::max(widest, Characters(row[i]));
    widths.push_back(widest);
  }
  if (width == 0) return widths;
  const std::size_t whole = std::accumulate(widths.begin(), widths.end(), kBetween * (widths.size() - 1));
  std::size_t over = whole > width ? whole - width : 0;
  for (std::size_t i = columns_.size(); i-- > 0 && over > 0;) {
    if (columns_[i].least == 0 || widths[i] <= columns_[i].least) continue;
    const std::size_t given = std::min(over, widths[i] - columns_[i].least);
    widths[i] -= given;
    over -= given;
  }
  return widths;
}

std::string Table::Render(std::size_t width) const {
  const std::vector<std::size_t> widths = Widths(width);
  std::string text;
  const auto line = [&](const auto& cell_of) {
    std::string one;
    for (std::size_t i = 0; i < columns_.size(); ++i) {
      const std::string cell = Cut(cell_of(i), widths[i]);
      const std::string space(widths[i] - Characters(cell), ' ');
      if (i > 0) one.append(kBetween, ' ');
      one += columns_[i].right ? space + cell : cell + space;
    }
    one.erase(one.find_last_not_of(' ') + 1);
    text += one + '\n';
  };
  line([&](std::size_t i) { return columns_[i].title; });
  for (const auto& row : rows_) line([&](std::size_t i) { return row[i]; });
  return text;
}

std::string Wrapped(std::string_view text, std::size_t width) {
  std::string out;
  std::size_t begin = 0;  // of the line
  std::istringstream words{std::string(text)};
  for (std::string word; words >> word;) {
    if (out.size() > begin) {
      const bool fits = out.size() - begin + 1 + word.size() <= width;
      out += fits ? ' ' : '\n';
      if (!fits) begin = out.size();
    }
    out += word;
  }
  return out;
}

std::string ShortCount(std::uint64_t count) {
  if (count < 1'000'000) return std::to_string(count);
  static constexpr std::pair<double, const char*> kUnits[] = {{1e6, "M"}, {1e9, "G"}, {1e12, "T"}};
  for (const auto& [size, unit] : kUnits) {
    const double value = static_cast<double>(count) / size;
    if (value < 99.95) return Format("%.1f%s", value, unit);
    if (value < 999.5) return Format("%.0f%s", value, unit);
  }
  return Format("%.0f%s", static_cast<double>(count) / 1e12, "T");
}

std::string ShortBytes(std::uint64_t bytes) {
  if (bytes < 1024) return std::to_string(bytes);
  double value = static_cast<double>(bytes);
  const char* unit = "";
  for (const char* next : {"K", "M", "G", "T"}) {
    if (value < 1023.5 && *unit != '\0') break;
    value /= 1024;
    unit = next;
  }
  return Format(value < 9.95 ? "%.1f%s" : "%.0f%s", value, unit);
}

std::string ShortTime(milliseconds time) {
  const std::int64_t ms = std::max<std::int64_t>(time.count(), 0);
  if (ms == 0) return "0";
  if (ms < 1000) return std::to_string(ms) + "ms";
  if (ms < 9'950) return Format("%.1f%s", static_cast<double>(ms) / 1000, "s");
  const std::int64_t whole_seconds = (ms + 500) / 1000, minutes = whole_seconds / 60, hours = minutes / 60,
                     days = hours / 24;
  const auto parts = [](std::int64_t large, const char* unit, std::int64_t small, const char* small_unit) {
    return std::to_string(large) + unit + (small == 0 ? "" : std::to_string(small) + small_unit);
  };
  if (whole_seconds < 60) return std::to_string(whole_seconds) + "s";
  if (minutes < 60) return parts(minutes, "m", minutes < 10 ? whole_seconds % 60 : 0, "s");
  if (hours < 24) return parts(hours, "h", minutes % 60, "m");
  return parts(days, "d", days < 10 ? hours % 24 : 0, "h");
}

std::string Took(Duration time) {
  const double ms = std::max(0.0, static_cast<double>(time.count()) / 1e6);
  if (ms < 9.995) return Format("%.2f %s", ms, "ms");
  if (ms < 999.5) return Format("%.0f %s", ms, "ms");
  return Format("%.1f %s", ms / 1000, "s");
}

}  // namespace aphlict::commands
