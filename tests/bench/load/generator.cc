#include "tests/bench/load/generator.h"

#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>

#include "tests/bench/load/text.h"
#include "tests/bench/load/websocket.h"

namespace aphlict::bench {

namespace {

constexpr Nanoseconds kPatience = 5 * kSecond;  // without any progress, what is missing is lost

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
  if (options.word() == "ping") return Ping(options);
  if (options.word() == "reset") return Reset();
  throw Failure("unknown command: " + options.word());
}

void Generator::Problem(std::uint64_t Wrongs::*counter, const std::string& what) {
  ++(wrongs_.*counter);
  if (wrongs_.first_problem.empty()) wrongs_.first_problem = what;
}

Generator::Order& Generator::order_of(const Client& client) {
  return populations_[client.population].feed ? feed_ : groups_[client.group];
}
std::string Generator::Connect(const Options& options) {
  Population population;
  population.address = options.Text("address", "");
  population.path = options.Text("path", "/");
  population.subscribe = options.Text("subscribe", "");
  population.sync = options.Count("sync", 0) != 0;
  population.feed = options.Text("kind", "page") == "feed";
  population.tls = options.Count("tls", 0) != 0;
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
  for (std::uint32_t i = 0; i < clients_.size(); ++i) CloseClient(i);
  const auto count = static_cast<std::uint32_t>(clients_.size());
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
// One measured run. In a closed loop, as many messages are in flight as there are publishers, and a message is so
// until every client has it; at a rate, a message is due at its time, whatever became of those before it.
std::string Generator::Publish(const Options& options) {
  const std::string address = options.Text("address", "");
  reconnect_ = options.Count("reconnect", 0) != 0;
  const std::uint32_t in_flight = options.Count("in_flight", 1);
  const double rate = options.Number("rate", 0);
  const std::uint32_t count = options.Count("messages", 1);
  const std::uint32_t first_group = options.Count("first_group", 0);
  std::uint32_t targets = options.Count("targets", 0);
  if (targets == 0) targets = std::max<std::uint32_t>(1, static_cast<std::uint32_t>(groups_.size()));
  if (address != publish_address_ || publishers_.size() != in_flight) {
    for (Publisher& publisher : publishers_) {
      if (publisher.descriptor >= 0) CloseByReset(publisher.descriptor);
    }
    publishers_.assign(in_flight, {});
  }
  publish_address_ = address;
  publish_path_ = options.Text("path", "/");

  const std::size_t bytes = options.Count("bytes", 300);
  if (!template_ || template_->bytes() != bytes) template_.emplace(bytes);
  for (Population& population : populations_) population.wire = {};
  for (Order& order : groups_) order = {{}, 0, order.clients};
  feed_ = {{}, 0, feed_.clients};
  for (Client& client : clients_) client.next = 0;
  first_sequence_ = next_sequence_;
  messages_.clear();
  messages_.reserve(count);
  skipped_.clear();
  latencies_.clear();
  answers_.clear();
  unfinished_ = 0;
  deliveries_ = 0;

  const auto handle = [this](std::uint64_t token, bool writable) { OnEvent(token, writable); };
  const double cpu_before = OwnCpuSeconds();
  const Nanoseconds start = last_progress_ = Now();
  std::uint32_t started = 0;
  bool gave_up = false;
  while (started < count || unfinished_ > 0) {
    Nanoseconds wake = Now() + kSecond / 4;
    for (std::uint32_t i = 0; i < publishers_.size() && started < count; ++i) {
      const Publisher& publisher = publishers_[i];
      if (publisher.step != Step::kIdle) continue;
      Nanoseconds due = 0;
      if (rate > 0) {
        due = start + static_cast<Nanoseconds>(1e9 * started / rate);
        if (due > Now()) {
          wake = std::min(wake, due);
          break;
        }
      } else if (publisher.message >= first_sequence_ && !finished(messages_[publisher.message - first_sequence_])) {
        continue;
      }
      StartPublish(i, groups_.empty() ? 0 : first_group + started % targets, due);
      ++started;
    }
    SendStatuses();
    poller_.Turn(wake, handle);
    if (Now() - last_progress_ > kPatience && unfinished_ > 0) {
      gave_up = true;
      break;
    }
  }
  const double seconds = Seconds(Now() - start);
  const double cpu = OwnCpuSeconds() - cpu_before;
  if (!gave_up) {  // what comes twice may come late
    const Nanoseconds end = Now() + kSecond / 50;
    while (Now() < end) poller_.Turn(end, handle);
  }
  for (const Message& message : messages_) wrongs_.lost += message.pending;
  if (wrongs_.lost > 0 && wrongs_.first_problem.empty()) {
    wrongs_.first_problem = Format("nothing arrived any more for %.0f s", Seconds(kPatience));
  }
  if (gave_up) {  // answers that may still come belong to no message of the next run
    for (Publisher& publisher : publishers_) {
      if (publisher.descriptor >= 0) CloseByReset(publisher.descriptor);
    }
    publishers_.clear();
  }
  const auto number = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
  std::size_t frame_bytes = 0;
  for (const Population& population : populations_) frame_bytes = std::max(frame_bytes, population.wire.frame_bytes);
  return Format(R"("messages":%u,"deliveries":%llu,"seconds":%.6f,"load_cpu_seconds":%.6f,"frame_bytes":%zu,)", started,
                number(deliveries_), seconds, cpu, frame_bytes) +
         Format(R"("lost":%llu,"repeated":%llu,"disordered":%llu,"misdelivered":%llu,"garbled":%llu,"refused":%llu,)",
                number(wrongs_.lost), number(wrongs_.repeated), number(wrongs_.disordered),
                number(wrongs_.misdelivered), number(wrongs_.garbled), number(wrongs_.refused)) +
         Format(R"("closed":%llu,"problem":"%s",)", number(wrongs_.closed), Escape(wrongs_.first_problem).c_str()) +
         Percentiles("latency_us", latencies_) + "," + Percentiles("answer_us", answers_);
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
  pollfd waiting{input, POLLIN, 0};
  // Both are looked at in turn: an input that is a file could not be watched by epoll.
  while (poll(&waiting, 1, clients_.empty() ? -1 : 0) == 0) {
    SendStatuses();
    poller_.Turn(Now() + kSecond / 100, [this](std::uint64_t token, bool writable) { OnEvent(token, writable); });
  }
}
}  // namespace aphlict::bench
