#include "common/base/log.h"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

namespace aphlict {
namespace {

// The line that one field makes, without `level=info event=e `.
std::string Line(const LogField& field) {
  std::vector<std::string> lines;
  Log::ForTest(&lines)->Info("e", {field});
  REQUIRE(lines.size() == 1);
  const std::string start = "level=info event=e ";
  REQUIRE(lines[0].starts_with(start));
  return lines[0].substr(start.size());
}

class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "log_test.XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~Folder() { std::filesystem::remove_all(path_); }

  std::string File(const char* name) const { return (path_ / name).string(); }
  std::string Contents(const char* name) const {
    std::ostringstream text;
    text << std::ifstream(path_ / name).rdbuf();
    return text.str();
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

std::unique_ptr<Log> OpenLog(const std::vector<std::string>& paths, const Log::Options& options = {}) {
  Result<std::unique_ptr<Log>> log = Log::Open(paths, options);
  REQUIRE(log);
  return std::move(*log);
}

// Puts a pipe or a socket, with little room, in the place of stderr. What is written there comes
// back by Read().
class FakeStderr {
 public:
  enum class Kind { kPipe, kSocket };

  explicit FakeStderr(Kind kind) : saved_(dup(STDERR_FILENO)) {
    std::signal(SIGPIPE, SIG_IGN);
    std::array<int, 2> ends;
    if (kind == Kind::kPipe) {
      REQUIRE(pipe(ends.data()) == 0);
      REQUIRE(fcntl(ends[1], F_SETPIPE_SZ, 4096) >= 0);
    } else {
      REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()) == 0);
      const int size = 4096;
      setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    }
    reader_ = ends[0];
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    flags_ = fcntl(STDERR_FILENO, F_GETFL);
  }
  ~FakeStderr() {
    CHECK(fcntl(STDERR_FILENO, F_GETFL) == flags_);
    dup2(saved_, STDERR_FILENO);
    close(saved_);
    CloseReader();
  }

  void CloseReader() {
    if (reader_ >= 0) close(std::exchange(reader_, -1));
  }

  // What has come so far.
  std::string Read() {
    std::string text;
    pollfd readable{reader_, POLLIN, 0};
    std::array<char, 4096> buffer;
    while (poll(&readable, 1, 0) == 1) {
      const ssize_t size = read(reader_, buffer.data(), buffer.size());
      if (size <= 0) break;
      text.append(buffer.data(), static_cast<std::size_t>(size));
    }
    return text;
  }

  // Reads while the log has more.
  std::string ReadAll(Log& log) {
    std::string text;
    for (std::string more = Read(); !more.empty(); more = Read()) {
      text += more;
      log.Flush();
    }
    return text;
  }

 private:
  int saved_;
  int reader_ = -1;
  int flags_ = 0;
};

// The text of line `n`: of various lengths, some shorter than the line that counts those missing.
std::string Text(std::int64_t n) { return std::string(static_cast<std::size_t>(n * 37 % 200), 'x') + "."; }

// Checks lines `event=line n=…` that are numbered from 0 and, where some are missing, replaced by
// their count. Returns how many there were, with those missing, and adds these up in `*missing`.
std::int64_t CountLines(const std::string& text, std::int64_t* missing) {
  const std::string line_form = " level=info event=line n=";
  const std::string missing_form = " level=warning event=log_lines_dropped count=";
  std::istringstream lines(text);
  std::int64_t count = 0;
  for (std::string line; std::getline(lines, line);) {
    CAPTURE(line);
    REQUIRE(line.starts_with("time="));
    const std::string rest = line.substr(line.find(' '));
    if (rest.starts_with(missing_form)) {
      const std::int64_t dropped = std::stoll(rest.substr(missing_form.size()));
      count += dropped;
      *missing += dropped;
    } else {
      REQUIRE(rest == line_form + std::to_string(count) + " text=" + Text(count));
      ++count;
    }
  }
  return count;
}

// A line of JSON without its time.
std::string JsonLine(const LogField& field) {
  Folder folder;
  OpenLog({folder.File("log")}, {LogLevel::kInfo, LogFormat::kJson, ""})->Info("e", {field});
  const std::string line = folder.Contents("log");
  const std::string start = R"("level":"info","event":"e",)";
  REQUIRE(line.find(start) != std::string::npos);
  REQUIRE(line.ends_with("}\n"));
  return line.substr(line.find(start) + start.size(), line.size() - line.find(start) - start.size() - 2);
}

// Whether `text` looks like `form`, in which 0 stands for any digit.
bool Matches(std::string_view text, std::string_view form) {
  return std::equal(text.begin(), text.end(), form.begin(), form.end(),
                    [](char a, char b) { return b == '0' ? a >= '0' && a <= '9' : a == b; });
}

TEST_CASE("a line is its time in UTC, its level, its event and its fields") {
  Folder folder;
  OpenLog({folder.File("log")})->Info("listening", {{"type", "client"}, {"address", "127.0.0.1:41231"}});
  CHECK(Matches(folder.Contents("log"),
                "time=0000-00-00T00:00:00.000Z level=info event=listening type=client "
                "address=000.0.0.0:00000\n"));
}

TEST_CASE("a line names its node") {
  Folder folder;
  OpenLog({folder.File("log")}, {LogLevel::kInfo, LogFormat::kText, "relay 1"})->Info("gone", {{"n", 1}});
  CHECK(folder.Contents("log").ends_with(" level=info event=gone node=\"relay 1\" n=1\n"));
}

TEST_CASE("a line of JSON has the same fields") {
  Folder folder;
  OpenLog({folder.File("log")}, {LogLevel::kInfo, LogFormat::kJson, "relay 1"})
      ->Warning("client_cut", {{"client", 17}, {"reason", "it said \"no\""}});
  CHECK(Matches(folder.Contents("log"), R"({"time":"0000-00-00T00:00:00.000Z","level":"warning","event":"client_cut",)"
                                        R"("node":"relay 0","client":00,"reason":"it said \"no\""})"
                                        "\n"));
}

