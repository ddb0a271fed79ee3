// `listen`: a page that prints what it is told.
#include <sys/time.h>
#include <sysexits.h>

#include <algorithm>
#include <cstdio>
#include <ctime>
#include <memory>
#include <random>
#include <string_view>
#include <utility>

#include "common/base/random.h"
#include "common/commands/actions.h"
#include "common/commands/page.h"
#include "common/commands/repeats.h"
#include "common/commands/table.h"
#include "common/net/timer.h"

namespace aphlict::commands {

namespace {

constexpr Duration kMostReplay = seconds(60);  // nodes keep no more, by default
// More than a message takes to come by one node or by the other, and than their clocks' estimates of it differ.
constexpr Duration kReplaySlack = seconds(2);
constexpr Duration kLongestPause = seconds(30);

std::string ArrivalTime() {
  timeval now{};
  gettimeofday(&now, nullptr);
  std::tm parts{};
  gmtime_r(&now.tv_sec, &parts);
  char text[48];
  const std::size_t length = std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(text + length, sizeof(text) - length, ".%06ldZ", static_cast<long>(now.tv_usec));
  return text;
}

// On one line: what would break it can only be white space, for JSON has its own spelling of it inside of strings.
std::string OnOneLine(std::string_view message) {
  std::string line(message);
  std::replace_if(
      line.begin(), line.end(), [](char each) { return each == '\n' || each == '\r'; }, ' ');
  return line;
}

class Listener : private PageHandler {
 public:
  Listener(Session& session, const Options& options, std::vector<http::Url> urls)
      : session_(session),
        options_(options),
        urls_(std::move(urls)),
        random_(RandomSeed()),
        retry_(session.loop(), [this] { Connect(); }) {
    std::shuffle(urls_.begin(), urls_.end(), random_);
  }

  Result<int> Run() {
    Connect();
    session_.Wait();
    if (page_) page_->Close();
    session_.Progress("");
    // The close frame is sent, but nobody is waited for longer than that.
    session_.loop().RunUntilIdle(milliseconds(500));
    if (!failure_.empty()) return Error{failure_, EX_UNAVAILABLE};
    return exit_code_;
  }

 private:
  void Connect() {
    page_.reset();
    const http::Url& url = urls_[next_ % urls_.size()];
    session_.Progress("connecting to " + url.authority());
    Page::Options options;
    options.url = url;
    options.phids = options_.phids;
    options.origin = options_.origin;
    options.timeout = session_.timeout();
    if (ever_subscribed_) {
      options.replay_since = std::max(last_heard_ - kReplaySlack, Now() - kMostReplay);
    } else if (options_.replay > 0) {
      options.replay_since =
          Now() - std::chrono::duration_cast<Duration>(std::chrono::duration<double>(options_.replay));
    }
    if (options.replay_since) repeats_.BeginReplay(*options.replay_since, Now());
    page_ =
        std::make_shared<Page>(session_.loop(), std::move(options), session_.tls(), static_cast<PageHandler&>(*this));
  }

  void OnSubscribed() override {
    ever_subscribed_ = true;
    tried_ = 0;
    pause_ = seconds(1);
    Report();
  }

  void OnMessage(std::string_view message) override {
    if (over_ || repeats_.IsRepeat(message, Now())) return;
    session_.Progress("");
    ++printed_;
    if (!session_.Print((options_.time ? ArrivalTime() + " " : "") + OnOneLine(message) + "\n")) return End(EX_IOERR);
    if (options_.count != 0 && printed_ == options_.count) return End(EX_OK);
    Report();
  }

  void OnLost(const std::string& reason) override {
    const bool had_it = page_->subscribed();
    if (had_it) last_heard_ = page_->last_heard();
    session_.loop().DeleteLater(std::exchange(page_, nullptr));
    if (over_) return;
    const std::string what = urls_[next_ % urls_.size()].authority() + ": " + reason;
    session_.Progress(what);
    ++next_;
    ++tried_;
    if (tried_ >= urls_.size() && !ever_subscribed_) {
      failure_ = what;
      return session_.Done();
    }
    // At once to the next one; when all have been tried, not too often.
    if (tried_ < urls_.size() || (had_it && urls_.size() == 1)) return retry_.Start(Duration::zero());
    retry_.Start(pause_);
    pause_ = std::min(pause_ * 2, kLongestPause);
  }

  void Report() {
    session_.Progress("listening at " + urls_[next_ % urls_.size()].authority() + ", " + ShortCount(printed_) +
                      " messages so far");
  }

  void End(int code) {
    over_ = true;
    exit_code_ = code;
    session_.Done();
  }

  Session& session_;
  const Options& options_;
  std::vector<http::Url> urls_;
  RandomGenerator random_;
  std::size_t next_ = 0;   // in urls_
  std::size_t tried_ = 0;  // since one took the subscription
  Duration pause_ = seconds(1);
  Time last_heard_{};  // of the node that is lost
  Repeats repeats_;
  std::uint64_t printed_ = 0;
  bool ever_subscribed_ = false;
  bool over_ = false;
  int exit_code_ = EX_OK;
  std::string failure_;
  std::shared_ptr<Page> page_;
  net::Timer retry_;
};

}  // namespace

Result<int> Listen(Session& session, const Options& options) {
  std::vector<http::Url> urls;
  for (const std::string& text : options.urls) {
    const auto url = http::ParseUrl(text);
    if (!url) return Error{url.error().text, EX_USAGE};
    auto with = WithInstance(*url, options.instance);
    if (!with) return Error{with.error().text, EX_USAGE};
    urls.push_back(std::move(*with));
  }
  return Listener(session, options, std::move(urls)).Run();
}

}  // namespace aphlict::commands
