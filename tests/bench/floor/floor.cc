// The least that a server can do: what no notification server in user space can do without.
//
// Takes WebSocket clients on one port and publishes over HTTP on another, and sends one frame, made once, to each
// descriptor that matches, with one send() for each delivery. It keeps a descriptor and a list entry for each client.
// It is no server for anything but the benchmark: requests must arrive in one piece, and nothing has a bound.
//
//   aphlict-floor             one send() for each delivery
//   aphlict-floor --gather    what a turn of the loop has for a client leaves in one writev()
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/sha.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace {

enum class Role : std::uint8_t { kNone, kClientListener, kPublishListener, kHandshake, kClient, kPublisher };

struct Socket {
  Role role = Role::kNone;
  std::int32_t group = -1;  // the first that it subscribed to
};

struct Floor {
  bool gather = false;
  int epoll = -1;
  std::vector<Socket> sockets;           // by descriptor
  std::vector<std::vector<int>> groups;  // descriptors
  std::unordered_map<std::string, std::int32_t> group_of_phid;
  std::unordered_multimap<int, std::int32_t> more_groups;  // of the few that have more than one
  struct Pending {
    std::int32_t group;
    std::string frame;
    int publisher;
  };
  std::vector<Pending> pending;         // of this turn, when gathering
  std::vector<std::int32_t> addressed;  // by the message that is being published
  std::vector<int> dead;                // closed after a fan-out
  std::array<char, 1 << 16> buffer{};
};

[[noreturn]] void Die(const char* what) {
  std::perror(what);
  std::exit(71);
}

std::string Base64(const unsigned char* data, std::size_t size) {
  static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < size; i += 3) {
    const std::uint32_t bits = data[i] << 16 | (i + 1 < size ? data[i + 1] << 8 : 0) | (i + 2 < size ? data[i + 2] : 0);
    text += kDigits[bits >> 18 & 63];
    text += kDigits[bits >> 12 & 63];
    text += i + 1 < size ? kDigits[bits >> 6 & 63] : '=';
    text += i + 2 < size ? kDigits[bits & 63] : '=';
  }
  return text;
}

void Listen(Floor& floor, Role role, const char* type) {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  if (bind(listener, reinterpret_cast<sockaddr*>(&address), length) != 0 || listen(listener, 4096) != 0) Die("listen");
  getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length);
  std::fprintf(stderr, "event=listening type=%s address=127.0.0.1:%d\n", type, ntohs(address.sin_port));
  floor.sockets.resize(std::max<std::size_t>(floor.sockets.size(), listener + 1));
  floor.sockets[listener].role = role;
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = listener;
  epoll_ctl(floor.epoll, EPOLL_CTL_ADD, listener, &event);
}

void LeaveGroup(Floor& floor, int descriptor, std::int32_t group) {
  auto& members = floor.groups[group];
  const auto found = std::find(members.begin(), members.end(), descriptor);
  if (found == members.end()) return;
  *found = members.back();
  members.pop_back();
}

void Close(Floor& floor, int descriptor) {
  Socket& socket = floor.sockets[descriptor];
  if (socket.group >= 0) LeaveGroup(floor, descriptor, socket.group);
  const auto [begin, end] = floor.more_groups.equal_range(descriptor);
  for (auto each = begin; each != end; ++each) LeaveGroup(floor, descriptor, each->second);
  floor.more_groups.erase(begin, end);
  socket = {};
  close(descriptor);
}

void Accept(Floor& floor, int listener, Role role) {
  for (;;) {
    const int descriptor = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (descriptor < 0) return;
    if (static_cast<std::size_t>(descriptor) >= floor.sockets.size()) floor.sockets.resize(descriptor + 1);
    floor.sockets[descriptor] = {role, -1};
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = descriptor;
    epoll_ctl(floor.epoll, EPOLL_CTL_ADD, descriptor, &event);
  }
}

void Send(int descriptor, std::string_view bytes) { send(descriptor, bytes.data(), bytes.size(), MSG_NOSIGNAL); }

