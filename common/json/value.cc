#include "common/json/value.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdlib>
#include <functional>
#include <system_error>
#include <unordered_map>

#include "common/base/siphash.h"

namespace aphlict::json {

// Builds the tree from events, with a stack of its own in place of recursion.
class TreeBuilder : public Events {
 public:
  // `offset` is where Read() says how far it is in `text`. Both must outlive the builder.
  TreeBuilder(std::string_view text, const std::size_t& offset) : text_(text), offset_(offset) {}

  Value TakeRoot() { return std::move(root_); }

  bool Null() override { return Add(Value::Type::kNull, {}); }
  bool Bool(bool value) override { return Add(Value::Type::kBool, value ? "true" : "false"); }
  bool Number(std::string_view text) override { return Add(Value::Type::kNumber, text); }
  bool String(std::string_view text) override { return Add(Value::Type::kString, text); }
  bool Key(std::string_view text) override {
    open_.back().key = text;
    return true;
  }
  bool StartObject() override { return Open(Value::Type::kObject); }
  bool StartArray() override { return Open(Value::Type::kArray); }
  bool EndObject() override { return Close(); }
  bool EndArray() override { return Close(); }

 private:
  // An object or array whose end has not come.
  struct Unfinished {
    Value value;
    std::string key;  // an object's next
    // Where each key is, once there are so many that looking through them would be slow. The hash
    // is keyed, since the names may be a stranger's.
    std::unordered_map<std::string, std::size_t, KeyedHash, std::equal_to<>> places;
  };
  static constexpr std::size_t kFewMembers = 16;

  Value Make(Value::Type type) {
    line_ += static_cast<int>(std::count(text_.begin() + static_cast<std::ptrdiff_t>(counted_),
                                         text_.begin() + static_cast<std::ptrdiff_t>(offset_), '\n'));
    counted_ = offset_;
    Value value;
    value.type_ = type;
    value.line_ = line_;
    return value;
  }

  bool Add(Value::Type type, std::string_view text) {
    Value value = Make(type);
    value.text_ = text;
    Attach(std::move(value));
    return true;
  }

  bool Open(Value::Type type) {
    open_.emplace_back().value = Make(type);
    return true;
  }

  bool Close() {
    Value value = std::move(open_.back().value);
    open_.pop_back();
    Attach(std::move(value));
    return true;
  }

  void Attach(Value value) {
    if (open_.empty()) {
      root_ = std::move(value);
    } else if (open_.back().value.is_array()) {
      open_.back().value.elements_.push_back(std::move(value));
    } else {
      SetMember(open_.back(), std::move(value));
    }
  }

  static void SetMember(Unfinished& object, Value value) {
    std::vector<Value::Member>& members = object.value.members_;
    const std::size_t place = FindPlace(object);
    if (place < members.size()) {
      members[place].second = std::move(value);
      return;
    }
    members.emplace_back(std::move(object.key), std::move(value));
    if (members.size() == kFewMembers) {
      for (std::size_t i = 0; i < members.size(); ++i) object.places.emplace(members[i].first, i);
    } else if (members.size() > kFewMembers) {
      object.places.emplace(members.back().first, place);
    }
  }

  // Where the member of the object's next key is, or would be added.
  static std::size_t FindPlace(const Unfinished& object) {
    const std::vector<Value::Member>& members = object.value.members_;
    if (members.size() >= kFewMembers) {
      const auto found = object.places.find(object.key);
      return found == object.places.end() ? members.size() : found->second;
    }
    std::size_t place = 0;
    while (place < members.size() && members[place].first != object.key) ++place;
    return place;
  }

  const std::string_view text_;
  const std::size_t& offset_;
  std::size_t counted_ = 0;  // the line feeds before it are in line_
  int line_ = 1;
  std::vector<Unfinished> open_;
  Value root_;
};

namespace {

// "line 3, column 5", both from 1, columns in characters.
std::string LineAndColumn(std::string_view text, std::size_t offset) {
  const std::string_view before = text.substr(0, offset);
  const std::size_t line_start = before.rfind('\n') + 1;  // npos + 1 is 0
  const std::string_view in_line = before.substr(line_start);
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const auto column = 1 + std::count_if(in_line.begin(), in_line.end(), [](char c) { return (c & 0xc0) != 0x80; });
  return "line " + std::to_string(line) + ", column " + std::to_string(column);
}

}  // namespace

std::string_view Value::type_name() const {
  switch (type_) {
    case Type::kNull:
      return "null";
    case Type::kBool:
      return "a boolean";
    case Type::kNumber:
      return "a number";
    case Type::kString:
      return "a string";
    case Type::kArray:
      return "a list";
    case Type::kObject:
      return "an object";
  }
  return "";
}

const std::string& Value::string() const {
  static const std::string kEmpty;
  return is_string() ? text_ : kEmpty;
}

std::string_view Value::number_text() const { return is_number() ? text_ : std::string_view(); }

std::optional<std::int64_t> Value::integer() const {
  if (!is_number()) return std::nullopt;
  std::int64_t value = 0;
  const char* end = text_.data() + text_.size();
  const auto [stopped, error] = std::from_chars(text_.data(), end, value);
  if (error != std::errc() || stopped != end) return std::nullopt;
  return value;
}

std::optional<double> Value::real() const {
  if (!is_number()) return std::nullopt;
  double value = 0;
  const auto result = std::from_chars(text_.data(), text_.data() + text_.size(), value);
  // from_chars does not say on which side it is out of range. strtod does: infinite, or about zero.
  if (result.ec == std::errc::result_out_of_range) return std::strtod(text_.c_str(), nullptr);
  return value;
}

const Value& Value::operator[](std::string_view key) const {
  static const Value kNull;
  for (const Member& member : members_) {
    if (member.first == key) return member.second;
  }
  return kNull;
}

bool Value::has(std::string_view key) const {
  return std::any_of(members_.begin(), members_.end(), [key](const Member& member) { return member.first == key; });
}

Result<Value> Parse(std::string_view text, const ReadOptions& options) {
  std::size_t offset = 0;
  ReadOptions with_offset = options;
  with_offset.offset = &offset;
  TreeBuilder builder(text, offset);
  const Result<void> read = Read(text, builder, with_offset);
  if (read) return builder.TakeRoot();

  Error error = read.error();
  const std::string what = error.text.substr(error.text.find(": "));
  error.text = LineAndColumn(text, static_cast<std::size_t>(error.code)) + what;
  return error;
}

}  // namespace aphlict::json
