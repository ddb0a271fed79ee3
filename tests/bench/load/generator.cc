#include "tests/bench/load/generator.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>

#include "tests/bench/load/text.h"
#include "tests/bench/load/websocket.h"

namespace aphlict::bench {

namespace {

constexpr Nanoseconds kPatience = 5 * kSecond;  // with a pong that does not come

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
  population.reports = population.feed || options.Count("reports", 0) != 0;
  population.tls = options.Count("tls", 0) != 0;
  population.own = options.Count("own", 0) != 0;
  population.everyone = options.Count("everyone", 0) != 0;
  population.extra = options.Count("extra", 0);
  population.receive_buffer = options.Count("receive_buffer", 0);
  const std::uint32_t count = options.Count("clients", 1);
  const std::uint32_t group_size = options.Count("group_size", 0);
  const auto first_group = static_cast<std::uint32_t>(options.Count("first_group", 0));
  if (population.own && (group_size == 0 || group_size > kMostMembers)) {
    throw Failure(Format("connect: own=1 needs a group_size of 1 to %u", kMostMembers));
  }
  populations_.push_back(population);
  for (std::uint32_t i = 0; i < count; ++i) {
    Client client;
    client.population = static_cast<std::uint32_t>(populations_.size() - 1);
    client.group = population.feed ? 0 : first_group + (group_size == 0 ? 0 : i / group_size);
    if (group_size > 0) client.member = i % group_size;
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
  const auto patience = static_cast<Nanoseconds>(1e9 * options.Number("patience", 0));
  const bool resumes = options.Count("resume", 1) != 0;
  const double timeout = options.Number("timeout", 120);
  std::uint32_t count = 0;
  for (std::uint32_t i = 0; i < clients_.size(); i += every, ++count) {
    CloseClient(i);
    if (!resumes && clients_[i].tls) clients_[i].tls = std::make_unique<Tls>();
  }
  resumed_ = gave_up_ = 0;
  const double seconds = patience > 0 ? OpenClientsThatGiveUp(patience, resumes, timeout)
                                      : OpenClients(options.Count("at_once", count), timeout);
  return Format(R"("connected":%u,"seconds":%.6f,"resumed":%llu,"gave_up":%llu)", count, seconds,
                static_cast<unsigned long long>(resumed_), static_cast<unsigned long long>(gave_up_));
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
  reporters_ = 0;
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
    poll(watched, 2, reporters_ > 0 ? 250 : -1);
    if (watched[0].revents != 0) return;
    SendStatuses();
    poller_.Turn(0, [this](std::uint64_t token, bool writable) { OnEvent(token, writable); });
  }
}

}  // namespace aphlict::bench
