// The generator's clients: how they come, what they say, what they read.
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <deque>
#include <functional>
#include <queue>
#include <random>
#include <utility>
#include <vector>

#include "tests/bench/load/generator.h"
#include "tests/bench/load/text.h"
#include "tests/bench/load/websocket.h"

namespace aphlict::bench {

namespace {

constexpr std::string_view kPongMessage = R"({"type":"pong"})";

}  // namespace

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

double Generator::OpenClientsThatGiveUp(Nanoseconds patience, bool resumes, double timeout) {
  using Due = std::pair<Nanoseconds, std::uint32_t>;
  std::priority_queue<Due, std::vector<Due>, std::greater<>> starts;
  std::deque<Due> ends;  // in order, since all are equally patient
  std::vector<std::uint32_t> failed(clients_.size());
  std::minstd_rand chance(1);
  const Nanoseconds start = Now();
  for (std::uint32_t i = 0; i < clients_.size(); ++i) {
    if (clients_[i].state == State::kClosed) starts.push({start, i});
  }
  opening_ = 0;
  while (!starts.empty() || opening_ > 0) {
    const Nanoseconds now = Now();
    for (; !starts.empty() && starts.top().first <= now; starts.pop()) {
      StartClient(starts.top().second);
      ends.emplace_back(Now() + patience, starts.top().second);
    }
    for (; !ends.empty() && ends.front().first <= now; ends.pop_front()) {
      const std::uint32_t index = ends.front().second;
      if (clients_[index].state == State::kOpen) continue;
      std::uniform_real_distribution<double> pause(0, std::min(30.0, 0.5 * std::exp2(failed[index]++)));
      starts.push({now + static_cast<Nanoseconds>(1e9 * pause(chance)), index});
      ++gave_up_;
      CloseClient(index, /*reset=*/false);
      if (!resumes && clients_[index].tls) clients_[index].tls = std::make_unique<Tls>();
    }
    poller_.Turn(now + kSecond / 100, [this](std::uint64_t token, bool writable) { OnEvent(token, writable); });
    if (wrongs_.closed > 0) throw Failure("a client was not let in: " + wrongs_.first_problem);
    if (Seconds(Now() - start) > timeout) {
      throw Failure(Format("%zu clients are not connected after %.0f s", starts.size() + opening_, timeout));
    }
  }
  return Seconds(Now() - start);
}

void Generator::StartClient(std::uint32_t index) {
  Client& client = clients_[index];
  const Population& population = populations_[client.population];
  const auto addresses = static_cast<std::uint32_t>(population.addresses.size());
  client.descriptor = StartConnecting(population.addresses[index % addresses], index / addresses);
  if (population.receive_buffer > 0) {
    const int bytes = static_cast<int>(population.receive_buffer);
    setsockopt(client.descriptor, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
  }
  client.state = State::kConnecting;
  client.unread.clear();
  ++opening_;
  poller_.Watch(client.descriptor, index);
}

void Generator::CloseClient(std::uint32_t index, bool reset) {
  Client& client = clients_[index];
  if (client.state == State::kClosed) return;
  if (client.state == State::kOpen) {
    CountReader(client, -1);
    if (populations_[client.population].reports) --reporters_;
  } else {
    --opening_;
  }
  if (client.tls) client.tls->Stop();
  if (reset) {
    CloseByReset(client.descriptor);
  } else {
    close(client.descriptor);
  }
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

void Generator::Send(Client& client, std::string_view bytes) {
  if (client.tls) return client.tls->Send(bytes);
  send(client.descriptor, bytes.data(), bytes.size(), MSG_NOSIGNAL);
}

void Generator::SendHandshake(Client& client) {
  const Population& population = populations_[client.population];
  const std::string request = "GET " + Replace(population.path, "%G", GroupPhid(client.group)) +
                              " HTTP/1.1\r\nHost: " + population.addresses.front() +
                              "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
                              "Sec-WebSocket-Key: " + kHandshakeKey + "\r\n" +
                              (population.feed ? "Sec-WebSocket-Protocol: aphlict-relay.v1\r\n" : "") + "\r\n";
  Send(client, request);
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
    Send(client, frame);
    return;  // open when it is live
  }
  std::string frames;
  if (!population.subscribe.empty()) {
    const std::string phid = population.own ? MemberPhid(client.group, client.member) : GroupPhid(client.group);
    std::string phids = Format(R"("%s")", phid.c_str());
    if (population.everyone) phids += Format(R"(,"%s")", GroupPhid(kEveryone).c_str());
    for (std::uint32_t i = 0; i < population.extra; ++i) {
      phids += Format(R"(,"%s")", UnusedPhid(std::uint64_t{index} * 100'000 + i).c_str());
    }
    frames += MaskedFrame(kText, Replace(population.subscribe, "%P", phids));
  }
  if (population.sync) frames += MaskedFrame(kText, kPingCommand);
  // A page sends them one right after the other; they fit into any send buffer.
  if (!frames.empty()) Send(client, frames);
}

void Generator::Opened(Client& client) {
  client.state = State::kOpen;
  --opening_;
  client.next = static_cast<std::uint32_t>(order_of(client).sequences.size());
  if (client.stalled) poller_.Forget(client.descriptor);
  CountReader(client, +1);
  if (populations_[client.population].reports) ++reporters_;
}

// A client that reads is among those that messages for its groups are owed to.
void Generator::CountReader(const Client& client, int change) {
  const Population& population = populations_[client.population];
  if (client.stalled) return;
  (population.feed ? feed_ : groups_[client.group]).clients += change;
  if (population.everyone) everyone_.clients += change;
}

// What followers say each second, in as few bytes as the protocol lets them; and clients that are to be like them.
void Generator::SendStatuses() {
  if (reporters_ == 0 || Now() < next_status_) return;
  next_status_ = Now() + kSecond;
  static const std::string frame = MaskedFrame(kText, R"({"type":"status","nodes":[],"gone":[]})");
  for (Client& client : clients_) {
    if (client.state == State::kOpen && populations_[client.population].reports) Send(client, frame);
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
    if (!writable) return;
    if (!client.tls) return SendHandshake(client);
    client.tls->Start(client.descriptor);
    client.state = State::kTls;
  }
  if (client.state == State::kTls) {
    const int done = client.tls->Handshake();
    if (done < 0) return LoseClient(index, "the TLS handshake failed");
    if (done == 0) return;
    if (client.tls->resumed()) ++resumed_;
    SendHandshake(client);
  }
  for (;;) {
    const ssize_t got = client.tls ? client.tls->Receive(buffer_.get(), kBufferBytes)
                                   : recv(client.descriptor, buffer_.get(), kBufferBytes, 0);
    if (got > 0) {
      OnClientBytes(index, buffer_.get(), static_cast<std::size_t>(got));
      if (client.state == State::kClosed) return;
      if (!client.tls && static_cast<std::size_t>(got) < kBufferBytes) return;  // there was no more
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
    if (client.unread.compare(0, 12, "HTTP/1.1 101") != 0 ||
        client.unread.find(kHandshakeAccept) == std::string::npos) {
      return LoseClient(index, "the handshake was answered " + client.unread.substr(0, client.unread.find('\r')));
    }
    client.unread.erase(0, end + 4);
    SendSubscribe(client, index);
    if (!populations_[client.population].feed && !populations_[client.population].sync) {
      Opened(client);
    }
    if (client.unread.empty()) {
      std::string().swap(client.unread);  // and the memory that the answer took
      return;
    }
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
  const auto frame = FirstFrame({data, size});
  if (!frame) return 0;
  const std::string_view payload = frame->payload;
  switch (frame->opcode) {
    case kPing: {
      const std::string pong = MaskedFrame(kPong, payload);
      Send(client, pong);
      return frame->bytes();
    }
    case kPong:
      return frame->bytes();
    case kClose:
      LoseClient(index, "the server closed: " + std::string(payload.substr(std::min<std::size_t>(2, payload.size()))));
      return frame->bytes();
    default:
      break;
  }
  const bool opens = client.state == State::kSubscribing;
  if (population.feed && frame->opcode == kText) {
    if (opens && payload.find(R"("heartbeat")") != std::string_view::npos &&
        payload.find(R"("live":true)") != std::string_view::npos) {
      Opened(client);
    }
    return frame->bytes();
  }
  if (payload == kPongMessage) {
    ++pongs_;
    last_progress_ = Now();
    if (!opens) return frame->bytes();
    Opened(client);
    return frame->bytes();
  }
  if (!template_ || opens) {
    // A follower is first sent what the history holds.
    if (!population.feed) Problem(&Wrongs::garbled, "a message before anything was published");
    return frame->bytes();
  }
  if (Learn(population.wire, data, frame->head_bytes, frame->bytes())) {
    Deliver(client, data + population.wire.body_at, population.wire.body_compared);
  } else {
    Problem(&Wrongs::garbled, "an unknown frame: " + std::string(payload.substr(0, 100)));
  }
  return frame->bytes();
}

}  // namespace aphlict::bench
