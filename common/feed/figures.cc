#include "common/feed/figures.h"

#include <algorithm>
#include <optional>

#include "common/json/writer.h"

namespace aphlict::feed {

namespace {

bool IsIdentifier(std::string_view text) {
  const auto is_letter = [](char c) { return c >= 'a' && c <= 'z'; };
  return !text.empty() && text.size() <= Figures::kMaxName && is_letter(text[0]) &&
         std::all_of(text.begin(), text.end(),
                     [&](char c) { return is_letter(c) || (c >= '0' && c <= '9') || c == '_' || c == '.'; });
}

std::optional<std::uint64_t> NumberOf(const json::Value& value) {
  const auto number = value.integer();
  if (!number || *number < 0) return std::nullopt;
  return static_cast<std::uint64_t>(*number);
}

bool AreNumbers(const json::Value& list) {
  return list.elements().size() <= Figures::kMaxMembers &&
         std::all_of(list.elements().begin(), list.elements().end(),
                     [](const json::Value& each) { return NumberOf(each).has_value(); });
}

// Writes the members that fit. `depth`: how many objects may be inside of each other from here on.
void WriteMembers(json::Writer& out, const json::Value& object, int depth) {
  std::size_t left = Figures::kMaxMembers;
  out.StartObject();
  for (const auto& [name, value] : object.members()) {
    if (left == 0) break;
    if (!IsIdentifier(name)) continue;
    if (const auto number = NumberOf(value)) {
      out.Field(name, *number);
    } else if (value.is_string() && IsIdentifier(value.string())) {
      out.Field(name, value.string());
    } else if (value.is_array() && AreNumbers(value)) {
      out.Key(name).StartArray();
      for (const json::Value& each : value.elements()) out.Uint(*NumberOf(each));
      out.EndArray();
    } else if (value.is_object() && depth > 1) {
      out.Key(name);
      WriteMembers(out, value, depth - 1);
    } else {
      continue;
    }
    --left;
  }
  out.EndObject();
}

}  // namespace

Figures::Sums& Figures::Sums::operator+=(const Sums& other) {
  clients_total += other.clients_total;
  messages_out += other.messages_out;
  gaps += other.gaps;
  return *this;
}

Figures::Sums& Figures::Sums::operator-=(const Sums& other) {
  clients_total -= other.clients_total;
  messages_out -= other.messages_out;
  gaps -= other.gaps;
  return *this;
}

Figures Figures::Of(const json::Value& object) {
  json::Writer out;
  WriteMembers(out, object, 2);
  Figures figures;
  if (out.text().size() > kMaxBytes) return figures;
  figures.text = out.text();
  figures.sums.clients_total = NumberOf(object["clients_total"]).value_or(0);
  figures.sums.messages_out = NumberOf(object["messages_out"]).value_or(0);
  figures.sums.gaps = NumberOf(object["gaps"]).value_or(0);
  return figures;
}

Figures Figures::Parse(std::string_view text) {
  const auto object = json::Parse(text);
  return object ? Of(*object) : Figures();
}

}  // namespace aphlict::feed
