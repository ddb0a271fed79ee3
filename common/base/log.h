// Log lines: one for each event, as key=value or JSON, on stderr or in files. Writing never blocks: what a full sink
// does not take is kept up to a bound, then dropped and counted.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"

namespace aphlict {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

// "debug", "info", "warning" or "error".
Result<LogLevel> ParseLogLevel(std::string_view name);

enum class LogFormat {
  kText,  // time=… level=… event=… node=…, and the event's own fields
  kJson,  // an object a line, with the same keys
};

// "text" or "json".
Result<LogFormat> ParseLogFormat(std::string_view name);

// One field of a line. Values are quoted and escaped where they need it, so that nothing a stranger sends can forge a
// line. Views are borrowed for the call.
struct LogField {
  LogField(std::string_view k, std::string_view v) : key(k), text(v) {}
  LogField(std::string_view k, const char* v) : key(k), text(v) {}
  LogField(std::string_view k, const std::string& v) : key(k), text(v) {}
  template <std::integral T>
  LogField(std::string_view k, T v) : key(k), number(static_cast<std::int64_t>(v)), is_number(true) {}

  std::string_view key;
  std::string_view text;
  std::int64_t number = 0;
  bool is_number = false;
};

class Log {
 public:
  using Fields = std::initializer_list<LogField>;

  struct Options {
    LogLevel level = LogLevel::kInfo;
    LogFormat format = LogFormat::kText;
    std::string node;  // named in each line; empty: left out
  };

  // Writes to each of `paths` (appending; folders that are missing are made), or to stderr where there are none. Where
  // stderr is the journal's (JOURNAL_STREAM of systemd.exec(5)), lines of text begin with their priority as
  // sd-daemon(3) has it, and leave the time to the journal. REQUIRES: SIGPIPE is ignored. Errors: a path that cannot be
  // opened; code is an exit code of sysexits(3).
  static Result<std::unique_ptr<Log>> Open(const std::vector<std::string>& paths, const Options& options);
  // Collects lines in `*lines` instead, without their time, for tests. `lines` must outlive the log.
  static std::unique_ptr<Log> ForTest(std::vector<std::string>* lines);
  ~Log();

  bool enabled(LogLevel level) const { return level >= level_; }
  void set_level(LogLevel level) { level_ = level; }

  // `event` is a word with underscores, such as `client_closed`.
  void Write(LogLevel level, std::string_view event, Fields fields);
  void Debug(std::string_view event, Fields fields = {}) { Write(LogLevel::kDebug, event, fields); }
  void Info(std::string_view event, Fields fields = {}) { Write(LogLevel::kInfo, event, fields); }
  void Warning(std::string_view event, Fields fields = {}) { Write(LogLevel::kWarning, event, fields); }
  void Error(std::string_view event, Fields fields = {}) { Write(LogLevel::kError, event, fields); }

  // Hands what has collected to the sinks, as far as they take it without blocking. Call once a loop turn.
  void Flush();
  // Writes to others from now on, as Open() does; what stays is not opened anew. Errors as Open(), and nothing has
  // changed.
  Result<void> SetPaths(const std::vector<std::string>& paths);
  // Opens the files anew, after they were moved away. One that fails keeps its old file; this is logged.
  void Reopen();

 private:
  class Sink;
  class Impl;
  explicit Log(const Options& options);

  LogLevel level_;
  std::unique_ptr<Impl> impl_;
};

// Lets the first `burst` events of each 10 seconds through, and counts the rest, which the next line reports:
// what a stranger can cause again and again must not fill a disk.
class LogLimiter {
 public:
  explicit LogLimiter(int burst = 10) : burst_(burst) {}
  // Whether to write now; `*suppressed` is how many were left out since the last that was written.
  // `now_seconds` is any monotonic count of seconds.
  bool Allow(std::int64_t now_seconds, std::int64_t* suppressed);

 private:
  int burst_;
  std::int64_t interval_ = -1;
  int written_ = 0;
  std::int64_t suppressed_ = 0;
};

}  // namespace aphlict
