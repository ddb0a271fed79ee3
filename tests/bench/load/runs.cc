// The generator's runs: messages that it publishes, or that another process does, and what has come of them.
#include <sys/resource.h>

#include <algorithm>

#include "tests/bench/load/generator.h"
#include "tests/bench/load/text.h"

namespace aphlict::bench {

namespace {

double OwnCpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

}  // namespace

void Generator::BeginRun(const Options& options) {
  const std::string text = options.Text("text", "");
  const std::size_t bytes = options.Count("bytes", 300);
  to_everyone_ = options.Text("to", "groups") == "everyone";
  const std::uint32_t members = options.Count("members", 0);
  if (members > kMostMembers || (members > 0 && to_everyone_)) throw Failure("no group has such members");
  if (!template_ || template_->bytes() != bytes || template_->members() != members || !text.empty()) {
    template_.emplace(bytes, text, members);
  }
  if (!text.empty()) next_sequence_ = 1;  // other processes know these messages
  patience_ = static_cast<Nanoseconds>(1e9 * options.Number("patience", 5));
  for (Population& population : populations_) population.wire = {};
  for (Order& order : groups_) order = {{}, 0, order.clients};
  feed_ = {{}, 0, feed_.clients};
  everyone_ = {{}, 0, everyone_.clients};
  for (Client& client : clients_) client.next = 0;
  for (Publisher& publisher : publishers_) publisher.message = 0;
  first_sequence_ = next_sequence_;
  messages_.clear();
  messages_.reserve(options.Count("messages", 1));
  skipped_.clear();
  latencies_.clear();
  answers_.clear();
  unfinished_ = 0;
  deliveries_ = 0;
  last_progress_ = last_complete_ = Now();
}

std::string Generator::EndRun(Nanoseconds start, double cpu_before) {
  const double seconds = Seconds(Now() - start);
  const double cpu = OwnCpuSeconds() - cpu_before;
  if (unfinished_ == 0) {  // what comes twice may come late
    const Nanoseconds end = Now() + kSecond / 50;
    while (Now() < end) {
      poller_.Turn(end, [this](std::uint64_t token, bool writable) { OnEvent(token, writable); });
    }
  }
  for (const Message& message : messages_) wrongs_.lost += message.pending;
  if (wrongs_.lost > 0 && wrongs_.first_problem.empty()) {
    wrongs_.first_problem = Format("nothing arrived any more for %.0f s", Seconds(patience_));
  }
  std::size_t frame_bytes = 0;
  for (const Population& population : populations_) frame_bytes = std::max(frame_bytes, population.wire.frame_bytes);
  const Nanoseconds sent = messages_.empty() ? start : messages_.front().sent;
  return Format(R"("messages":%zu,"deliveries":%llu,"seconds":%.6f,"load_cpu_seconds":%.6f,"frame_bytes":%zu,)",
                messages_.size(), static_cast<unsigned long long>(deliveries_), seconds, cpu, frame_bytes) +
         Format(R"("first_sent":%.6f,"last_complete":%.6f,)", Seconds(sent), Seconds(last_complete_)) + Wrong() + "," +
         Percentiles("latency_us", latencies_) + "," + Percentiles("answer_us", answers_);
}

std::string Generator::Wrong() const {
  const auto number = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
  return Format(R"("lost":%llu,"repeated":%llu,"disordered":%llu,"misdelivered":%llu,"garbled":%llu,"refused":%llu,)",
                number(wrongs_.lost), number(wrongs_.repeated), number(wrongs_.disordered),
                number(wrongs_.misdelivered), number(wrongs_.garbled), number(wrongs_.refused)) +
         Format(R"("closed":%llu,"problem":"%s")", number(wrongs_.closed), Escape(wrongs_.first_problem).c_str());
}

// One measured run. In a closed loop, as many messages are in flight as there are lanes, and a message is so until
// every client has it; at a rate, a message is due at its time, whatever became of those before it.
std::string Generator::Publish(const Options& options) {
  const std::vector<std::string> addresses = SplitAtCommas(options.Text("address", ""));
  if (addresses.empty()) throw Failure("publish: no address");
  reconnect_ = options.Count("reconnect", 0) != 0;
  const std::uint32_t lanes = options.Count("in_flight", 1);
  const double rate = options.Number("rate", 0);
  const std::uint32_t count = options.Count("messages", 1);
  const std::uint32_t first_group = options.Count("first_group", 0);
  std::uint32_t targets = options.Count("targets", 0);
  const auto groups = static_cast<std::uint32_t>(groups_.size());
  if (targets == 0) targets = groups > first_group ? groups - first_group : 1;
  if (addresses != publish_addresses_ || publishers_.size() != lanes * addresses.size()) {
    for (Publisher& publisher : publishers_) {
      if (publisher.descriptor >= 0) CloseByReset(publisher.descriptor);
    }
    publishers_.assign(lanes * addresses.size(), {});
  }
  publish_addresses_ = addresses;
  publish_path_ = options.Text("path", "/");

  BeginRun(options);
  const auto handle = [this](std::uint64_t token, bool writable) { OnEvent(token, writable); };
  const double cpu_before = OwnCpuSeconds();
  const Nanoseconds start = last_progress_ = Now();
  std::uint32_t started = 0;
  while (started < count || unfinished_ > 0) {
    Nanoseconds wake = Now() + kSecond / 4;
    for (std::uint32_t lane = 0; lane < lanes && started < count; ++lane) {
      if (!LaneIsFree(lane, rate == 0)) continue;
      Nanoseconds due = 0;
      if (rate > 0) {
        due = start + static_cast<Nanoseconds>(1e9 * started / rate);
        if (due > Now()) {
          wake = std::min(wake, due);
          break;
        }
      }
      const std::uint32_t group = groups_.empty() ? 0 : first_group + started % targets;
      StartPublish(lane, to_everyone_ ? kEveryone : group, due);
      ++started;
    }
    SendStatuses();
    poller_.Turn(wake, handle);
    if (Now() - last_progress_ > patience_ && unfinished_ > 0) break;
  }
  const std::string result = EndRun(start, cpu_before);
  if (unfinished_ > 0) {  // answers that may still come belong to no message of the next run
    for (Publisher& publisher : publishers_) {
      if (publisher.descriptor >= 0) CloseByReset(publisher.descriptor);
    }
    publishers_.clear();
  }
  return result;
}

// Another process is going to publish these messages to everyone, one after the other; `await` says what came.
std::string Generator::Expect(const Options& options) {
  BeginRun(options);
  to_everyone_ = true;
  const std::uint32_t count = options.Count("messages", 1);
  for (std::uint32_t i = 0; i < count; ++i) {
    Message message;
    message.group = kEveryone;
    message.pending = everyone_.clients;
    message.due = message.sent = Now();
    if (message.pending > 0) ++unfinished_;
    template_->Make(next_sequence_, kEveryone, &message.body);
    everyone_.sequences.push_back(next_sequence_++);
    messages_.push_back(std::move(message));
  }
  return Format(R"("expected":%llu)", static_cast<unsigned long long>(count) * everyone_.clients);
}

std::string Generator::Await(const Options& options) {
  patience_ = static_cast<Nanoseconds>(1e9 * options.Number("patience", 5));
  const double cpu_before = OwnCpuSeconds();
  const Nanoseconds start = Now();
  while (unfinished_ > 0 && Now() - std::max(start, last_progress_) <= patience_) {
    poller_.Turn(Now() + kSecond / 4, [this](std::uint64_t token, bool writable) { OnEvent(token, writable); });
  }
  const std::string result = EndRun(start, cpu_before);
  unfinished_ = 0;
  return result;
}

}  // namespace aphlict::bench
