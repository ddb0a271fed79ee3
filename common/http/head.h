// The heads of HTTP/1.1 messages as values (RFC 9112 sections 2 to 5).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/result.h"

namespace aphlict::http {

// One header, borrowed from its Headers.
struct HeaderView {
  std::string_view name;   // as sent; compared without regard to case
  std::string_view value;  // without the white space around it
};

// The headers of a message, in order. Their text lies in one piece, so that a head costs two allocations and not two
// for each header: the lines in which they came, or one after the other, as they are added.
class Headers {
 public:
  // Makes room for that many headers.
  void Reserve(std::size_t count) { places_.reserve(count); }
  // Keeps the room.
  void Clear() {
    text_.clear();
    places_.clear();
    name_sizes_ = 0;
  }
  // REQUIRES: less than 4 GiB in all.
  void Add(std::string_view name, std::string_view value);

  // Where who reads a head puts its lines, which is without copies: Mark() then tells where in them a header is.
  std::string& text() { return text_; }
  const std::string& text() const { return text_; }
  // REQUIRES: both are in text().
  void Mark(std::string_view name, std::string_view value);

  // The value of the first header of that name, or nothing. Borrowed until the text changes, as all that follow.
  std::optional<std::string_view> Find(std::string_view name) const;
  std::size_t Count(std::string_view name) const { return FindAll(name).count; }
  struct Found {
    std::size_t count = 0;
    std::string_view first;  // the value of the first one
  };
  Found FindAll(std::string_view name) const;
  // Whether a comma-separated list in any header of that name has `token`, without regard to case
  // (RFC 9110 section 5.6.1): `Connection: keep-alive, Upgrade` has `upgrade`.
  bool HasToken(std::string_view name, std::string_view token) const;

  std::size_t size() const { return places_.size(); }
  // REQUIRES: index < size().
  HeaderView operator[](std::size_t index) const {
    const Place& place = places_[index];
    return {NameOf(place), ValueOf(place)};
  }

 private:
  struct Place {
    std::uint32_t name;  // where it begins in the text
    std::uint32_t name_bytes;
    std::uint32_t value;
    std::uint32_t value_bytes;
  };
  std::string_view NameOf(const Place& place) const { return {text_.data() + place.name, place.name_bytes}; }
  std::string_view ValueOf(const Place& place) const { return {text_.data() + place.value, place.value_bytes}; }
  // The first at or after `index` that has the name, or size().
  std::size_t Next(std::string_view name, std::size_t index) const {
    return (name_sizes_ & BitOf(name.size())) == 0 ? size() : Search(name, index);
  }
  std::size_t Search(std::string_view name, std::size_t index) const;
  static std::uint64_t BitOf(std::size_t size) { return std::uint64_t{1} << size % 64; }

  std::string text_;
  std::vector<Place> places_;
  std::uint64_t name_sizes_ = 0;  // those that occur: most of what is asked for is not there
};

struct RequestHead {
  std::string method;     // "GET"
  std::string target;     // as sent: "/status/?instance=dog"
  int version_minor = 1;  // of HTTP/1.x
  Headers headers;
  bool keep_alive = false;        // RFC 9112 section 9.3
  bool expects_continue = false;  // RFC 9110 section 10.1.1, only where a body follows

  std::string_view path() const;   // the target up to '?'
  std::string_view query() const;  // what follows '?', or nothing
};

struct ResponseHead {
  int status = 0;
  Headers headers;
};

bool EqualsIgnoreCase(std::string_view a, std::string_view b);
// Of ASCII; what else there is stays as it is.
std::string ToLower(std::string text);
// Without the spaces and tabs at both ends (RFC 9110 section 5.6.3: OWS).
std::string_view TrimWhiteSpace(std::string_view text);

// Decodes application/x-www-form-urlencoded text: %XX to the byte, '+' to a space; a '%' without two hex
// digits stays.
std::string PercentDecode(std::string_view text);
// As a query has it (RFC 3986 section 2.1): all but unreserved characters as %XX.
std::string PercentEncode(std::string_view text);

// The value of the first parameter `name` of a query (`a=1&b=2`), decoded.
std::optional<std::string> QueryParameter(std::string_view query, std::string_view name);

// An http(s) or ws(s) URL in its parts. `host` has no brackets around an IPv6 address. Errors: no scheme of
// `http`, `https`, `ws`, `wss`; no host; a port outside 1 to 65535; user information; a fragment.
struct Url {
  std::string scheme;
  std::string host;
  std::uint16_t port = 0;  // the scheme's own where none is given
  std::string path = "/";  // with the query

  bool secure() const { return scheme == "https" || scheme == "wss"; }
  // "host:port", with brackets around an IPv6 address.
  std::string authority() const;
  bool operator==(const Url&) const = default;
};
Result<Url> ParseUrl(std::string_view text);

}  // namespace aphlict::http
