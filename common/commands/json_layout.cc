#include "common/commands/json_layout.h"

#include <algorithm>

#include "common/json/writer.h"

namespace aphlict::commands {

namespace {

bool IsNested(const json::Value& value) { return value.is_array() || value.is_object(); }

bool IsFlat(const json::Value& value) {
  if (value.is_array()) {
    return std::none_of(value.elements().begin(), value.elements().end(), IsNested);
  }
  return std::none_of(value.members().begin(), value.members().end(),
                      [](const auto& member) { return IsNested(member.second); });
}

std::string Scalar(const json::Value& value) {
  switch (value.type()) {
    case json::Value::Type::kBool:
      return value.boolean() ? "true" : "false";
    case json::Value::Type::kNumber:
      return std::string(value.number_text());
    case json::Value::Type::kString:
      return Quoted(value.string());
    default:
      return "null";
  }
}

std::string LayoutAt(const json::Value& value, std::size_t depth) {
  if (!IsNested(value)) return Scalar(value);
  const bool list = value.is_array();
  const bool flat = IsFlat(value);
  const std::string indentation = flat ? "" : "\n" + std::string(2 * (depth + 1), ' ');
  std::string text;
  const auto add = [&](const std::string& item) {
    text += (text.empty() ? "" : flat ? ", " : ",") + indentation + item;
  };
  for (const json::Value& element : value.elements()) add(LayoutAt(element, depth + 1));
  for (const auto& [key, member] : value.members()) add(Quoted(key) + ": " + LayoutAt(member, depth + 1));
  if (!flat) text += "\n" + std::string(2 * depth, ' ');
  return (list ? "[" : "{") + text + (list ? "]" : "}");
}

}  // namespace

std::string Layout(const json::Value& value) { return LayoutAt(value, 0) + "\n"; }

std::string Quoted(std::string_view text) {
  json::Writer writer;
  writer.String(text);
  return std::string(writer.text());
}

std::string QuotedList(const std::vector<std::string>& texts) {
  std::string list;
  for (const std::string& text : texts) list += (list.empty() ? "" : ",") + Quoted(text);
  return "[" + list + "]";
}

}  // namespace aphlict::commands
