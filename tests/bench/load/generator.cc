#include "tests/bench/load/generator.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstring>

namespace aphlict::bench {

namespace {

constexpr std::size_t kBufferBytes = 256 * 1024;
constexpr std::uint64_t kPublisherToken = std::uint64_t{1} << 32;
constexpr Nanoseconds kSecond = 1'000'000'000;
constexpr Nanoseconds kPatience = 5 * kSecond;  // without any progress, what is missing is lost

constexpr std::string_view kPong = R"({"type":"pong"})";
constexpr std::string_view kPing = R"({"command":"ping"})";
// RFC 6455 section 1.3: this key must be answered so.
constexpr const char* kKey = "dGhlIHNhbXBsZSBub25jZQ==";
constexpr const char* kAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

enum Opcode : unsigned char { kText = 1, kBinary = 2, kClose = 8, kPingFrame = 9, kPongFrame = 10 };

std::string MaskedFrame(Opcode opcode, std::string_view payload) {
  static constexpr unsigned char kMask[4] = {0x12, 0x34, 0x56, 0x78};
  std::string frame(1, static_cast<char>(0x80 | opcode));
  if (payload.size() < 126) {
    frame += static_cast<char>(0x80 | payload.size());
  } else if (payload.size() < 65536) {
    frame += static_cast<char>(0x80 | 126);
    frame += static_cast<char>(payload.size() >> 8);
    frame += static_cast<char>(payload.size() & 0xff);
  } else {
    frame += static_cast<char>(0x80 | 127);
    for (int shift = 56; shift >= 0; shift -= 8) frame += static_cast<char>((payload.size() >> shift) & 0xff);
  }
  frame.append(reinterpret_cast<const char*>(kMask), sizeof(kMask));
  for (std::size_t i = 0; i < payload.size(); ++i) {
    frame += static_cast<char>(static_cast<unsigned char>(payload[i]) ^ kMask[i % 4]);
  }
  return frame;
}

std::string Replace(std::string text, const std::string& from, const std::string& to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) {
    text.replace(at, from.size(), to);
  }
  return text;
}

std::string Format(const char* format, ...) __attribute__((format(printf, 1, 2)));
std::string Format(const char* format, ...) {
  char text[2048];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  return text;
}

std::string Escape(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '"' || c == '\\') escaped += '\\';
    escaped += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return escaped;
}

// "name":{"p50":…,"p99":…,"max":…}, in microseconds.
std::string Percentiles(const char* name, std::vector<float>& values) {
  if (values.empty()) return Format("\"%s\":null", name);
  std::sort(values.begin(), values.end());
  const auto at = [&](double part) {
    return static_cast<double>(values[static_cast<std::size_t>(part * static_cast<double>(values.size() - 1))]);
  };
  return Format(R"("%s":{"p50":%.1f,"p99":%.1f,"max":%.1f})", name, at(0.5), at(0.99), at(1));
}

double OwnCpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

double Seconds(Nanoseconds time) { return 1e-9 * static_cast<double>(time); }

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

// --- clients -------------------------------------------------------------------------------------------------

