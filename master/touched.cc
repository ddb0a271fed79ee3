#include "master/touched.h"

#include <algorithm>

#include "common/json/reader.h"
#include "common/json/writer.h"

namespace aphlict::master {

namespace {

constexpr std::string_view kKey = "touched";

class TouchedReader : public json::Events {
 public:
  // `offset` is where json::Read() tells its place.
  explicit TouchedReader(std::string_view body, const std::size_t& offset) : body_(body), offset_(offset) {}

  bool Null() override { return Scalar(); }
  bool Bool(bool) override { return Scalar(); }
  bool Number(std::string_view) override { return Scalar(); }
  bool String(std::string_view text) override {
    if (in_list_ && depth_ == 2) {
      touched_.nodes.emplace_back(text);
      empty_ = false;
      return true;
    }
    return Scalar();
  }

  bool Key(std::string_view text) override {
    if (depth_ != 1) return true;
    is_key_ = text == kKey;
    if (is_key_) {
      touched_ = {};
      value_begin_ = body_.find_first_not_of(" \t\r\n", body_.find(':', offset_) + 1);
    }
    return true;
  }

  bool StartObject() override {
    if (depth_ == 0) {
      touched_.begin = touched_.end = offset_ + 1;
      touched_.before = "\"touched\":[";
      touched_.after = "],";  // the object has members
    }
    return Start();
  }
  bool EndObject() override { return End(); }

  bool StartArray() override {
    if (depth_ == 1 && is_key_) {
      in_list_ = empty_ = true;
    }
    return Start();
  }
  bool EndArray() override {
    if (in_list_ && depth_ == 2) {
      touched_.begin = touched_.end = offset_;
      touched_.before = empty_ ? "" : ",";
      touched_.after = "";
      in_list_ = is_key_ = false;
    }
    return End();
  }

  Touched Take() { return std::move(touched_); }

 private:
  bool Start() {
    if (in_list_ && depth_ == 2) empty_ = false;
    ++depth_;
    return true;
  }
  bool End() {
    --depth_;
    if (depth_ == 1 && is_key_) Replace(offset_ + 1);  // an object in its place
    return true;
  }
  bool Scalar() {
    if (in_list_ && depth_ == 2) empty_ = false;
    if (depth_ == 1 && is_key_) Replace(EndOfScalar());
    return true;
  }
  // Of the value that begins at `value_begin_`. It is well-formed: json::Read() has read it.
  std::size_t EndOfScalar() const {
    std::size_t at = value_begin_;
    if (body_[at] != '"') return std::min(body_.find_first_of(" \t\r\n,}", at), body_.size());
    for (++at; body_[at] != '"'; ++at) at += body_[at] == '\\';
    return at + 1;
  }
  // The value up to `end` is no list.
  void Replace(std::size_t end) {
    touched_.begin = value_begin_;
    touched_.end = end;
    touched_.before = "[";
    touched_.after = "]";
    is_key_ = false;
  }

  std::string_view body_;
  const std::size_t& offset_;
  Touched touched_;
  std::size_t value_begin_ = 0;
  int depth_ = 0;
  bool is_key_ = false;   // the value that comes next is that of the key
  bool in_list_ = false;  // of the key
  bool empty_ = true;     // so far the list is
};

}  // namespace

bool Touched::Has(std::string_view node) const { return std::find(nodes.begin(), nodes.end(), node) != nodes.end(); }

std::string Touched::Insertion(const std::vector<std::string>& more) const {
  json::Writer list;
  list.StartArray();
  for (const std::string& node : more) list.String(node);
  list.EndArray();
  const std::string_view text = list.text();
  return before + std::string(text.substr(1, text.size() - 2)) + after;
}

Touched FindTouched(std::string_view body, int depth) {
  std::size_t offset = 0;
  TouchedReader reader(body, offset);
  (void)json::Read(body, reader, {.max_depth = depth, .comments = false, .offset = &offset});
  return reader.Take();
}

}  // namespace aphlict::master
