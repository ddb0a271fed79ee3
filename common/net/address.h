// Socket addresses, and names that stand for them.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"

namespace aphlict::net {

class Loop;

class Address {
 public:
  Address() = default;
  Address(const sockaddr* address, socklen_t length);

  // An IPv4 or IPv6 address in text, without brackets. Errors: it is neither.
  static Result<Address> Parse(const std::string& host, std::uint16_t port);

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  socklen_t length() const { return length_; }
  int family() const { return storage_.ss_family; }
  std::uint16_t port() const;
  // Of IPv4 also where it came in through a dual-stack socket.
  bool is_loopback() const;
  bool is_wildcard() const;
  // "127.0.0.1:22280", "[::1]:22280", or "unknown". An IPv4 address that came in through a dual-stack socket
  // is written as IPv4.
  std::string ToString() const;
  // The same without the port and the brackets.
  std::string host() const;

 private:
  sockaddr_storage storage_{};
  socklen_t length_ = 0;
};

// The other end of a connected socket, and this one: empty where it has none (getpeername(2), getsockname(2)).
Address PeerOf(int descriptor);
Address LocalOf(int descriptor);

// Resolves a name while nothing else waits: before the loop runs. Errors: the name does not resolve.
Result<std::vector<Address>> ResolveNow(const std::string& host, std::uint16_t port);

// Resolves a name without blocking the loop (uv_getaddrinfo; addresses in text cost no look-up).
class Resolver {
 public:
  using Done = std::function<void(Result<std::vector<Address>>)>;

  explicit Resolver(Loop& loop) : loop_(loop) {}
  ~Resolver() { Cancel(); }
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;

  // Calls `done` once, later or at once, unless cancelled. One at a time.
  void Resolve(const std::string& host, std::uint16_t port, Done done);
  void Cancel();

 private:
  struct Request;
  Loop& loop_;
  Request* request_ = nullptr;  // owned by libuv until its callback
};

}  // namespace aphlict::net
