#include "common/base/log.h"

#include <fcntl.h>
#include <poll.h>
#include <spdlog/details/null_mutex.h>
#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/base_sink.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "common/base/file.h"
#include "common/base/printable.h"

namespace aphlict {

namespace {

constexpr std::size_t kMaxBuffered = 256 * 1024;
constexpr std::int64_t kLimiterSeconds = 10;
constexpr char kTextPattern[] = "time=%Y-%m-%dT%H:%M:%S.%eZ level=%l %v";
constexpr char kJsonPattern[] = R"({"time":"%Y-%m-%dT%H:%M:%S.%eZ","level":"%l",%v})";

// Exit codes of sysexits(3).
constexpr int kExSystem = 71;
constexpr int kExPermission = 77;
constexpr int kExConfig = 78;

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      break;
  }
  return spdlog::level::err;
}

// Of the lowest `digits` hexadecimal digits.
void AppendHex(std::string& out, std::uint32_t number, int digits) {
  while (digits > 0) out.push_back("0123456789abcdef"[number >> (4 * --digits) & 0xf]);
}

bool NeedsQuotes(std::string_view value) {
  if (value.empty()) return true;
  while (!value.empty()) {
    const std::size_t length = PrintableLength(value);
    if (length == 0 || value[0] == ' ' || value[0] == '"' || value[0] == '=') return true;
    value.remove_prefix(length);
  }
  return false;
}

void AppendValue(std::string& line, std::string_view value) {
  if (!NeedsQuotes(value)) {
    line.append(value);
    return;
  }
  line.push_back('"');
  while (!value.empty()) {
    std::size_t length = PrintableLength(value);
    if (value[0] == '"' || value[0] == '\\') {
      line.push_back('\\');
      line.push_back(value[0]);
    } else if (value[0] == '\n') {
      line.append("\\n");
    } else if (length == 0) {
      line.append("\\x");
      AppendHex(line, static_cast<unsigned char>(value[0]), 2);
    } else {
      line.append(value.substr(0, length));
    }
    value.remove_prefix(std::max<std::size_t>(length, 1));
  }
  line.push_back('"');
}

// A sequence of up to three bytes as \u and four digits: what may not stand in a line as it is lies below U+10000.
void AppendEscaped(std::string& line, std::string_view sequence) {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(sequence[i])); };
  std::uint32_t point = byte(0);
  if (sequence.size() == 2) point = (byte(0) & 0x1f) << 6 | (byte(1) & 0x3f);
  if (sequence.size() == 3) point = (byte(0) & 0x0f) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f);
  line.append("\\u");
  AppendHex(line, point, 4);
}

// RFC 8259 section 7. A byte that is not UTF-8 becomes U+FFFD.
void AppendJsonString(std::string& line, std::string_view value) {
  line.push_back('"');
  while (!value.empty()) {
    const std::string_view sequence = FirstSequence(value);
    if (value[0] == '"' || value[0] == '\\') {
      line.push_back('\\');
      line.push_back(value[0]);
    } else if (sequence.empty()) {
      line.append("\\ufffd");
    } else if (PrintableLength(value) == 0) {
      AppendEscaped(line, sequence);
    } else {
      line.append(sequence);
    }
    value.remove_prefix(std::max<std::size_t>(sequence.size(), 1));
  }
  line.push_back('"');
}

// What a line says besides its time and level, in one of the two formats.
class LineWriter {
 public:
  LineWriter(LogFormat format, std::string node) : json_(format == LogFormat::kJson), node_(std::move(node)) {}

  // Borrowed until the next call.
  const std::string& Write(std::string_view event, Log::Fields fields) {
    line_.clear();
    Append({"event", event});
    if (!node_.empty()) Append({"node", node_});
    for (const LogField& field : fields) Append(field);
    return line_;
  }

 private:
  void Append(const LogField& field) {
    if (!line_.empty()) line_.push_back(json_ ? ',' : ' ');
    if (json_) {
      AppendJsonString(line_, field.key);
      line_.push_back(':');
    } else {
      line_.append(field.key).push_back('=');
    }
    if (field.is_number) {
      line_.append(std::to_string(field.number));
    } else {
      json_ ? AppendJsonString(line_, field.text) : AppendValue(line_, field.text);
    }
  }

