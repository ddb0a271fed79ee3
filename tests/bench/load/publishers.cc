// The generator's publishers: HTTP requests, and no more of the answers than whether they are there and good.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "tests/bench/load/generator.h"
#include "tests/bench/load/text.h"

namespace aphlict::bench {

void Generator::OpenPublisher(std::uint32_t index) {
  Publisher& publisher = publishers_[index];
  publisher.descriptor = StartConnecting(publish_addresses_[index % publish_addresses_.size()], publisher_source_++);
  publisher.unread.clear();
  poller_.Watch(publisher.descriptor, kPublisherToken + index);
}

// Whether a lane can take another message: its last one has been answered by everybody or, with `when_finished`, has
// reached everybody as well.
bool Generator::LaneIsFree(std::uint32_t lane, bool when_finished) const {
  const std::size_t first = lane * publish_addresses_.size();
  for (std::size_t i = first; i < first + publish_addresses_.size(); ++i) {
    if (publishers_[i].step != Step::kIdle) return false;
  }
  const std::uint32_t last = publishers_[first].message;
  return !when_finished || last < first_sequence_ || finished(messages_[last - first_sequence_]);
}

void Generator::StartPublish(std::uint32_t lane, std::uint32_t group, Nanoseconds due) {
  Message message;
  message.group = group;
  if (to_everyone_) {
    message.pending = everyone_.clients;
  } else if (!groups_.empty()) {
    message.pending = groups_[group].clients;
  }
  message.pending += feed_.clients;
  if (!spare_bodies_.empty()) {
    message.body = std::move(spare_bodies_.back());
    spare_bodies_.pop_back();
  }
  template_->Make(next_sequence_, group, &message.body);
  const auto addresses = static_cast<std::uint32_t>(publish_addresses_.size());
  const std::uint32_t first = lane * addresses;
  for (std::uint32_t i = 0; i < addresses; ++i) {
    Publisher& publisher = publishers_[first + i];
    publisher.message = next_sequence_;
    publisher.request =
        "POST " + Replace(publish_path_, "%G", GroupPhid(group)) + " HTTP/1.1\r\nHost: " + publish_addresses_[i] +
        "\r\nContent-Type: application/x-www-form-urlencoded\r\n" + (reconnect_ ? "Connection: close\r\n" : "") +
        "Content-Length: " + std::to_string(message.body.size()) + "\r\n\r\n" + message.body;
  }
  ++next_sequence_;
  ++unfinished_;
  message.unanswered = addresses;
  message.sent = Now();
  message.due = due == 0 ? message.sent : due;
  messages_.push_back(std::move(message));
  for (std::uint32_t i = first; i < first + addresses; ++i) SendRequest(i);
}

void Generator::SendRequest(std::uint32_t index) {
  Publisher& publisher = publishers_[index];
  if (publisher.descriptor < 0) {
    publisher.step = Step::kConnecting;
    OpenPublisher(index);
    return;
  }
  publisher.step = Step::kAnswer;
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
  if (message.unanswered == 0) return;
  if (!accepted) Problem(&Wrongs::refused, "a publish was not answered 2xx");
  message.answered_at = last_progress_ = Now();
  if (--message.unanswered > 0) return;
  answers_.push_back(static_cast<float>(message.answered_at - message.sent) * 1e-3f);
  FinishIfDone(message);
}

}  // namespace aphlict::bench
