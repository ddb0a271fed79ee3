#include "common/feed/control.h"

#include "common/json/writer.h"

namespace aphlict::feed {

namespace {

// Reads the members of one object, and remembers the first that does not fit.
class Fields {
 public:
  explicit Fields(const json::Value& object) : object_(object) {}

  std::string Text(std::string_view key) {
    Expect(object_[key].is_string(), key, "a string");
    return object_[key].string();
  }
  bool Flag(std::string_view key) {
    Expect(object_[key].is_bool(), key, "a boolean");
    return object_[key].boolean();
  }
  std::int64_t Integer(std::string_view key) {
    Expect(object_[key].integer().has_value(), key, "a whole number");
    return object_[key].integer().value_or(0);
  }
  history::Sequence Sequence(std::string_view key) {
    const std::int64_t value = Integer(key);
    Expect(value >= 0, key, "not negative");
    return static_cast<history::Sequence>(value);
  }
  ClockReading Clock(std::string_view key) {
    const std::int64_t value = Integer(key);
    Expect(IsClockReading(value), key, "a clock's reading");
    return value;
  }
  history::Epoch Epoch(std::string_view key) {
    Expect(object_[key].string().size() == history::kEpochLength, key, "an epoch");
    return object_[key].string();
  }
  std::vector<std::string> Texts(std::string_view key) {
    std::vector<std::string> texts;
    Expect(object_[key].is_array(), key, "a list of strings");
    for (const json::Value& element : object_[key].elements()) {
      Expect(element.is_string(), key, "a list of strings");
      texts.push_back(element.string());
    }
    return texts;
  }
  history::Cursor Cursor(std::string_view key) {
    history::Cursor cursor;
    Expect(object_[key].is_object(), key, "an object");
    for (const auto& [epoch, value] : object_[key].members()) {
      Expect(epoch.size() == history::kEpochLength && value.integer().value_or(-1) >= 0, key, "sequences by epoch");
      cursor[epoch] = static_cast<history::Sequence>(value.integer().value_or(0));
    }
    return cursor;
  }
  void Expect(bool fits, std::string_view key, std::string_view what) {
    if (!fits && problem_.empty()) problem_ = "`" + std::string(key) + "` is not " + std::string(what);
  }

  template <class Message>
  Result<Control> Finish(Message message) {
    if (!problem_.empty()) return Error{problem_};
    return Control(std::move(message));
  }