  bool json_;
  std::string node_;
  std::string line_;  // reused
};

// A place that takes bytes, as far as it does without blocking.
class Output {
 public:
  static Result<Output> OpenFile(const std::string& path);
  // The process's stderr, which other processes may share: its description, and with it its flags,
  // stays as it is.
  static Output Stderr();

  Output(Output&& other) noexcept : fd_(std::exchange(other.fd_, -1)), how_(other.how_), owned_(other.owned_) {}
  Output& operator=(Output&& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(how_, other.how_);
    std::swap(owned_, other.owned_);
    return *this;
  }
  ~Output() {
    if (owned_ && fd_ >= 0) close(fd_);
  }

  // How many bytes from the front of `bytes` were taken: 0 while it is full, or broken.
  std::size_t Write(std::string_view bytes);

 private:
  enum class How {
    kWrite,      // a regular file, or a description of our own that does not block
    kSend,       // a socket: journald's
    kPollFirst,  // one that may block
  };

  Output(int fd, How how, bool owned) : fd_(fd), how_(how), owned_(owned) {}
  ssize_t WriteOnce(std::string_view bytes);

  int fd_;
  How how_;
  bool owned_;
};

Result<Output> Output::OpenFile(const std::string& path) {
  // O_NONBLOCK is for a FIFO; files do not mind it.
  const int fd = open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0640);
  if (fd >= 0) return Output(fd, How::kWrite, true);

  int code = kExConfig;
  if (errno == EACCES || errno == EPERM) code = kExPermission;
  if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOSPC || errno == EIO) {
    code = kExSystem;
  }
  return Error{"open log " + path + ": " + std::strerror(errno), code};
}

Output Output::Stderr() {
  struct stat status;
  // Closed: the number may soon be that of something else, which must not get the lines.
  if (fstat(STDERR_FILENO, &status) != 0) return {-1, How::kWrite, false};
  if (S_ISREG(status.st_mode)) return {STDERR_FILENO, How::kWrite, false};
  if (S_ISSOCK(status.st_mode)) return {STDERR_FILENO, How::kSend, false};
  const int own = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (own >= 0) return {own, How::kWrite, true};
  return {STDERR_FILENO, How::kPollFirst, false};
}

ssize_t Output::WriteOnce(std::string_view bytes) {
  switch (how_) {
    case How::kWrite:
      return write(fd_, bytes.data(), bytes.size());
    case How::kSend:
      return send(fd_, bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    case How::kPollFirst:
      break;
  }
  // A pipe that is writable takes PIPE_BUF bytes at once (pipe(7)); of other things this is a guess.
  pollfd poll_fd{fd_, POLLOUT, 0};
  if (poll(&poll_fd, 1, 0) != 1 || (poll_fd.revents & POLLOUT) == 0) return 0;
  return write(fd_, bytes.data(), std::min<std::size_t>(bytes.size(), PIPE_BUF));
}

std::size_t Output::Write(std::string_view bytes) {
  std::size_t taken = 0;
  while (taken < bytes.size()) {
    const ssize_t result = WriteOnce(bytes.substr(taken));
    if (result < 0 && errno == EINTR) continue;
    if (result <= 0) break;
    taken += static_cast<std::size_t>(result);
  }
  return taken;
}

// Whether stderr leads to systemd's journal: JOURNAL_STREAM names its device and inode, as systemd.exec(5) has it.
bool StderrIsTheJournal() {
  const char* stream = std::getenv("JOURNAL_STREAM");
  struct stat status;
  if (stream == nullptr || fstat(STDERR_FILENO, &status) != 0) return false;
  return stream == std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino);
}

std::unique_ptr<spdlog::formatter> MakeFormatter(std::string pattern, std::string end) {
  return std::make_unique<spdlog::pattern_formatter>(std::move(pattern), spdlog::pattern_time_type::utc,
                                                     std::move(end));
}