void Handshake(Floor& floor, int descriptor, std::string_view request) {
  static constexpr std::string_view kField = "Sec-WebSocket-Key: ";
  const std::size_t at = request.find(kField);
  if (at == std::string_view::npos) return Close(floor, descriptor);
  std::string key(request.substr(at + kField.size(), 24));
  key += "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";  // RFC 6455 section 1.3
  unsigned char hash[SHA_DIGEST_LENGTH];
  SHA1(reinterpret_cast<const unsigned char*>(key.data()), key.size(), hash);
  Send(descriptor,
       "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
       "Sec-WebSocket-Accept: " +
           Base64(hash, sizeof(hash)) + "\r\n\r\n");
  floor.sockets[descriptor].role = Role::kClient;
}

void Subscribe(Floor& floor, int descriptor, std::string_view phid) {
  const auto [found, added] =
      floor.group_of_phid.try_emplace(std::string(phid), static_cast<std::int32_t>(floor.groups.size()));
  if (added) floor.groups.emplace_back();
  floor.groups[found->second].push_back(descriptor);
  Socket& socket = floor.sockets[descriptor];
  if (socket.group < 0) {
    socket.group = found->second;
  } else {
    floor.more_groups.emplace(descriptor, found->second);
  }
}

// Calls `each` with every text of a JSON list of texts without escapes that begins at `at`.
template <class Each>
void ForEachText(std::string_view json, std::size_t at, Each each) {
  for (;;) {
    const std::size_t begin = json.find_first_of("\"]", at);
    if (begin == std::string_view::npos || json[begin] == ']') return;
    const std::size_t end = json.find('"', begin + 1);
    if (end == std::string_view::npos) return;
    each(json.substr(begin + 1, end - begin - 1));
    at = end + 1;
  }
}

void OnCommand(Floor& floor, int descriptor, std::string_view command) {
  static constexpr std::string_view kPongFrame = "\x81\x0f{\"type\":\"pong\"}";
  static constexpr std::string_view kData = "\"data\":[";
  if (command.find("\"ping\"") != std::string_view::npos) return Send(descriptor, kPongFrame);
  const std::size_t data = command.find(kData);
  if (data == std::string_view::npos) return;
  ForEachText(command, data + kData.size(), [&](std::string_view phid) { Subscribe(floor, descriptor, phid); });
}

void OnFrames(Floor& floor, int descriptor, char* data, std::size_t size) {
  while (size >= 6) {
    auto* bytes = reinterpret_cast<unsigned char*>(data);
    std::size_t head = 6;
    std::size_t length = bytes[1] & 0x7f;
    if (length == 126) {
      length = bytes[2] << 8 | bytes[3];
      head = 8;
    }
    if ((bytes[1] & 0x7f) == 127 || size < head + length) break;
    for (std::size_t i = 0; i < length; ++i) bytes[head + i] ^= bytes[head - 4 + i % 4];
    if ((bytes[0] & 0x0f) == 1) OnCommand(floor, descriptor, {data + head, length});
    data += head + length;
    size -= head + length;
  }
}

std::string TextFrame(std::string_view payload) {
  std::string frame = "\x81";
  if (payload.size() < 126) {
    frame += static_cast<char>(payload.size());
  } else {
    frame += static_cast<char>(126);
    frame += static_cast<char>(payload.size() >> 8);
    frame += static_cast<char>(payload.size() & 0xff);
  }
  return frame.append(payload);
}

void Answer(int publisher) {
  Send(publisher,
       "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 34\r\n\r\n"
       "{\"fingerprint\":\"0123456789abcdef\"}");
}

