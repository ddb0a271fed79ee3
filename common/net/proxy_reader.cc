#include "common/net/proxy_reader.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <utility>

namespace aphlict::net {

ProxyReader::ProxyReader(Loop& loop, int descriptor, Done done)
    : loop_(loop), descriptor_(descriptor), done_(std::move(done)), poll_(new uv_poll_t), since_(Now()) {
  poll_->data = this;
  if (uv_poll_init(loop.uv(), poll_.get(), descriptor) != 0) std::abort();
  uv_poll_start(poll_.get(), UV_READABLE,
                [](uv_poll_t* poll, int, int) noexcept { static_cast<ProxyReader*>(poll->data)->Read(); });
}

ProxyReader::~ProxyReader() {
  poll_.reset();
  if (descriptor_ >= 0) close(descriptor_);
}

int ProxyReader::Take() {
  poll_.reset();  // a descriptor is watched by one handle at a time
  return std::exchange(descriptor_, -1);
}

Address ProxyReader::peer() const { return PeerOf(descriptor_); }

void ProxyReader::Finish(const Result<ProxyHeader>& result) {
  uv_poll_stop(poll_.get());
  std::exchange(done_, nullptr)(result);
}

// Looks first, and takes only what belongs to the header: of an incomplete one that is everything, so that the next
// look does not find it again at once.
void ProxyReader::Read() {
  loop_.Enter();
  char* buffer = loop_.read_buffer();
  ssize_t got;
  do {
    got = recv(descriptor_, buffer, kMostProxyHeaderBytes, MSG_PEEK);
  } while (got < 0 && errno == EINTR);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
  if (got < 0) return Finish(Error{"read: " + ErrorText(errno), 1});
  if (got == 0) return Finish(Error{"the PROXY header: the connection ended before it", header_.empty() ? 1 : 0});
  const std::size_t had = header_.size();
  header_.append(buffer, static_cast<std::size_t>(got));
  const auto parsed = ParseProxyHeader(header_);
  if (!parsed) return Finish(parsed.error());
  std::size_t take = static_cast<std::size_t>(got);
  if (*parsed) take = (*parsed)->size - had;
  recv(descriptor_, buffer, take, 0);
  if (*parsed) Finish(**parsed);
}

}  // namespace aphlict::net