// Lines for the journal, which has a time of its own and takes the priority from the line's beginning.
class JournalFormatter : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    out.append(std::string_view(message.level >= spdlog::level::err    ? "<3>"
                                : message.level >= spdlog::level::warn ? "<4>"
                                : message.level >= spdlog::level::info ? "<6>"
                                                                       : "<7>"));
    rest_->format(message, out);
  }
  std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<JournalFormatter>(); }

 private:
  std::unique_ptr<spdlog::formatter> rest_ = MakeFormatter("level=%l %v", "\n");
};

std::unique_ptr<spdlog::formatter> FormatterOf(LogFormat format, bool journal) {
  if (format == LogFormat::kJson) return MakeFormatter(kJsonPattern, "\n");
  if (journal) return std::make_unique<JournalFormatter>();
  return MakeFormatter(kTextPattern, "\n");
}

// Collects lines in a vector, for tests.
class TestSink : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
 public:
  explicit TestSink(std::vector<std::string>* lines) : base_sink(MakeFormatter("level=%l %v", "")), lines_(lines) {}

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    lines_->emplace_back(line.data(), line.size());
  }
  void flush_() override {}

  std::vector<std::string>* lines_;
};

}  // namespace

// Lines on their way to one output. spdlog's own sinks block, and do not open their files anew.
class Log::Sink : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
 public:
  Sink(std::string path, Output output, std::unique_ptr<spdlog::formatter> formatter, LineWriter lines)
      : base_sink(std::move(formatter)),
        path_(std::move(path)),
        output_(std::move(output)),
        own_lines_(std::move(lines)) {}

  const std::string& path() const { return path_; }  // empty: stderr
  // Whether there is nothing to flush.
  bool idle() const { return buffer_.empty() && dropped_ == 0; }

  // What the old file has not taken goes to the new one.
  Result<void> Reopen() {
    flush_();
    Result<Output> output = Output::OpenFile(path_);
    if (!output) return output.error();
    output_ = std::move(*output);
    return {};
  }

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    const std::string line = Format(message);
    if (!Fits(line.size())) WriteBuffer();
    ReportDropped();
    if (dropped_ > 0 || !Fits(line.size())) {
      ++dropped_;
    } else {
      buffer_ += line;
    }
  }

  void flush_() override {
    WriteBuffer();
    if (dropped_ == 0) return;
    ReportDropped();
    WriteBuffer();
  }

  std::string Format(const spdlog::details::log_msg& message) {
    spdlog::memory_buf_t line;
    formatter_->format(message, line);
    return {line.data(), line.size()};
  }

  bool Fits(std::size_t size) const { return buffer_.size() + size <= kMaxBuffered; }

  void WriteBuffer() { buffer_.erase(0, output_.Write(buffer_)); }

  // Says where lines are missing, in their place.
  void ReportDropped() {
    if (dropped_ == 0) return;
    const std::string line =
        Format({"", spdlog::level::warn, own_lines_.Write("log_lines_dropped", {{"count", dropped_}})});
    if (!Fits(line.size())) return;
    buffer_ += line;
    dropped_ = 0;
  }

  std::string path_;
  Output output_;
  LineWriter own_lines_;  // those that it writes of itself
  std::string buffer_;    // whole lines, but for the first, whose beginning may be written
  std::int64_t dropped_ = 0;
};

class Log::Impl {
 public:
  explicit Impl(const Options& options) : format(options.format), lines(options.format, options.node) {}

  // Those of the paths that are wanted: the present one where there is one. Errors as Log::Open().
  Result<std::vector<std::shared_ptr<Sink>>> SinksOf(const std::vector<std::string>& wanted) const {
    std::vector<std::shared_ptr<Sink>> made;
    const auto add = [&](const std::string& path, auto open) -> Result<void> {
      const auto known =
          std::find_if(sinks.begin(), sinks.end(), [&](const auto& sink) { return sink->path() == path; });
      if (known != sinks.end()) {
        made.push_back(*known);
        return {};
      }
      Result<Output> output = open();
      if (!output) return output.error();
      const bool journal = path.empty() && StderrIsTheJournal();
      made.push_back(std::make_shared<Sink>(path, std::move(*output), FormatterOf(format, journal), lines));
      return {};
    };
    for (const std::string& path : wanted) {
      const auto open = [&] {
        MakeFolderOf(path);
        return Output::OpenFile(path);
      };
      if (auto added = add(path, open); !added) return added.error();
    }
    if (wanted.empty()) {
      if (auto added = add("", [] { return Result<Output>(Output::Stderr()); }); !added) return added.error();
    }
    return made;
  }