std::string Generator::Connect(const Options& options) {
  Population population;
  population.address = options.Text("address", "");
  population.path = options.Text("path", "/");
  population.subscribe = options.Text("subscribe", "");
  population.sync = options.Count("sync", 0) != 0;
  population.feed = options.Text("kind", "page") == "feed";
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
  const double seconds = OpenClients(options.Count("at_once", count), options.Number("timeout", 120));
  return Format(R"("connected":%u,"seconds":%.6f)", count, seconds);
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

double Generator::OpenClients(std::uint32_t at_once, double timeout) {
  const Nanoseconds start = Now();
  const Nanoseconds deadline = start + static_cast<Nanoseconds>(timeout * 1e9);
  opening_ = 0;
  std::uint32_t next = 0;
  do {
    // Some at a time between looks at the others, so that answers are not left waiting.
    for (int burst = 0; burst < 64 && next < clients_.size() && opening_ < at_once; ++next) {
      if (clients_[next].state != State::kClosed) continue;
      StartClient(next);
      ++burst;
    }
    const bool more = next < clients_.size() && opening_ < at_once;
    if (opening_ > 0) {
      poller_.Turn(more ? 0 : std::min(deadline, Now() + kSecond),
                   [this](std::uint64_t token, bool writable) { OnEvent(token, writable); });
    }
    if (wrongs_.closed > 0) throw Failure("a client was not let in: " + wrongs_.first_problem);
    if (Now() > deadline) throw Failure(Format("%u clients are not connected after %.0f s", opening_, timeout));
  } while (opening_ > 0 || next < clients_.size());
  return Seconds(Now() - start);
}

void Generator::StartClient(std::uint32_t index) {
  Client& client = clients_[index];
  const Population& population = populations_[client.population];
  client.descriptor = StartConnecting(population.address, index);
  if (population.receive_buffer > 0) {
    const int bytes = static_cast<int>(population.receive_buffer);
    setsockopt(client.descriptor, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
  }
  client.state = State::kConnecting;
  client.unread.clear();
  ++opening_;
  poller_.Watch(client.descriptor, index);
}

void Generator::CloseClient(std::uint32_t index) {
  Client& client = clients_[index];
  if (client.state == State::kClosed) return;
  if (client.state == State::kOpen) {
    if (!client.stalled) --order_of(client).clients;
    if (populations_[client.population].feed) --followers_;
  } else {
    --opening_;
  }
  CloseByReset(client.descriptor);
  client.descriptor = -1;
  client.state = State::kClosed;
}

void Generator::LoseClient(std::uint32_t index, const std::string& why) {
  if (clients_[index].stalled) {
    CloseClient(index);  // that the server closes it is what it is there for
    return;
  }
  Problem(&Wrongs::closed, Format("client %u: ", index) + why);
  CloseClient(index);
}

void Generator::SendHandshake(Client& client) {
  const Population& population = populations_[client.population];
  const std::string request =
      "GET " + Replace(population.path, "%G", GroupPhid(client.group)) + " HTTP/1.1\r\nHost: " + population.address +
      "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" + "Sec-WebSocket-Key: " + kKey +
      "\r\n" + (population.feed ? "Sec-WebSocket-Protocol: aphlict-relay.v1\r\n" : "") + "\r\n";
  send(client.descriptor, request.data(), request.size(), MSG_NOSIGNAL);
  client.state = State::kHandshake;
}

void Generator::SendSubscribe(Client& client, std::uint32_t index) {
  const Population& population = populations_[client.population];
  client.state = State::kSubscribing;
  if (population.feed) {
    const std::string hello = Format(
        R"({"type":"hello","node":"load%012u","name":"load","version":"0","url":"","resumes":false,"cursor":{}})",
        index);
    const std::string frame = MaskedFrame(kText, hello);
    send(client.descriptor, frame.data(), frame.size(), MSG_NOSIGNAL);
    return;  // open when it is live
  }
  std::string frames;
  if (!population.subscribe.empty()) {
    std::string phids = "\"" + GroupPhid(client.group) + "\"";
    for (std::uint32_t i = 0; i < population.extra; ++i) {
      phids += ",\"" + UnusedPhid(std::uint64_t{index} * 100'000 + i) + "\"";
    }
    frames += MaskedFrame(kText, Replace(population.subscribe, "%P", phids));
  }
  if (population.sync) frames += MaskedFrame(kText, kPing);
  // A page sends them one right after the other; they fit into any send buffer.
  if (!frames.empty()) send(client.descriptor, frames.data(), frames.size(), MSG_NOSIGNAL);
}

void Generator::Opened(Client& client) {
  client.state = State::kOpen;
  --opening_;
  Order& order = order_of(client);
  client.next = static_cast<std::uint32_t>(order.sequences.size());
  if (client.stalled) {
    poller_.Forget(client.descriptor);
  } else {
    ++order.clients;
  }
}

// What followers say each second, in as few bytes as the protocol lets them.
void Generator::SendStatuses() {
  if (followers_ == 0 || Now() < next_status_) return;
  next_status_ = Now() + kSecond;
  static const std::string frame = MaskedFrame(kText, R"({"type":"status","nodes":[],"gone":[]})");
  for (const Client& client : clients_) {
    if (client.state == State::kOpen && populations_[client.population].feed) {
      send(client.descriptor, frame.data(), frame.size(), MSG_NOSIGNAL);
    }
  }
}

void Generator::OnEvent(std::uint64_t token, bool writable) {
  if (token >= kPublisherToken) {
    OnPublisher(static_cast<std::uint32_t>(token - kPublisherToken), writable);
  } else {
    OnClient(static_cast<std::uint32_t>(token), writable);
  }
}

void Generator::OnClient(std::uint32_t index, bool writable) {
  Client& client = clients_[index];
  if (client.state == State::kClosed) return;
  if (client.state == State::kConnecting) {
    int error = 0;
    socklen_t length = sizeof(error);
    getsockopt(client.descriptor, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0) return LoseClient(index, std::string("connect: ") + std::strerror(error));
    if (writable) SendHandshake(client);
    return;
  }
  for (;;) {
    const ssize_t got = recv(client.descriptor, buffer_.get(), kBufferBytes, 0);
    if (got > 0) {
      OnClientBytes(index, buffer_.get(), static_cast<std::size_t>(got));
      if (client.state == State::kClosed) return;
      if (static_cast<std::size_t>(got) < kBufferBytes) return;  // there was no more
      continue;
    }
    if (got == 0) return LoseClient(index, "the server ended the connection");
    if (errno == EINTR) continue;
    if (errno != EAGAIN) LoseClient(index, std::string("read: ") + std::strerror(errno));
    return;
  }
}

void Generator::OnClientBytes(std::uint32_t index, const char* data, std::size_t size) {
  Client& client = clients_[index];
  if (client.state >= State::kSubscribing && client.unread.empty()) {
    const std::size_t used = OnFrames(index, data, size);
    if (client.state != State::kClosed) client.unread.assign(data + used, size - used);
    return;
  }
  client.unread.append(data, size);
  if (client.state == State::kHandshake) {
    const std::size_t end = client.unread.find("\r\n\r\n");
    if (end == std::string::npos) return;
    if (client.unread.compare(0, 12, "HTTP/1.1 101") != 0 || client.unread.find(kAccept) == std::string::npos) {
      return LoseClient(index, "the handshake was answered " + client.unread.substr(0, client.unread.find('\r')));
    }
    client.unread.erase(0, end + 4);
    SendSubscribe(client, index);
    if (!populations_[client.population].feed && !populations_[client.population].sync) {
      Opened(client);
    }
    if (client.unread.empty()) return;
  }
  std::string bytes = std::move(client.unread);
  client.unread.clear();
  const std::size_t used = OnFrames(index, bytes.data(), bytes.size());
  if (client.state != State::kClosed) client.unread = bytes.substr(used);
}

std::size_t Generator::OnFrames(std::uint32_t index, const char* data, std::size_t size) {
  Client& client = clients_[index];
  const Wire& wire = populations_[client.population].wire;
  std::size_t used = 0;
  while (used < size) {
    const char* at = data + used;
    const std::size_t left = size - used;
    if (wire.frame_bytes > 0 && left >= wire.frame_bytes && std::memcmp(at, wire.head.data(), wire.head_bytes) == 0) {
      Deliver(client, at + wire.body_at, wire.body_compared);
      used += wire.frame_bytes;
      continue;
    }
    const std::size_t taken = OnOtherFrame(index, at, left);
    if (taken == 0 || client.state == State::kClosed) break;
    used += taken;
  }
  return used;
}

// Any frame that is not one of a known message's length. Returns 0 if it is not there yet as a whole.
std::size_t Generator::OnOtherFrame(std::uint32_t index, const char* data, std::size_t size) {
  Client& client = clients_[index];
  Population& population = populations_[client.population];
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(data[i]); };
  if (size < 2) return 0;
  std::size_t head_bytes = 2;
  std::size_t payload_bytes = byte(1) & 0x7f;
  if (payload_bytes >= 126) {
    const std::size_t digits = payload_bytes == 126 ? 2 : 8;
    if (size < 2 + digits) return 0;
    payload_bytes = 0;
    for (std::size_t i = 0; i < digits; ++i) payload_bytes = payload_bytes << 8 | byte(2 + i);
    head_bytes += digits;
  }
  const std::size_t frame_bytes = head_bytes + payload_bytes;
  if (size < frame_bytes) return 0;
  const std::string_view payload(data + head_bytes, payload_bytes);
  switch (byte(0) & 0x0f) {
    case kPingFrame: {
      const std::string pong = MaskedFrame(kPongFrame, payload);
      send(client.descriptor, pong.data(), pong.size(), MSG_NOSIGNAL);
      return frame_bytes;
    }
    case kPongFrame:
      return frame_bytes;
    case kClose:
      LoseClient(index, "the server closed: " + std::string(payload.substr(std::min<std::size_t>(2, payload.size()))));
      return frame_bytes;
    default:
      break;
  }
  const bool opens = client.state == State::kSubscribing;
  if (population.feed && (byte(0) & 0x0f) == kText) {
    if (opens && payload.find(R"("heartbeat")") != std::string_view::npos &&
        payload.find(R"("live":true)") != std::string_view::npos) {
      Opened(client);
      ++followers_;
    }
    return frame_bytes;
  }
  if (payload == kPong) {
    ++pongs_;
    last_progress_ = Now();
    if (!opens) return frame_bytes;
    Opened(client);
    return frame_bytes;
  }
  if (!template_ || opens) {
    // A follower is first sent what the history holds.
    if (!population.feed) Problem(&Wrongs::garbled, "a message before anything was published");
    return frame_bytes;
  }
  if (Learn(population.wire, data, head_bytes, frame_bytes)) {
    Deliver(client, data + population.wire.body_at, population.wire.body_compared);
  } else {
    Problem(&Wrongs::garbled, "an unknown frame: " + std::string(payload.substr(0, 100)));
  }
  return frame_bytes;
}

bool Generator::Learn(Wire& wire, const char* frame, std::size_t head_bytes, std::size_t size) {
  const std::string_view text(frame, size);
  const std::size_t at = text.find(template_->beginning(), head_bytes);
  if (at == std::string_view::npos) return false;
  const auto sequence = template_->SequenceOf(frame + at, size - at);
  if (!sequence || *sequence < first_sequence_ || *sequence >= next_sequence_) return false;
  const Message& message = messages_[*sequence - first_sequence_];
  std::size_t same = 0;
  while (same < message.body.size() && at + same < size && message.body[same] == frame[at + same]) ++same;
  // A peer that writes messages anew may add something behind what was published, and nothing else.
  if (same + 1 < message.body.size()) return false;
  wire = {size, head_bytes, at, same, std::string(frame, head_bytes)};
  return true;
}

void Generator::Deliver(Client& client, const char* body, std::size_t compared) {
  Order& order = order_of(client);
  if (client.next < order.sequences.size()) {
    Message& message = messages_[order.sequences[client.next] - first_sequence_];
    if (message.pending > 0 && std::memcmp(body, message.body.data(), compared) == 0) {
      ++client.next;
      return Count(message);
    }
  }
  DeliverUnexpected(client, body, compared);
}

// The first client that gets a message says what its place is in the order; whatever else comes here is wrong.
void Generator::DeliverUnexpected(Client& client, const char* body, std::size_t available) {
  Order& order = order_of(client);
  const auto sequence = template_->SequenceOf(body, available);
  if (!sequence || *sequence < first_sequence_ || *sequence >= next_sequence_) {
    return Problem(&Wrongs::garbled, "a message that was not published in this run");
  }
  Message& message = messages_[*sequence - first_sequence_];
  if (!populations_[client.population].feed && message.group != client.group) {
    return Problem(&Wrongs::misdelivered,
                   Format("message %u for group %u reached one of group %u", *sequence, message.group, client.group));
  }
  const auto begin = order.sequences.begin();
  const auto known = std::find(begin, order.sequences.end(), *sequence);
  if (known != order.sequences.end()) {
    const auto place = static_cast<std::uint32_t>(known - begin);
    if (place < client.next) {
      const auto skipped =
          std::find(skipped_.begin(), skipped_.end(), std::pair<const Client*, std::uint32_t>(&client, *sequence));
      if (skipped == skipped_.end()) return Problem(&Wrongs::repeated, Format("message %u came again", *sequence));
      skipped_.erase(skipped);
      return Count(message);
    }
    if (place > client.next) {
      SkipTo(client, place, *sequence);
      return Count(message);
    }
    return Problem(&Wrongs::garbled, Format("message %u differs from what was published", *sequence));
  }
  const auto place = static_cast<std::uint32_t>(order.sequences.size());
  if (client.next < place) SkipTo(client, place, *sequence);
  if (std::memcmp(body, message.body.data(), available) != 0) {
    return Problem(&Wrongs::garbled, Format("message %u differs from what was published", *sequence));
  }
  // Messages that were in flight at once have no order of their own; one that was sent after another's answer does.
  if (message.answered && order.newest_sent > message.answered_at) {
    Problem(&Wrongs::disordered, Format("message %u came after one that was published after it", *sequence));
  }
  order.newest_sent = std::max(order.newest_sent, message.sent);
  order.sequences.push_back(*sequence);
  client.next = place + 1;
  Count(message);
}

void Generator::SkipTo(Client& client, std::uint32_t place, std::uint32_t sequence) {
  const Order& order = order_of(client);
  Problem(&Wrongs::disordered, Format("message %u came before %u", sequence, order.sequences[client.next]));
  for (; client.next < place; ++client.next) skipped_.emplace_back(&client, order.sequences[client.next]);
  client.next = place + 1;
}

void Generator::Count(Message& message) {
  ++deliveries_;
  if (--message.pending > 0) return;
  last_progress_ = Now();
  latencies_.push_back(static_cast<float>(last_progress_ - message.due) * 1e-3f);
  FinishIfDone(message);
}

void Generator::FinishIfDone(Message& message) {
  if (!finished(message)) return;
  --unfinished_;
  spare_bodies_.push_back(std::move(message.body));
}

// --- publishers ----------------------------------------------------------------------------------------------

void Generator::OpenPublisher(std::uint32_t index) {
  Publisher& publisher = publishers_[index];
  publisher.descriptor = StartConnecting(publish_address_, publisher_source_++);
  publisher.unread.clear();
  poller_.Watch(publisher.descriptor, kPublisherToken + index);
}

void Generator::StartPublish(std::uint32_t index, std::uint32_t group, Nanoseconds due) {
  Publisher& publisher = publishers_[index];
  Message message;
  message.group = group;
  message.pending = groups_.empty() ? 0 : groups_[group].clients;
  message.pending += feed_.clients;
  if (!spare_bodies_.empty()) {
    message.body = std::move(spare_bodies_.back());
    spare_bodies_.pop_back();
  }
  template_->Make(next_sequence_, group, &message.body);
  publisher.message = next_sequence_++;
  publisher.request =
      "POST " + Replace(publish_path_, "%G", GroupPhid(group)) + " HTTP/1.1\r\nHost: " + publish_address_ +
      "\r\nContent-Type: application/x-www-form-urlencoded\r\n" + (reconnect_ ? "Connection: close\r\n" : "") +
      "Content-Length: " + std::to_string(message.body.size()) + "\r\n\r\n" + message.body;
  message.due = due;
  ++unfinished_;
  if (publisher.descriptor < 0) {
    message.sent = Now();
    if (message.due == 0) message.due = message.sent;
    messages_.push_back(std::move(message));
    publisher.step = Step::kConnecting;
    OpenPublisher(index);
    return;
  }
  publisher.step = Step::kAnswer;
  message.sent = Now();
  if (message.due == 0) message.due = message.sent;
  messages_.push_back(std::move(message));
  send(publisher.descriptor, publisher.request.data(), publisher.request.size(), MSG_NOSIGNAL);
}

void Generator::OnPublisher(std::uint32_t index, bool writable) {
  Publisher& publisher = publishers_[index];
  if (publisher.descriptor < 0) return;
  if (publisher.step == Step::kConnecting) {
    int error = 0;
    socklen_t length = sizeof(error);
    getsockopt(publisher.descriptor, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0) throw Failure(std::string("a publisher cannot connect: ") + std::strerror(error));
    if (!writable) return;
    publisher.step = Step::kAnswer;
    send(publisher.descriptor, publisher.request.data(), publisher.request.size(), MSG_NOSIGNAL);
    return;
  }
  for (;;) {
    char bytes[16384];
    const ssize_t got = recv(publisher.descriptor, bytes, sizeof(bytes), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
      CloseByReset(publisher.descriptor);
      publisher.descriptor = -1;
      if (publisher.step == Step::kAnswer) Answered(index, false, true);
      return;
    }
    publisher.unread.append(bytes, static_cast<std::size_t>(got));
    const std::size_t head_end = publisher.unread.find("\r\n\r\n");
    if (head_end == std::string::npos) continue;
    std::string head = publisher.unread.substr(0, head_end + 2);
    std::transform(head.begin(), head.end(), head.begin(), [](unsigned char c) { return std::tolower(c); });
    std::size_t end = head_end + 4;
    if (const std::size_t length = head.find("\r\ncontent-length:"); length != std::string::npos) {
      end += std::strtoul(head.c_str() + length + 17, nullptr, 10);
    } else if (head.find("\r\ntransfer-encoding: chunked") != std::string::npos) {
      const std::size_t last = publisher.unread.find("0\r\n\r\n", end - 2);
      end = last == std::string::npos ? std::string::npos : last + 5;
    }
    if (publisher.unread.size() < end) continue;
    publisher.unread.erase(0, end);
    Answered(index, head.compare(0, 10, "http/1.1 2") == 0, head.find("\r\nconnection: close") != std::string::npos);
    if (publisher.descriptor < 0) return;
  }
}

void Generator::Answered(std::uint32_t index, bool accepted, bool closes) {
  Publisher& publisher = publishers_[index];
  publisher.step = Step::kIdle;
  if ((closes || reconnect_) && publisher.descriptor >= 0) {
    close(publisher.descriptor);
    publisher.descriptor = -1;
  }
  Message& message = messages_[publisher.message - first_sequence_];
  if (message.answered) return;
  message.answered = true;
  message.answered_at = last_progress_ = Now();
  answers_.push_back(static_cast<float>(message.answered_at - message.sent) * 1e-3f);
  if (!accepted) Problem(&Wrongs::refused, "a publish was not answered 2xx");
  FinishIfDone(message);
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

// --- other things that pages do --------------------------------------------------------------------------------

// Every client pings each `every` seconds, spread evenly.
std::string Generator::Ping(const Options& options) {
  const double rate = static_cast<double>(clients_.size()) / options.Number("every", 15);
  const auto count = static_cast<std::uint32_t>(rate * options.Number("seconds", 10));
  const auto handle = [this](std::uint64_t token, bool writable) { OnEvent(token, writable); };
  const std::string ping = MaskedFrame(kText, kPing);
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
      const Client& client = clients_[sent++ % clients_.size()];
      send(client.descriptor, ping.data(), ping.size(), MSG_NOSIGNAL);
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
