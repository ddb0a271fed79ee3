#include "master/publish.h"

#include <cstddef>
#include <utility>

#include "common/json/reader.h"

namespace aphlict::master {

namespace {

constexpr std::size_t kUsualSubscribers = 512;  // bytes: a dozen PHIDs, each 30 and its size

// Looks at the members of the outermost object, and passes over all that is deeper.
class PublishReader : public json::Events {
 public:
  explicit PublishReader(std::size_t most_subscribers) : most_subscribers_(most_subscribers) {}

  bool Null() override { return Misfit("null"); }
  bool Bool(bool) override { return Misfit("a boolean"); }
  bool Number(std::string_view) override { return Misfit("a number"); }

  bool String(std::string_view text) override {
    if (depth_ == 2 && in_subscribers_) {
      publish_.subscribers.Add(text);
      if (publish_.subscribers.size() > most_subscribers_) {
        too_many_ = true;
        return false;
      }
      return true;
    }
    if (depth_ == 1 && key_ == Member::kUniqueId) publish_.unique_id = text;
    return Misfit("a string");
  }

  bool Key(std::string_view text) override {
    if (depth_ != 1) return true;
    key_ = text == "subscribers" ? Member::kSubscribers : text == "uniqueID" ? Member::kUniqueId : Member::kOther;
    if (key_ == Member::kSubscribers) {
      publish_.subscribers.Clear();
      problem_.clear();
    }
    if (key_ == Member::kUniqueId) publish_.unique_id.clear();
    return true;
  }

  bool StartObject() override {
    if (depth_ == 0) is_object_ = true;
    Misfit("an object");
    ++depth_;
    return true;
  }
  bool EndObject() override { return End(); }

  bool StartArray() override {
    if (depth_ == 1 && key_ == Member::kSubscribers) {
      in_subscribers_ = has_subscribers_ = true;
      publish_.subscribers.Reserve(kUsualSubscribers);
    } else {
      Misfit("a list");
    }
    ++depth_;
    return true;
  }
  bool EndArray() override { return End(); }

  // Whether reading was stopped for the number of subscribers.
  bool too_many() const { return too_many_; }

  Result<Publish> Finish() {
    if (!is_object_) return Error{"expected a JSON object", 400};
    if (!problem_.empty()) return Error{problem_, 400};
    if (!has_subscribers_) return Error{"`subscribers` is missing", 400};
    return std::move(publish_);
  }

 private:
  enum class Member { kOther, kSubscribers, kUniqueId };

  // A value that is neither a list of subscribers nor a string in it: a problem where those are expected.
  bool Misfit(const char* type) {
    if (depth_ == 2 && in_subscribers_) {
      problem_ = std::string("`subscribers` must hold strings only, and holds ") + type;
    } else if (depth_ == 1 && key_ == Member::kSubscribers) {
      problem_ = std::string("`subscribers` must be a list, and is ") + type;
    }
    return true;
  }
  bool End() {
    if (--depth_ == 1) in_subscribers_ = false;
    return true;
  }

  std::size_t most_subscribers_;
  Publish publish_;
  std::string problem_;
  Member key_ = Member::kOther;
  int depth_ = 0;
  bool is_object_ = false;
  bool in_subscribers_ = false;
  bool has_subscribers_ = false;
  bool too_many_ = false;
};

}  // namespace

Result<Publish> ParsePublish(std::string_view body, const PublishLimits& limits) {
  PublishReader reader(limits.subscribers);
  const auto read = json::Read(body, reader, {.max_depth = limits.json_depth, .comments = false});
  if (reader.too_many()) {
    return Error{"more than " + std::to_string(limits.subscribers) + " subscribers", 400};
  }
  if (!read) return Error{"the body is not JSON: " + read.error().text, 400};
  return reader.Finish();
}

}  // namespace aphlict::master
