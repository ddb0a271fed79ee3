// Texts: what goes into requests, and what comes out as results.
#pragma once

#include <string>
#include <vector>

namespace aphlict::bench {

// As printf; at most 2047 bytes.
std::string Format(const char* format, ...) __attribute__((format(printf, 1, 2)));

// `text` with every `from` replaced.
std::string Replace(std::string text, const std::string& from, const std::string& to);

// The parts of `text` between commas.
std::vector<std::string> SplitAtCommas(const std::string& text);

// The inside of a JSON string, cut to 200 bytes; what is not plain ASCII becomes "?".
std::string Escape(const std::string& text);

// "name":{"p50":…,"p99":…,"max":…}, or "name":null without values. Sorts them.
std::string Percentiles(const char* name, std::vector<float>& values);

}  // namespace aphlict::bench
