#include "common/http/accept.h"

#include <algorithm>
#include <charconv>

namespace aphlict::http {

namespace {

// Cuts off what stands before the next `separator`.
std::string_view TakeUpTo(char separator, std::string_view* rest) {
  const std::size_t end = std::min(rest->find(separator), rest->size());
  const std::string_view part = TrimWhiteSpace(rest->substr(0, end));
  rest->remove_prefix(std::min(end + 1, rest->size()));
  return part;
}

// "0.35": 350. What is no quality is none.
int ThousandthsOf(std::string_view text) {
  double quality = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), quality);
  if (error != std::errc() || end != text.data() + text.size() || !(quality >= 0 && quality <= 1)) return 0;
  return static_cast<int>(quality * 1000 + 0.5);
}

// How closely a range describes a type: not at all, or by `*/*`, `text/*`, its name, or its name and version.
int ClosenessOf(std::string_view range, std::string_view media_type) {
  if (EqualsIgnoreCase(range, media_type)) return 3;
  if (range == "*/*") return 1;
  const std::size_t slash = media_type.find('/');
  const bool of_its_kind =
      range.ends_with("/*") && EqualsIgnoreCase(range.substr(0, range.size() - 2), media_type.substr(0, slash));
  return of_its_kind ? 2 : 0;
}

}  // namespace

Preference PreferenceFor(const Headers& headers, std::string_view media_type, std::string_view version) {
  Preference preference;
  int closest = 0;
  bool asked = false;
  for (std::size_t i = 0; i < headers.size(); ++i) {
    if (!EqualsIgnoreCase(headers[i].name, "Accept")) continue;
    asked = true;
    for (std::string_view ranges = headers[i].value; !ranges.empty();) {
      std::string_view parameters = TakeUpTo(',', &ranges);
      int closeness = ClosenessOf(TakeUpTo(';', &parameters), media_type);
      int quality = 1000;
      while (!parameters.empty()) {
        std::string_view value = TakeUpTo(';', &parameters);
        const std::string_view name = TakeUpTo('=', &value);
        if (EqualsIgnoreCase(name, "q")) quality = ThousandthsOf(value);
        if (!EqualsIgnoreCase(name, "version") || closeness == 0) continue;
        if (value.size() >= 2 && value.front() == '"' && value.back() == '"') value = value.substr(1, value.size() - 2);
        if (closeness == 3) closeness = 4;
        if (value != version) closeness = 0;
      }
      if (closeness <= closest) continue;
      closest = closeness;
      preference = {quality, closeness >= 3};
    }
  }
  if (asked && closest == 0) preference.quality = 0;
  return preference;
}

}  // namespace aphlict::http
