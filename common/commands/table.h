// Tables for people: columns as wide as what is in them, within a width.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/time.h"

namespace aphlict::commands {

class Table {
 public:
  struct Column {
    std::string title;
    bool right = false;     // numbers stand at the right
    std::size_t least = 0;  // to how many characters its cells may be cut where the width is short; 0: they are not
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}

  // REQUIRES: as many cells as there are columns. They are made Printable().
  void Add(std::vector<std::string> cells);

  // A line for the titles and one for each row. Columns that may be cut give way from the last one on until a line has
  // at most `width` characters, or no more can be cut. 0: as wide as it is.
  std::string Render(std::size_t width) const;

 private:
  std::vector<std::size_t> Widths(std::size_t width) const;

  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// Words, with line breaks in place of spaces so that a line has at most `width` bytes where its words allow that.
std::string Wrapped(std::string_view text, std::size_t width);

// "0", "999", "12345", "1.2M": at most six characters.
std::string ShortCount(std::uint64_t count);
// "0", "512", "1.5K", "23M", "4.0G": of 1024.
std::string ShortBytes(std::uint64_t bytes);
// "0", "35ms", "4.2s", "17s", "5m", "3h12m", "9d": the two largest parts that matter.
std::string ShortTime(milliseconds time);
// How long something took: "0.42 ms", "12 ms", "1.3 s".
std::string Took(Duration time);

}  // namespace aphlict::commands