TEST_CASE("what may not stand in a line is escaped in JSON, too") {
  CHECK(JsonLine({"k", "a\\b"}) == R"("k":"a\\b")");
  CHECK(JsonLine({"k", "\n\x1b\x7f"}) == R"("k":"\u000a\u001b\u007f")");
  CHECK(JsonLine({"k", std::string("\0", 1)}) == R"("k":"\u0000")");
  CHECK(JsonLine({"k", "\u009b\u2028\u061c\u2066"}) == R"("k":"\u009b\u2028\u061c\u2066")");
  CHECK(JsonLine({"k", "\u20ac\U0001f600"}) == "\"k\":\"\u20ac\U0001f600\"");
  CHECK(JsonLine({"k", "a\xff\xe2\x82"}) == R"("k":"a\ufffd\ufffd\ufffd")");
  CHECK(JsonLine({"k", ""}) == R"("k":"")");
}

TEST_CASE("names of formats are read") {
  CHECK(*ParseLogFormat("text") == LogFormat::kText);
  CHECK(*ParseLogFormat("json") == LogFormat::kJson);
  CHECK(ParseLogFormat("xml").error().text == "expected text or json, got \"xml\"");
}

// sd-daemon(3): a priority before each line; the journal has the time.
TEST_CASE("the journal is told a line's priority, and keeps the time itself") {
  FakeStderr fake(FakeStderr::Kind::kSocket);
  struct stat status;
  REQUIRE(fstat(STDERR_FILENO, &status) == 0);
  std::string stream = std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino);
  std::string expected =
      "<7>level=debug event=a\n<6>level=info event=b\n<4>level=warning event=c\n<3>level=error event=d\n";
  LogFormat format = LogFormat::kText;
  SUBCASE("") {}
  SUBCASE("but not another's journal, as that of a shell which leads stderr elsewhere") {
    stream += "1";
    expected = "time=";
  }
  SUBCASE("but not in JSON") {
    format = LogFormat::kJson;
    expected = "{\"time\":";
  }
  setenv("JOURNAL_STREAM", stream.c_str(), 1);
  auto log = OpenLog({}, {LogLevel::kDebug, format, ""});
  unsetenv("JOURNAL_STREAM");
  log->Debug("a");
  log->Info("b");
  log->Warning("c");
  log->Error("d");
  CHECK(fake.ReadAll(*log).starts_with(expected));
}

TEST_CASE("numbers are written as they are") {
  CHECK(Line({"n", 42}) == "n=42");
  CHECK(Line({"n", -1}) == "n=-1");
  CHECK(Line({"n", std::uint16_t{65535}}) == "n=65535");
}

TEST_CASE("a value is quoted where it could be taken for something else") {
  CHECK(Line({"k", "plain/value:1[a]\\"}) == "k=plain/value:1[a]\\");
  CHECK(Line({"k", "\u20ac"}) == "k=\u20ac");
  CHECK(Line({"k", ""}) == "k=\"\"");
  CHECK(Line({"k", "a b"}) == "k=\"a b\"");
  CHECK(Line({"k", "a=b"}) == "k=\"a=b\"");
  CHECK(Line({"k", "say \"a\\b\""}) == "k=\"say \\\"a\\\\b\\\"\"");
}

