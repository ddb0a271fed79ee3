#include "common/net/address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <uv.h>

#include <cstring>

#include "common/net/loop.h"

namespace aphlict::net {

namespace {

Result<std::vector<Address>> Collect(int status, const std::string& host, const addrinfo* list) {
  if (status != 0) return Error{"resolve " + host + ": " + uv_strerror(status)};
  std::vector<Address> addresses;
  for (const addrinfo* info = list; info != nullptr; info = info->ai_next) {
    addresses.emplace_back(info->ai_addr, info->ai_addrlen);
  }
  if (addresses.empty()) return Error{"resolve " + host + ": no addresses"};
  return addresses;
}

addrinfo Hints() {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  return hints;
}

Address Ask(int (*call)(int, sockaddr*, socklen_t*), int descriptor) {
  sockaddr_storage storage{};
  socklen_t length = sizeof(storage);
  if (call(descriptor, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return {};
  return {reinterpret_cast<const sockaddr*>(&storage), length};
}

}  // namespace

Address::Address(const sockaddr* address, socklen_t length) : length_(length) {
  std::memcpy(&storage_, address, length);
}

Result<Address> Address::Parse(const std::string& host, std::uint16_t port) {
  sockaddr_in v4{};
  if (uv_ip4_addr(host.c_str(), port, &v4) == 0) {
    return Address(reinterpret_cast<const sockaddr*>(&v4), sizeof(v4));
  }
  sockaddr_in6 v6{};
  if (uv_ip6_addr(host.c_str(), port, &v6) == 0) {
    return Address(reinterpret_cast<const sockaddr*>(&v6), sizeof(v6));
  }
  return Error{host + " is not an IP address"};
}

std::uint16_t Address::port() const {
  if (family() == AF_INET) return ntohs(reinterpret_cast<const sockaddr_in*>(&storage_)->sin_port);
  if (family() == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6*>(&storage_)->sin6_port);
  return 0;
}

bool Address::is_loopback() const {
  if (family() == AF_INET) {
    return ntohl(reinterpret_cast<const sockaddr_in*>(&storage_)->sin_addr.s_addr) >> 24 == 127;
  }
  if (family() == AF_INET6) {
    const in6_addr& address = reinterpret_cast<const sockaddr_in6*>(&storage_)->sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(&address) || (IN6_IS_ADDR_V4MAPPED(&address) && address.s6_addr[12] == 127);
  }
  return false;
}

bool Address::is_wildcard() const {
  if (family() == AF_INET) return reinterpret_cast<const sockaddr_in*>(&storage_)->sin_addr.s_addr == INADDR_ANY;
  if (family() == AF_INET6) {
    return IN6_IS_ADDR_UNSPECIFIED(&reinterpret_cast<const sockaddr_in6*>(&storage_)->sin6_addr);
  }
  return false;
}

std::string Address::host() const {
  char text[INET6_ADDRSTRLEN] = {};
  if (family() == AF_INET) {
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(&storage_)->sin_addr, text, sizeof(text));
    return text;
  }
  if (family() == AF_INET6) {
    const in6_addr& address = reinterpret_cast<const sockaddr_in6*>(&storage_)->sin6_addr;
    const bool mapped = IN6_IS_ADDR_V4MAPPED(&address);
    inet_ntop(mapped ? AF_INET : AF_INET6, mapped ? &address.s6_addr[12] : address.s6_addr, text, sizeof(text));
    return text;
  }
  return "unknown";
}

std::string Address::ToString() const {
  if (family() != AF_INET && family() != AF_INET6) return "unknown";
  const std::string text = host();
  return (text.find(':') == std::string::npos ? text : "[" + text + "]") + ":" + std::to_string(port());
}

Address PeerOf(int descriptor) { return Ask(getpeername, descriptor); }

Address LocalOf(int descriptor) { return Ask(getsockname, descriptor); }

Result<std::vector<Address>> ResolveNow(const std::string& host, std::uint16_t port) {
  if (auto address = Address::Parse(host, port)) return std::vector<Address>{*address};
  const addrinfo hints = Hints();
  addrinfo* list = nullptr;
  const int status = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list);
  if (status != 0) return Error{"resolve " + host + ": " + gai_strerror(status)};
  auto addresses = Collect(0, host, list);
  freeaddrinfo(list);
  return addresses;
}

struct Resolver::Request {
  uv_getaddrinfo_t uv;
  Resolver* owner;  // null once cancelled
  std::string host;
  Done done;
};

void Resolver::Resolve(const std::string& host, std::uint16_t port, Done done) {
  Cancel();
  if (auto address = Address::Parse(host, port)) {
    done(std::vector<Address>{*address});
    return;
  }
  auto request = std::make_unique<Request>(Request{{}, this, host, std::move(done)});
  request->uv.data = request.get();
  const addrinfo hints = Hints();
  const auto on_done = [](uv_getaddrinfo_t* uv, int status, addrinfo* list) noexcept {
    std::unique_ptr<Request> finished(static_cast<Request*>(uv->data));
    Loop::From(uv->loop).Enter();
    if (finished->owner != nullptr) {
      finished->owner->request_ = nullptr;
      finished->done(Collect(status, finished->host, list));
    }
    uv_freeaddrinfo(list);
  };
  const int status =
      uv_getaddrinfo(loop_.uv(), &request->uv, on_done, host.c_str(), std::to_string(port).c_str(), &hints);
  if (status != 0) {
    request->done(Error{"resolve " + host + ": " + uv_strerror(status)});
    return;
  }
  request_ = request.release();
}

void Resolver::Cancel() {
  if (request_ == nullptr) return;
  request_->owner = nullptr;
  uv_cancel(reinterpret_cast<uv_req_t*>(&request_->uv));  // a look-up that runs already goes on by itself
  request_ = nullptr;
}

}  // namespace aphlict::net
