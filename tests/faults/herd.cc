// Thousands of pages in one process: each holds a WebSocket, subscribes to the PHID of its group, and comes back at
// once when its connection breaks. Measures how long messages take, and counts what is missing.
//
//   herd CLIENTS GROUPS FROM[,FROM...] ADDRESS:PORT...
//
// Clients come from the FROM addresses in turn: the kernel's search for a free port is slow where thousands are taken.
// The other addresses are those of one name: a page tries them in this order, and after a round without success again
// after 2 s, 4 s, 8 s. Messages carry "at", the monotonic clock in nanoseconds when they were published, and "n", which
// counts from 0 in each group. Prints a line of JSON every 100 ms, and a last one when its standard input ends:
//
//   {"t": monotonic seconds, "open": clients, "messages": since the last line,
//    "missing": messages that somebody has, and others of the group not,
//    "failed": [[errno or -1 for an end before the answer, how often] of each address since the start],
//    "latency": {bucket: count since the last line}}        a bucket b holds latencies of about 1.1^b microseconds
//   {"missing": messages, "clients": how many ever opened}
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <bitset>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <map>
#include <memory>
#include <queue>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kReportInterval = kSecond / 10;
constexpr std::int64_t kReplayAfter = kSecond / 10;  // a page asks for a replay as long after it has subscribed again
constexpr std::int64_t kReplayMargin = 500;          // ms more than the page's age
constexpr std::size_t kMostMessages = 4096;          // of a group

std::int64_t Now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * kSecond + now.tv_nsec;
}

// A text frame as clients send it, masked by zeros.
std::string TextFrame(std::string_view payload) {
  std::string frame("\x81");
  if (payload.size() < 126) {
    frame += static_cast<char>(0x80 | payload.size());
  } else {
    frame += static_cast<char>(0x80 | 126);
    frame += static_cast<char>(payload.size() >> 8);
    frame += static_cast<char>(payload.size());
  }
  return frame.append(4, '\0').append(payload);
}

struct Client {
  int fd = -1;
  std::size_t group = 0;
  std::size_t address = 0;       // that is tried or used
  std::size_t tried = 0;         // addresses in this round
  std::int64_t pause = 2;        // seconds after a round without success
  std::uint32_t connection = 0;  // how many there were, so that a timer knows its own
  bool open = false;
  bool opened_once = false;
  std::size_t first = 0;  // the first n that concerns it
  std::string unread;
  std::bitset<kMostMessages> seen;
};

class Herd {
 public:
  Herd(std::size_t count, std::size_t groups, std::vector<sockaddr_in> from, std::vector<sockaddr_in> addresses)
      : from_(std::move(from)),
        addresses_(std::move(addresses)),
        failed_(addresses_.size()),
        newest_(groups, 0),
        clients_(count),
        epoll_(epoll_create1(EPOLL_CLOEXEC)),
        born_(Now()) {
    for (std::size_t i = 0; i < count; ++i) clients_[i].group = i % groups;
    epoll_event event{EPOLLIN, {.u64 = kStdin}};
    epoll_ctl(epoll_, EPOLL_CTL_ADD, STDIN_FILENO, &event);
  }