TEST_CASE("a value cannot forge a line or reach a terminal") {
  CHECK(Line({"k", "a\nlevel=info"}) == "k=\"a\\nlevel=info\"");
  CHECK(Line({"k", "\x1b[31m\r\t\x7f"}) == "k=\"\\x1b[31m\\x0d\\x09\\x7f\"");
  CHECK(Line({"k", std::string("\0", 1)}) == "k=\"\\x00\"");
  CHECK(Line({"k",
              "\u009b"
              "31m"}) == "k=\"\\xc2\\x9b31m\"");
  CHECK(Line({"k", "\u00a0\u20ac\U0001f600"}) == "k=\u00a0\u20ac\U0001f600");

  SUBCASE("with what ends lines beyond ASCII, or turns their direction") {
    CHECK(Line({"k", "a\u2028b\u2029"}) == "k=\"a\\xe2\\x80\\xa8b\\xe2\\x80\\xa9\"");
    CHECK(Line({"k", "\u0085"}) == "k=\"\\xc2\\x85\"");
    CHECK(Line({"k", "\u202e"}) == "k=\"\\xe2\\x80\\xae\"");
    CHECK(Line({"k", "\u2066"}) == "k=\"\\xe2\\x81\\xa6\"");
    CHECK(Line({"k", "\u061c"}) == "k=\"\\xd8\\x9c\"");
    CHECK(Line({"k", "\u2027\u202f\u2065\u206a"}) == "k=\u2027\u202f\u2065\u206a");
  }
  SUBCASE("with malformed UTF-8") {
    CHECK(Line({"k", "a\xff\u20ac"}) == "k=\"a\\xff\u20ac\"");
    CHECK(Line({"k", "\xe2\x82"}) == "k=\"\\xe2\\x82\"");
    CHECK(Line({"k", "\xc2"}) == "k=\"\\xc2\"");
    CHECK(Line({"k", "\xed\xa0\x80"}) == "k=\"\\xed\\xa0\\x80\"");
    CHECK(Line({"k", "\xf0\x9f\x98x"}) == "k=\"\\xf0\\x9f\\x98x\"");
  }
}

TEST_CASE("lines below the level are left out") {
  std::vector<std::string> lines;
  auto log = Log::ForTest(&lines);
  log->set_level(LogLevel::kWarning);
  CHECK_FALSE(log->enabled(LogLevel::kInfo));
  log->Debug("a");
  log->Info("b");
  log->Warning("c");
  log->Error("d");
  CHECK(lines == std::vector<std::string>{"level=warning event=c", "level=error event=d"});
  log->set_level(LogLevel::kDebug);
  log->Debug("e");
  CHECK(lines.back() == "level=debug event=e");
}

TEST_CASE("names of levels are read") {
  CHECK(*ParseLogLevel("debug") == LogLevel::kDebug);
  CHECK(*ParseLogLevel("info") == LogLevel::kInfo);
  CHECK(*ParseLogLevel("warning") == LogLevel::kWarning);
  CHECK(*ParseLogLevel("error") == LogLevel::kError);
  CHECK(ParseLogLevel("verbose").error().text == "expected debug, info, warning or error, got \"verbose\"");
}

TEST_CASE("lines wait for a flush, errors do not") {
  Folder folder;
  auto log = OpenLog({folder.File("a"), folder.File("b")});
  log->Info("one");
  CHECK(folder.Contents("a").empty());
  log->Flush();
  CHECK(folder.Contents("a").find("event=one\n") != std::string::npos);
  CHECK(folder.Contents("b") == folder.Contents("a"));
  log->Info("two");
  log->Error("three");
  CHECK(folder.Contents("a").find("event=three\n") != std::string::npos);
  log->Info("four");
  log.reset();
  CHECK(folder.Contents("a").find("event=four\n") != std::string::npos);
}

TEST_CASE("a file that exists is appended to") {
  Folder folder;
  std::ofstream(folder.File("log")) << "before\n";
  OpenLog({folder.File("log")})->Info("after");
  CHECK(folder.Contents("log").starts_with("before\ntime="));
}

TEST_CASE("files that were moved away are opened anew") {
  Folder folder;
  auto log = OpenLog({folder.File("log")});
  log->Info("one");
  std::filesystem::rename(folder.File("log"), folder.File("old"));
  log->Reopen();
  log->Info("two");
  log->Flush();
  CHECK(folder.Contents("old").find("event=one") != std::string::npos);
  CHECK(folder.Contents("old").find("event=two") == std::string::npos);
  CHECK(folder.Contents("log").find("event=two") != std::string::npos);

  SUBCASE("or kept, where that fails") {
    Folder elsewhere;
    std::filesystem::remove(folder.File("old"));
    std::filesystem::rename(folder.path(), elsewhere.path() / "moved");
    log->Reopen();
    log->Info("three");
    log->Flush();
    const std::string text = elsewhere.Contents("moved/log");
    CHECK(text.find("level=error event=log_reopen_failed error=\"open log " + folder.File("log") +
                    ": No such file or directory\"") != std::string::npos);
    CHECK(text.find("event=three") != std::string::npos);
  }
}