void FanOut(Floor& floor, std::int32_t group, std::string_view frame) {
  for (const int descriptor : floor.groups[group]) {
    if (send(descriptor, frame.data(), frame.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(frame.size())) {
      floor.dead.push_back(descriptor);
    }
  }
}

void OnPublish(Floor& floor, int publisher, std::string_view body) {
  static constexpr std::string_view kSubscribers = "\"subscribers\":[";
  const std::size_t at = body.find(kSubscribers);
  floor.addressed.clear();
  if (at != std::string_view::npos) {
    ForEachText(body, at + kSubscribers.size(), [&](std::string_view phid) {
      const auto found = floor.group_of_phid.find(std::string(phid));
      if (found != floor.group_of_phid.end()) floor.addressed.push_back(found->second);
    });
  }
  if (floor.addressed.empty()) return Answer(publisher);
  const std::string frame = TextFrame(body);
  if (floor.gather) {  // where messages have one group each
    floor.pending.push_back({floor.addressed.front(), frame, publisher});
    return;
  }
  for (const std::int32_t group : floor.addressed) FanOut(floor, group, frame);
  Answer(publisher);
}

void OnRequest(Floor& floor, int publisher, std::string_view request) {
  static constexpr std::string_view kLength = "Content-Length: ";
  const std::size_t end = request.find("\r\n\r\n");
  if (end == std::string_view::npos) return Close(floor, publisher);
  const std::string_view head = request.substr(0, end);
  const std::size_t length_at = head.find(kLength);
  if (length_at == std::string_view::npos) return Close(floor, publisher);
  const std::size_t length = std::strtoul(head.data() + length_at + kLength.size(), nullptr, 10);
  if (request.size() < end + 4 + length) return Close(floor, publisher);
  OnPublish(floor, publisher, request.substr(end + 4, length));
  if (head.find("Connection: close") != std::string_view::npos) Close(floor, publisher);
}

void EndTurn(Floor& floor) {
  // Messages of one group that follow each other leave together; more would be more than a floor.
  for (std::size_t first = 0; first < floor.pending.size();) {
    std::array<iovec, 64> vectors{};
    std::size_t count = 0;
    std::size_t total = 0;
    const std::int32_t group = floor.pending[first].group;
    while (first + count < floor.pending.size() && count < vectors.size() &&
           floor.pending[first + count].group == group) {
      std::string& frame = floor.pending[first + count].frame;
      vectors[count++] = {frame.data(), frame.size()};
      total += frame.size();
    }
    for (const int descriptor : floor.groups[group]) {
      if (writev(descriptor, vectors.data(), static_cast<int>(count)) != static_cast<ssize_t>(total)) {
        floor.dead.push_back(descriptor);
      }
    }
    first += count;
  }
  for (const auto& each : floor.pending) Answer(each.publisher);
  floor.pending.clear();
  for (const int descriptor : floor.dead) {
    if (floor.sockets[descriptor].role == Role::kClient) Close(floor, descriptor);
  }
  floor.dead.clear();
}

void OnReadable(Floor& floor, int descriptor) {
  const Role role = floor.sockets[descriptor].role;
  if (role == Role::kClientListener) return Accept(floor, descriptor, Role::kHandshake);
  if (role == Role::kPublishListener) return Accept(floor, descriptor, Role::kPublisher);
  if (role == Role::kNone) return;
  const ssize_t got = recv(descriptor, floor.buffer.data(), floor.buffer.size(), 0);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) return Close(floor, descriptor);
  const std::string_view bytes(floor.buffer.data(), static_cast<std::size_t>(got));
  if (role == Role::kHandshake) return Handshake(floor, descriptor, bytes);
  if (role == Role::kPublisher) return OnRequest(floor, descriptor, bytes);
  OnFrames(floor, descriptor, floor.buffer.data(), bytes.size());
}

}  // namespace

int main(int argc, char** argv) {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  static Floor floor;
  floor.gather = argc > 1 && std::strcmp(argv[1], "--gather") == 0;
  floor.epoll = epoll_create1(EPOLL_CLOEXEC);
  Listen(floor, Role::kClientListener, "client");
  Listen(floor, Role::kPublishListener, "admin");
  std::array<epoll_event, 1024> events{};
  for (;;) {
    const int count = epoll_wait(floor.epoll, events.data(), static_cast<int>(events.size()), -1);
    if (count < 0 && errno != EINTR) Die("epoll_wait");
    for (int i = 0; i < count; ++i) OnReadable(floor, events[i].data.fd);
    if (!floor.pending.empty() || !floor.dead.empty()) EndTurn(floor);
  }
}