  const LogFormat format;
  LineWriter lines;
  std::vector<std::shared_ptr<Sink>> sinks;
  std::vector<std::string> paths;
  std::unique_ptr<spdlog::logger> logger;
};

Log::Log(const Options& options) : level_(options.level), impl_(std::make_unique<Impl>(options)) {}

Log::~Log() { Flush(); }

Result<std::unique_ptr<Log>> Log::Open(const std::vector<std::string>& paths, const Options& options) {
  std::unique_ptr<Log> log(new Log(options));
  auto made = log->impl_->SinksOf(paths);
  if (!made) return made.error();
  log->impl_->sinks = std::move(*made);
  log->impl_->paths = paths;

  const auto& sinks = log->impl_->sinks;
  log->impl_->logger = std::make_unique<spdlog::logger>("", sinks.begin(), sinks.end());
  log->impl_->logger->set_level(spdlog::level::trace);  // level_ decides
  log->impl_->logger->flush_on(spdlog::level::err);
  return log;
}

std::unique_ptr<Log> Log::ForTest(std::vector<std::string>* lines) {
  std::unique_ptr<Log> log(new Log({LogLevel::kDebug, LogFormat::kText, ""}));
  log->impl_->logger = std::make_unique<spdlog::logger>("", std::make_shared<TestSink>(lines));
  log->impl_->logger->set_level(spdlog::level::trace);
  return log;
}

void Log::Write(LogLevel level, std::string_view event, Fields fields) {
  if (!enabled(level)) return;
  const std::string& line = impl_->lines.Write(event, fields);
  impl_->logger->log(ToSpdlog(level), spdlog::string_view_t(line.data(), line.size()));
}

void Log::Flush() {
  const auto& sinks = impl_->sinks;
  // As at nearly every turn's end.
  if (std::all_of(sinks.begin(), sinks.end(), [](const auto& sink) { return sink->idle(); })) return;
  impl_->logger->flush();
}

Result<void> Log::SetPaths(const std::vector<std::string>& paths) {
  if (paths == impl_->paths) return {};
  auto made = impl_->SinksOf(paths);
  if (!made) return made.error();
  Flush();
  impl_->sinks = std::move(*made);
  impl_->paths = paths;
  impl_->logger->sinks().assign(impl_->sinks.begin(), impl_->sinks.end());
  return {};
}

void Log::Reopen() {
  for (const std::shared_ptr<Sink>& sink : impl_->sinks) {
    if (sink->path().empty()) continue;
    const Result<void> reopened = sink->Reopen();
    if (!reopened) Error("log_reopen_failed", {{"error", reopened.error().text}});
  }
}

Result<LogLevel> ParseLogLevel(std::string_view name) {
  if (name == "debug") return LogLevel::kDebug;
  if (name == "info") return LogLevel::kInfo;
  if (name == "warning") return LogLevel::kWarning;
  if (name == "error") return LogLevel::kError;
  return Error{"expected debug, info, warning or error, got \"" + std::string(name) + "\""};
}

Result<LogFormat> ParseLogFormat(std::string_view name) {
  if (name == "text") return LogFormat::kText;
  if (name == "json") return LogFormat::kJson;
  return Error{"expected text or json, got \"" + std::string(name) + "\""};
}

bool LogLimiter::Allow(std::int64_t now_seconds, std::int64_t* suppressed) {
  const std::int64_t interval = now_seconds / kLimiterSeconds;
  if (interval != interval_) {
    interval_ = interval;
    written_ = 0;
  }
  if (written_ >= burst_) {
    ++suppressed_;
    return false;
  }
  ++written_;
  *suppressed = std::exchange(suppressed_, 0);
  return true;
}

}  // namespace aphlict
