#include "tests/bench/load/generator.h"

#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>

#include "tests/bench/load/text.h"
#include "tests/bench/load/websocket.h"

namespace aphlict::bench {

namespace {

constexpr Nanoseconds kPatience = 5 * kSecond;  // with a pong that does not come

double OwnCpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

}  // namespace

Generator::Generator() : buffer_(std::make_unique<char[]>(kBufferBytes)) {}

Generator::~Generator() { Reset(); }

std::string Generator::Run(const Options& options) {
  poller_.set_spin(options.Count("spin", 1) != 0);
  if (options.word() == "connect") return Connect(options);
  if (options.word() == "storm") return Storm(options);
  if (options.word() == "publish") return Publish(options);
  if (options.word() == "expect") return Expect(options);
  if (options.word() == "await") return Await(options);
  if (options.word() == "everyone") return Everyone(options);
  if (options.word() == "check") return Wrong();
  if (options.word() == "ping") return Ping(options);
  if (options.word() == "reset") return Reset();
  throw Failure("unknown command: " + options.word());
}

void Generator::Problem(std::uint64_t Wrongs::*counter, const std::string& what) {
  ++(wrongs_.*counter);
  if (wrongs_.first_problem.empty()) wrongs_.first_problem = what;
}

Generator::Order& Generator::order_of(const Client& client) {
  const Population& population = populations_[client.population];
  if (population.feed) return feed_;
  return to_everyone_ && population.everyone ? everyone_ : groups_[client.group];
}

bool Generator::Concerns(const Message& message, const Client& client) const {
  const Population& population = populations_[client.population];
  if (population.feed) return true;
  return message.group == kEveryone ? population.everyone : message.group == client.group;
}

std::string Generator::Connect(const Options& options) {
  Population population;
  population.addresses = SplitAtCommas(options.Text("address", ""));
  if (population.addresses.empty()) throw Failure("connect: no address");
  population.path = options.Text("path", "/");
  population.subscribe = options.Text("subscribe", "");
  population.sync = options.Count("sync", 0) != 0;
  population.feed = options.Text("kind", "page") == "feed";
  population.tls = options.Count("tls", 0) != 0;
  population.everyone = options.Count("everyone", 0) != 0;
  population.extra = options.Count("extra", 0);
  population.receive_buffer = options.Count("receive_buffer", 0);
  population.source = static_cast<std::uint32_t>(clients_.size());
  const std::uint32_t count = options.Count("clients", 1);
  const std::uint32_t group_size = options.Count("group_size", 0);
  const auto first_group = static_cast<std::uint32_t>(options.Count("first_group", 0));
  populations_.push_back(population);
  for (std::uint32_t i = 0; i < count; ++i) {
    Client client;
    client.population = static_cast<std::uint32_t>(populations_.size() - 1);
    client.group = population.feed ? 0 : first_group + (group_size == 0 ? 0 : i / group_size);
    if (population.tls) client.tls = std::make_unique<Tls>();
    client.stalled = options.Count("stalled", 0) != 0;
    if (groups_.size() <= client.group) groups_.resize(client.group + 1);
    clients_.push_back(std::move(client));
  }
  const double seconds = OpenClients(options.Count("at_once", 256), options.Number("timeout", 60));
  return Format(R"("connected":%u,"seconds":%.6f)", count, seconds);
}

std::string Generator::Storm(const Options& options) {
  const std::uint32_t every = options.Count("every", 1);
  std::uint32_t count = 0;
  for (std::uint32_t i = 0; i < clients_.size(); i += every, ++count) CloseClient(i);
  resumed_ = 0;
  const double seconds = OpenClients(options.Count("at_once", count), options.Number("timeout", 120));
  return Format(R"("connected":%u,"seconds":%.6f,"resumed":%llu)", count, seconds,
                static_cast<unsigned long long>(resumed_));
}

std::string Generator::Reset() {
  for (std::uint32_t i = 0; i < clients_.size(); ++i) CloseClient(i);
  for (Publisher& publisher : publishers_) {
    if (publisher.descriptor >= 0) CloseByReset(publisher.descriptor);
  }
  publishers_.clear();
  clients_.clear();
  populations_.clear();
  groups_.clear();
  feed_ = {};
  everyone_ = {};
  followers_ = 0;
  wrongs_ = {};
  return R"("connected":0)";
}
void Generator::OnEvent(std::uint64_t token, bool writable) {
  if (token >= kPublisherToken) {
    OnPublisher(static_cast<std::uint32_t>(token - kPublisherToken), writable);
  } else {
    OnClient(static_cast<std::uint32_t>(token), writable);
  }
}
void Generator::BeginRun(const Options& options) {
  const std::string text = options.Text("text", "");
  const std::size_t bytes = options.Count("bytes", 300);
  if (!template_ || template_->bytes() != bytes || !text.empty()) template_.emplace(bytes, text);
  if (!text.empty()) next_sequence_ = 1;  // other processes know these messages
  to_everyone_ = options.Text("to", "groups") == "everyone";
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

// Every client subscribes to everyone's PHID as well, `at_once` at a time.
std::string Generator::Everyone(const Options& options) {
  const std::uint32_t at_once = options.Count("at_once", 256);
  const auto patience = static_cast<Nanoseconds>(1e9 * options.Number("patience", 5));
  const Nanoseconds start = last_progress_ = Now();
  pongs_ = 0;
  std::uint64_t asked = 0;
  std::uint32_t next = 0;
  for (Population& population : populations_) population.everyone = !population.feed;
  everyone_.clients = 0;
  for (const Client& client : clients_) {
    everyone_.clients += client.state == State::kOpen && !client.stalled && populations_[client.population].everyone;
  }
  while (next < clients_.size() || pongs_ < asked) {
    for (; next < clients_.size() && asked - pongs_ < at_once; ++next) {
      Client& client = clients_[next];
      const Population& population = populations_[client.population];
      if (client.state != State::kOpen || client.stalled || !population.everyone) continue;
      const std::string phids = Format(R"("%s")", GroupPhid(kEveryone).c_str());
      Send(client, MaskedFrame(kText, Replace(population.subscribe, "%P", phids)) + MaskedFrame(kText, kPingCommand));
      ++asked;
    }
    poller_.Turn(Now() + kSecond / 4, [this](std::uint64_t token, bool writable) { OnEvent(token, writable); });
    if (Now() - last_progress_ > patience) {
      throw Failure(Format("%llu of %llu clients have not answered", static_cast<unsigned long long>(asked - pongs_),
                           static_cast<unsigned long long>(asked)));
    }
  }
  return Format(R"("subscribed":%llu,"seconds":%.6f)", static_cast<unsigned long long>(asked), Seconds(Now() - start));
}

// Every client pings each `every` seconds, spread evenly.
std::string Generator::Ping(const Options& options) {
  const double rate = static_cast<double>(clients_.size()) / options.Number("every", 15);
  const auto count = static_cast<std::uint32_t>(rate * options.Number("seconds", 10));
  const auto handle = [this](std::uint64_t token, bool writable) { OnEvent(token, writable); };
  const std::string ping = MaskedFrame(kText, kPingCommand);
  pongs_ = 0;
  const Nanoseconds start = last_progress_ = Now();
  std::uint32_t sent = 0;
  while (pongs_ < sent || sent < count) {
    Nanoseconds wake = Now() + kSecond / 4;
    while (sent < count) {
      const Nanoseconds due = start + static_cast<Nanoseconds>(1e9 * sent / rate);
      if (due > Now()) {
        wake = std::min(wake, due);
        break;
      }
      Client& client = clients_[sent++ % clients_.size()];
      Send(client, ping);
    }
    poller_.Turn(wake, handle);
    if (Now() - last_progress_ > kPatience) break;
  }
  return Format(R"("pings":%u,"pongs":%llu,"closed":%llu,"seconds":%.6f,"problem":"%s")", sent,
                static_cast<unsigned long long>(pongs_), static_cast<unsigned long long>(wrongs_.closed),
                Seconds(Now() - start), Escape(wrongs_.first_problem).c_str());
}

void Generator::Idle(int input) {
  poller_.set_spin(false);
  // An input that is a file could not be watched by epoll, but epoll itself can be polled.
  pollfd watched[] = {{input, POLLIN, 0}, {poller_.descriptor(), POLLIN, 0}};
  for (;;) {
    poll(watched, 2, followers_ > 0 ? 250 : -1);
    if (watched[0].revents != 0) return;
    SendStatuses();
    poller_.Turn(0, [this](std::uint64_t token, bool writable) { OnEvent(token, writable); });
  }
}

}  // namespace aphlict::bench