  void Run() {
    for (std::size_t i = 0; i < clients_.size(); ++i) Connect(i);
    std::int64_t next_report = Now() + kReportInterval;
    std::vector<epoll_event> events(1024);
    while (!ended_) {
      const std::int64_t due = timers_.empty() ? next_report : std::min(next_report, timers_.top().due);
      const int timeout = static_cast<int>(std::max<std::int64_t>(0, (due - Now()) / 1'000'000 + 1));
      const int ready = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), timeout);
      for (int i = 0; i < ready; ++i) OnEvent(events[static_cast<std::size_t>(i)]);
      while (!timers_.empty() && timers_.top().due <= Now()) {
        const Timer timer = timers_.top();
        timers_.pop();
        OnTimer(timer);
      }
      if (Now() >= next_report) {
        Report();
        next_report += kReportInterval;
      }
    }
    ReportMissing();
  }

 private:
  static constexpr std::uint64_t kStdin = ~std::uint64_t{0};

  struct Timer {
    std::int64_t due;
    std::size_t client;
    std::uint32_t connection;
    bool operator<(const Timer& other) const { return due > other.due; }
  };

  void Connect(std::size_t index) {
    Client& client = clients_[index];
    client.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client.fd < 0) {
      std::perror("socket");
      std::exit(1);
    }
    const int on = 1;
    setsockopt(client.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(client.fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    const sockaddr_in& from = from_[index % from_.size()];
    if (bind(client.fd, reinterpret_cast<const sockaddr*>(&from), sizeof(from)) != 0) {
      std::perror("bind");
      std::exit(1);
    }
    ++client.connection;
    const sockaddr_in& address = addresses_[client.address];
    const int result = connect(client.fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
    if (result != 0 && errno != EINPROGRESS) return Fail(index, errno);
    epoll_event event{EPOLLOUT, {.u64 = index}};
    epoll_ctl(epoll_, EPOLL_CTL_ADD, client.fd, &event);
  }

  void OnEvent(const epoll_event& event) {
    if (event.data.u64 == kStdin) {
      char byte;
      if (read(STDIN_FILENO, &byte, 1) <= 0) ended_ = true;
      return;
    }
    const auto index = static_cast<std::size_t>(event.data.u64);
    Client& client = clients_[index];
    if (client.fd < 0) return;
    if ((event.events & EPOLLOUT) != 0) {
      int error = 0;
      socklen_t length = sizeof(error);
      getsockopt(client.fd, SOL_SOCKET, SO_ERROR, &error, &length);
      if (error != 0) return Fail(index, error);
      epoll_event next{EPOLLIN, {.u64 = index}};
      epoll_ctl(epoll_, EPOLL_CTL_MOD, client.fd, &next);
      return Send(client,
                  "GET / HTTP/1.1\r\nHost: herd\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    }
    const ssize_t got = recv(client.fd, buffer_, sizeof(buffer_), 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) return Fail(index, got < 0 ? errno : -1);
    client.unread.append(buffer_, static_cast<std::size_t>(got));
    Read(index);
  }

  void Read(std::size_t index) {
    Client& client = clients_[index];
    std::size_t at = 0;
    if (!client.open) {
      const std::size_t end = client.unread.find("\r\n\r\n");
      if (end == std::string::npos) return;
      if (client.unread.rfind("HTTP/1.1 101 ", 0) != 0) return Fail(index, -1);
      at = end + 4;
      Opened(index);
    }
    const std::string& bytes = client.unread;
    const std::int64_t now = Now();
    while (bytes.size() - at >= 2) {
      std::size_t length = static_cast<unsigned char>(bytes[at + 1]);
      std::size_t begin = at + 2;
      if (length == 126) {
        if (bytes.size() - at < 4) break;
        length = static_cast<std::size_t>(static_cast<unsigned char>(bytes[at + 2]) << 8 |
                                          static_cast<unsigned char>(bytes[at + 3]));
        begin = at + 4;
      }
      if (bytes.size() < begin + length) break;
      if ((bytes[at] & 0x0F) == 1) Message(client, {bytes.data() + begin, length}, now);
      at = begin + length;
    }
    client.unread.erase(0, at);
    if (client.unread.empty()) client.unread.shrink_to_fit();
  }

  void Opened(std::size_t index) {
    Client& client = clients_[index];
    client.open = true;
    client.tried = 0;
    client.pause = 2;
    ++open_;
    const std::string phid = "PHID-HERD-" + std::to_string(client.group);
    Send(client, TextFrame(R"({"command":"subscribe","data":[")" + phid + "\"]}"));
    if (client.opened_once) timers_.push({Now() + kReplayAfter, index, client.connection});
    if (!client.opened_once) client.first = kMostMessages;  // until the first comes
    client.opened_once = true;
  }

  void Message(Client& client, std::string_view text, std::int64_t now) {
    const auto number = [&](std::string_view key) {
      const std::size_t place = text.find(key);
      return place == std::string_view::npos ? -1 : std::strtoll(text.data() + place + key.size(), nullptr, 10);
    };
    const std::int64_t n = number("\"n\":");
    const std::int64_t at = number("\"at\":");
    if (n < 0 || at < 0 || n >= static_cast<std::int64_t>(kMostMessages)) return;
    const auto place = static_cast<std::size_t>(n);
    if (client.seen[place]) return;  // a replay brings again what is known
    client.seen.set(place);
    client.first = std::min(client.first, place);
    newest_[client.group] = std::max(newest_[client.group], place);
    ++messages_;
    const double microseconds = std::max(1.0, static_cast<double>(now - at) / 1000);
    ++latency_[static_cast<int>(std::log(microseconds) / std::log(1.1))];
  }

  // A connection that cannot be made, or has ended. One that worked is replaced at once.
  void Fail(std::size_t index, int error) {
    Client& client = clients_[index];
    close(client.fd);
    client.fd = -1;
    client.unread.clear();
    if (client.open) {
      client.open = false;
      --open_;
      client.tried = 0;
      client.address = 0;
      return Connect(index);
    }
    ++failed_[client.address][error];
    client.address = (client.address + 1) % addresses_.size();
    if (++client.tried < addresses_.size()) return Connect(index);
    client.tried = 0;
    timers_.push({Now() + client.pause * kSecond, index, client.connection});
    client.pause = std::min<std::int64_t>(2 * client.pause, 300);
  }

  void OnTimer(const Timer& timer) {
    Client& client = clients_[timer.client];
    if (client.connection != timer.connection) return;
    if (client.fd < 0) return Connect(timer.client);
    const std::int64_t age = std::min<std::int64_t>((Now() - born_) / 1'000'000 + kReplayMargin, 60'000);
    Send(client, TextFrame(R"({"command":"replay","data":{"age":)" + std::to_string(age) + "}}"));
  }

  static void Send(Client& client, std::string_view bytes) {
    // A fresh socket takes this much; if not, the connection ends, and its end is read.
    if (send(client.fd, bytes.data(), bytes.size(), MSG_NOSIGNAL) < 0) shutdown(client.fd, SHUT_RDWR);
  }

  void Report() {
    std::printf("{\"t\": %.6f, \"open\": %zu, \"messages\": %zu, \"missing\": %zu, \"failed\": [",
                static_cast<double>(Now()) / kSecond, open_, messages_, Missing());
    for (std::size_t i = 0; i < failed_.size(); ++i) {
      std::printf("%s[", i == 0 ? "" : ", ");
      const char* comma = "";
      for (const auto& [error, count] : failed_[i]) {
        std::printf("%s[%d, %zu]", comma, error, count);
        comma = ", ";
      }
      std::printf("]");
    }
    std::printf("], \"latency\": {");
    const char* comma = "";
    for (const auto& [bucket, count] : latency_) {
      std::printf("%s\"%d\": %zu", comma, bucket, count);
      comma = ", ";
    }
    std::printf("}}\n");
    std::fflush(stdout);
    messages_ = 0;
    latency_.clear();
  }

  std::size_t Missing() const {
    std::size_t missing = 0;
    for (const Client& client : clients_) {
      for (std::size_t n = client.first; n <= newest_[client.group]; ++n) missing += !client.seen[n];
    }
    return missing;
  }

  void ReportMissing() {
    std::size_t opened = 0;
    for (const Client& client : clients_) opened += client.opened_once;
    std::printf("{\"missing\": %zu, \"clients\": %zu}\n", Missing(), opened);
    std::fflush(stdout);
  }

  std::vector<sockaddr_in> from_;
  std::vector<sockaddr_in> addresses_;
  std::vector<std::map<int, std::size_t>> failed_;
  std::vector<std::size_t> newest_;  // by group
  std::vector<Client> clients_;
  std::priority_queue<Timer> timers_;
  int epoll_;
  std::int64_t born_;
  bool ended_ = false;
  std::size_t open_ = 0;
  std::size_t messages_ = 0;
  std::map<int, std::size_t> latency_;
  char buffer_[64 * 1024];
};

// ADDRESS or ADDRESS:PORT.
sockaddr_in ParseAddress(const std::string& text) {
  sockaddr_in address{};
  const std::size_t colon = text.find(':');
  address.sin_family = AF_INET;
  if (colon != std::string::npos) {
    address.sin_port = htons(static_cast<std::uint16_t>(std::atoi(text.c_str() + colon + 1)));
  }
  if (inet_pton(AF_INET, text.substr(0, colon).c_str(), &address.sin_addr) != 1) {
    std::fprintf(stderr, "%s is no address\n", text.c_str());
    std::exit(64);
  }
  return address;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) {
    std::fprintf(stderr, "usage: herd CLIENTS GROUPS FROM[,FROM...] ADDRESS:PORT...\n");
    return 64;
  }
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  std::vector<sockaddr_in> from;
  std::istringstream list(argv[3]);
  for (std::string each; std::getline(list, each, ',');) from.push_back(ParseAddress(each));
  std::vector<sockaddr_in> addresses;
  for (int i = 4; i < argc; ++i) addresses.push_back(ParseAddress(argv[i]));
  // On the heap: the bits of all clients are megabytes.
  std::make_unique<Herd>(std::strtoull(argv[1], nullptr, 10), std::strtoull(argv[2], nullptr, 10), std::move(from),
                         std::move(addresses))
      ->Run();
}