TEST_CASE("a log goes on in other files, and those that stay are not opened anew") {
  const Folder folder;
  const auto log = OpenLog({folder.File("a"), folder.File("b")});
  log->Info("first");
  std::filesystem::rename(folder.path() / "a", folder.path() / "moved");
  REQUIRE(log->SetPaths({folder.File("a"), folder.File("new/c")}));
  log->Info("second");
  log->Flush();
  CHECK(folder.Contents("moved").find("event=first\n") != std::string::npos);
  CHECK(folder.Contents("moved").find("event=second\n") != std::string::npos);
  CHECK(folder.Contents("b").find("event=first\n") != std::string::npos);
  CHECK(folder.Contents("b").find("event=second\n") == std::string::npos);
  CHECK(folder.Contents("new/c").find("event=second\n") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(folder.path() / "a"));

  SUBCASE("or in none of them, where one cannot be opened") {
    CHECK_FALSE(log->SetPaths({folder.File("d"), folder.path().string()}));
    log->Info("third");
    log->Flush();
    CHECK(folder.Contents("new/c").find("event=third\n") != std::string::npos);
    CHECK(folder.Contents("d").empty());
  }
}

TEST_CASE("a file that cannot be opened is an error of the configuration") {
  Folder folder;
  std::ofstream(folder.File("file")) << "x";
  const auto below = Log::Open({folder.File("file/log")}, {});
  REQUIRE_FALSE(below);
  CHECK(below.error().code == 78);
  CHECK(below.error().text == "open log " + folder.File("file/log") + ": Not a directory");
  CHECK(Log::Open({folder.path().string()}, {}).error().code == 78);

  SUBCASE("or of permissions") {
    std::filesystem::create_directory(folder.File("closed"));
    std::filesystem::permissions(folder.File("closed"), std::filesystem::perms::none);
    const uid_t self = geteuid();
    if (self == 0) REQUIRE(seteuid(65534) == 0);
    const auto refused = Log::Open({folder.File("closed/log")}, {});
    if (self == 0) REQUIRE(seteuid(0) == 0);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == 77);
  }
}

TEST_CASE("a full sink never blocks, and lines that are missing are counted in their place") {
  auto kind = FakeStderr::Kind::kPipe;
  bool reopened = true;
  SUBCASE("a pipe") {}
  SUBCASE("a socket, such as journald's") { kind = FakeStderr::Kind::kSocket; }
  SUBCASE("a pipe that cannot be opened anew") { reopened = false; }

  FakeStderr fake(kind);
  rlimit limit;
  REQUIRE(getrlimit(RLIMIT_NOFILE, &limit) == 0);
  const rlimit none{3, limit.rlim_max};
  if (!reopened) REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
  auto log = OpenLog({});
  REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);

  std::int64_t written = 0;
  auto write_lines = [&](int count) {
    for (int i = 0; i < count; ++i) {
      log->Info("line", {{"n", written}, {"text", Text(written)}});
      ++written;
      if (i % 3 == 0) log->Flush();
    }
  };
  write_lines(3000);  // more than the bound of 256 KiB
  std::string read = fake.Read();
  CHECK(!read.empty());
  for (int round = 0; round < 100; ++round) {  // always nearly full, with more or less room left
    write_lines(29);
    read += fake.Read();
    if (round % 2 == 0) log->Flush();
  }
  read += fake.ReadAll(*log);
  write_lines(1);
  log->Flush();
  read += fake.ReadAll(*log);

  std::int64_t missing = 0;
  CHECK(CountLines(read, &missing) == written);
  CHECK(missing > 1000);
}

TEST_CASE("a sink whose reader has gone loses its lines, and nothing else") {
  auto kind = FakeStderr::Kind::kPipe;
  SUBCASE("a pipe") {}
  SUBCASE("a socket") { kind = FakeStderr::Kind::kSocket; }
  FakeStderr fake(kind);
  auto log = OpenLog({});
  fake.CloseReader();
  for (int i = 0; i < 3000; ++i) log->Error("line", {{"text", std::string(200, 'x')}});
}

TEST_CASE("a limiter lets the first events of an interval through, and counts the rest") {
  LogLimiter limiter(2);
  std::int64_t suppressed = -1;
  CHECK(limiter.Allow(100, &suppressed));
  CHECK(suppressed == 0);
  CHECK(limiter.Allow(101, &suppressed));
  CHECK_FALSE(limiter.Allow(102, &suppressed));
  CHECK_FALSE(limiter.Allow(109, &suppressed));
  CHECK(limiter.Allow(110, &suppressed));
  CHECK(suppressed == 2);
  CHECK(limiter.Allow(110, &suppressed));
  CHECK(suppressed == 0);
  CHECK_FALSE(limiter.Allow(119, &suppressed));
}

}  // namespace
}  // namespace aphlict