 private:
  const json::Value& object_;
  std::string problem_;
};

void Write(json::Writer& out, std::string_view key, const history::Cursor& cursor) {
  out.Key(key).StartObject();
  for (const auto& [epoch, sequence] : cursor) out.Field(epoch, sequence);
  out.EndObject();
}

void Write(json::Writer& out, std::string_view key, const std::vector<std::string>& texts) {
  out.Key(key).StartArray();
  for (const auto& text : texts) out.String(text);
  out.EndArray();
}

Result<Control> ParseHello(const json::Value& object) {
  Fields fields(object);
  Hello hello;
  hello.node = fields.Text("node");
  hello.name = fields.Text("name");
  hello.version = fields.Text("version");
  hello.url = fields.Text("url");
  hello.resumes = fields.Flag("resumes");
  hello.cursor = fields.Cursor("cursor");
  if (!object["instances"].is_null()) hello.instances = fields.Texts("instances");
  return fields.Finish(std::move(hello));
}

Result<Control> ParseWelcome(const json::Value& object) {
  Fields fields(object);
  Welcome welcome;
  welcome.node = fields.Text("node");
  welcome.name = fields.Text("name");
  welcome.version = fields.Text("version");
  welcome.above = fields.Texts("above");
  welcome.clock = fields.Clock("clock");
  fields.Expect(object["epochs"].is_object(), "epochs", "an object");
  for (const auto& [epoch, value] : object["epochs"].members()) {
    Fields range(value);
    fields.Expect(epoch.size() == history::kEpochLength && value["floor"].integer().value_or(0) >= 1 &&
                      value["newest"].integer().value_or(-1) >= 0,
                  "epochs", "floor and newest by epoch");
    welcome.epochs[epoch] = {range.Sequence("floor"), range.Sequence("newest")};
  }
  return fields.Finish(std::move(welcome));
}

Result<Control> ParseHeartbeat(const json::Value& object) {
  Fields fields(object);
  Heartbeat heartbeat;
  heartbeat.clock = fields.Clock("clock");
  heartbeat.cursor = fields.Cursor("cursor");
  heartbeat.live = fields.Flag("live");
  return fields.Finish(std::move(heartbeat));
}

Result<Control> ParseGap(const json::Value& object) {
  Fields fields(object);
  history::Gap gap;
  gap.epoch = fields.Epoch("epoch");
  gap.from = fields.Sequence("from");
  gap.to = fields.Sequence("to");
  fields.Expect(gap.from >= 1 && gap.to >= gap.from, "to", "at or after `from`");
  return fields.Finish(std::move(gap));
}

Result<Control> ParseAbove(const json::Value& object) {
  Fields fields(object);
  Above above{fields.Texts("nodes")};
  fields.Expect(above.nodes.size() <= kMaxAbove, "nodes", "a list of at most 4096");
  return fields.Finish(std::move(above));
}

}  // namespace

ClockReading ReadClock(Time now) { return std::chrono::floor<microseconds>(now.time_since_epoch()).count(); }

Time FromClock(ClockReading reading) { return Time(microseconds(reading)); }

Result<Control> ParseControl(std::string_view text) {
  auto object = json::Parse(text);
  if (!object) return object.error();
  const std::string& type = (*object)["type"].string();
  if (type == "hello") return ParseHello(*object);
  if (type == "welcome") return ParseWelcome(*object);
  if (type == "heartbeat") return ParseHeartbeat(*object);
  if (type == "gap") return ParseGap(*object);
  if (type == "above") return ParseAbove(*object);
  if (type == "drain") return Control(Drain{});
  if (type == "status") return Control(Status{std::move(*object)});
  return Error{"a control message of no known type"};
}

std::string Encode(const Hello& hello) {
  json::Writer out;
  out.StartObject().Field("type", "hello").Field("node", hello.node).Field("name", hello.name);
  out.Field("version", hello.version).Field("url", hello.url).Field("resumes", hello.resumes);
  Write(out, "cursor", hello.cursor);
  if (hello.instances) Write(out, "instances", *hello.instances);
  out.EndObject();
  return std::string(out.text());
}

std::string Encode(const Welcome& welcome) {
  json::Writer out;
  out.StartObject().Field("type", "welcome").Field("node", welcome.node).Field("name", welcome.name);
  out.Field("version", welcome.version).Field("clock", welcome.clock);
  Write(out, "above", welcome.above);
  out.Key("epochs").StartObject();
  for (const auto& [epoch, range] : welcome.epochs) {
    out.Key(epoch).StartObject().Field("floor", range.floor).Field("newest", range.newest).EndObject();
  }
  out.EndObject().EndObject();
  return std::string(out.text());
}

std::string Encode(const Heartbeat& heartbeat) {
  json::Writer out;
  out.StartObject().Field("type", "heartbeat").Field("clock", heartbeat.clock).Field("live", heartbeat.live);
  Write(out, "cursor", heartbeat.cursor);
  out.EndObject();
  return std::string(out.text());
}

std::string Encode(const history::Gap& gap) {
  json::Writer out;
  out.StartObject().Field("type", "gap").Field("epoch", gap.epoch);
  out.Field("from", gap.from).Field("to", gap.to).EndObject();
  return std::string(out.text());
}

std::string Encode(const Drain&) {
  json::Writer out;
  out.StartObject().Field("type", "drain").EndObject();
  return std::string(out.text());
}

std::string Encode(const Above& above) {
  json::Writer out;
  out.StartObject().Field("type", "above");
  Write(out, "nodes", above.nodes);
  out.EndObject();
  return std::string(out.text());
}

}  // namespace aphlict::feed
