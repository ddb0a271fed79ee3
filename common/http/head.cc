#include "common/http/head.h"

#include <arpa/inet.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstddef>
#include <system_error>
#include <utility>

namespace aphlict::http {

namespace {

char ToLower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool IsAlphanumeric(char c) {
  const char lower = ToLower(c);
  return (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9');
}

// What comes before the next `separator` in `*rest`, which then begins behind it, or is empty.
std::string_view TakeUntil(std::string_view* rest, char separator) {
  const std::size_t end = std::min(rest->find(separator), rest->size());
  const std::string_view taken = rest->substr(0, end);
  rest->remove_prefix(std::min(end + 1, rest->size()));
  return taken;
}

// The part of a request target behind scheme and authority, where it has them (RFC 9112 section 3.2.2).
std::string_view OriginForm(std::string_view target) {
  if (target.starts_with('/')) return target;
  const std::size_t scheme = target.find("://");
  if (scheme == std::string_view::npos || scheme > target.find_first_of("/?")) return target;
  return target.substr(std::min(target.find_first_of("/?", scheme + 3), target.size()));
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = ToLower(c);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

bool IsIpv6(const std::string& host) {
  in6_addr address;
  return inet_pton(AF_INET6, host.c_str(), &address) == 1;
}

bool IsHostName(std::string_view host) {
  return !host.empty() && std::all_of(host.begin(), host.end(),
                                      [](char c) { return IsAlphanumeric(c) || c == '.' || c == '-' || c == '_'; });
}

Result<std::uint16_t> ParsePort(std::string_view text) {
  std::uint16_t port = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), port);
  if (result.ec != std::errc() || result.ptr != text.data() + text.size() || port == 0) {
    return Error{"the port is not a number from 1 to 65535"};
  }
  return port;
}

// Sets host and port from `authority`, which has neither user information nor a path.
Result<void> ParseAuthority(std::string_view authority, Url* url) {
  std::string_view port;
  bool has_port = false;
  if (authority.starts_with('[')) {
    const std::size_t close = authority.find(']');
    if (close == std::string_view::npos) return Error{"missing the ] of an IPv6 address"};
    url->host = authority.substr(1, close - 1);
    if (!IsIpv6(url->host)) return Error{"the host in brackets is not an IPv6 address"};
    port = authority.substr(close + 1);
    has_port = !port.empty();
    if (has_port && !port.starts_with(':')) return Error{"something follows the ] of the host"};
    if (has_port) port.remove_prefix(1);
  } else {
    has_port = authority.find(':') != std::string_view::npos;
    port = authority;
    url->host = TakeUntil(&port, ':');
    if (port.find(':') != std::string_view::npos) {
      return Error{"more than one colon in the host: an IPv6 address needs brackets"};
    }
    if (url->host.empty()) return Error{"no host"};
    if (!IsHostName(url->host)) return Error{"the host is not a name or an address"};
  }
  if (!has_port) return {};
  const Result<std::uint16_t> parsed = ParsePort(port);
  if (!parsed) return parsed.error();
  url->port = *parsed;
  return {};
}

}  // namespace

void Headers::Add(std::string_view name, std::string_view value) {
  const std::size_t at = text_.size();
  text_.append(name).append(value);
  const std::string_view added = std::string_view(text_).substr(at);
  Mark(added.substr(0, name.size()), added.substr(name.size()));
}

void Headers::Mark(std::string_view name, std::string_view value) {
  const auto place_of = [this](std::string_view part) {
    return static_cast<std::uint32_t>(part.data() - text_.data());
  };
  places_.push_back({place_of(name), static_cast<std::uint32_t>(name.size()), place_of(value),
                     static_cast<std::uint32_t>(value.size())});
  name_sizes_ |= BitOf(name.size());
}

std::size_t Headers::Search(std::string_view name, std::size_t index) const {
  const auto has_name = [&](const Place& place) {
    return place.name_bytes == name.size() && EqualsIgnoreCase(NameOf(place), name);
  };
  while (index < size() && !has_name(places_[index])) ++index;
  return index;
}

std::optional<std::string_view> Headers::Find(std::string_view name) const {
  const std::size_t found = Next(name, 0);
  return found == size() ? std::nullopt : std::optional(ValueOf(places_[found]));
}

Headers::Found Headers::FindAll(std::string_view name) const {
  Found found;
  for (std::size_t i = Next(name, 0); i < size(); i = Next(name, i + 1)) {
    if (found.count++ == 0) found.first = ValueOf(places_[i]);
  }
  return found;
}

bool Headers::HasToken(std::string_view name, std::string_view token) const {
  for (std::size_t i = Next(name, 0); i < size(); i = Next(name, i + 1)) {
    std::string_view rest = (*this)[i].value;
    while (!rest.empty()) {
      if (EqualsIgnoreCase(TrimWhiteSpace(TakeUntil(&rest, ',')), token)) return true;
    }
  }
  return false;
}

std::string_view RequestHead::path() const {
  const std::string_view origin = OriginForm(target);
  const std::string_view path = origin.substr(0, origin.find('?'));
  return path.empty() ? "/" : path;
}

std::string_view RequestHead::query() const {
  std::string_view origin = OriginForm(target);
  TakeUntil(&origin, '?');
  return origin;
}

bool EqualsIgnoreCase(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  if (a == b) return true;  // nearly always, where it is true at all
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return ToLower(x) == ToLower(y); });
}

std::string_view TrimWhiteSpace(std::string_view text) {
  const auto is_white = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && is_white(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_white(text.back())) text.remove_suffix(1);
  return text;
}

std::string ToLower(std::string text) {
  for (char& c : text) c = ToLower(c);
  return text;
}

std::string PercentDecode(std::string_view text) {
  std::string decoded;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool has_digits = text[i] == '%' && i + 2 < text.size();
    const int high = has_digits ? HexDigit(text[i + 1]) : -1;
    const int low = has_digits ? HexDigit(text[i + 2]) : -1;
    if (high >= 0 && low >= 0) {
      decoded.push_back(static_cast<char>(high << 4 | low));
      i += 2;
    } else {
      decoded.push_back(text[i] == '+' ? ' ' : text[i]);
    }
  }
  return decoded;
}

std::string PercentEncode(std::string_view text) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  std::string encoded;
  for (const char each : text) {
    const auto byte = static_cast<unsigned char>(each);
    if (byte < 0x80 && (std::isalnum(byte) || std::string_view("-._~").find(each) != std::string_view::npos)) {
      encoded += each;
    } else {
      encoded += {'%', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return encoded;
}

std::optional<std::string> QueryParameter(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    std::string_view value = TakeUntil(&query, '&');
    if (PercentDecode(TakeUntil(&value, '=')) == name) return PercentDecode(value);
  }
  return std::nullopt;
}

std::string Url::authority() const {
  const bool ipv6 = host.find(':') != std::string::npos;
  return (ipv6 ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

Result<Url> ParseUrl(std::string_view text) {
  Url url;
  const std::size_t scheme = text.find("://");
  if (scheme == std::string_view::npos) {
    return Error{"no scheme: the URL must begin with http://, https://, ws:// or wss://"};
  }
  url.scheme = ToLower(std::string(text.substr(0, scheme)));
  if (url.scheme != "http" && url.scheme != "ws" && !url.secure()) {
    return Error{"unknown scheme: the URL must begin with http://, https://, ws:// or wss://"};
  }
  url.port = url.secure() ? 443 : 80;

  if (!std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; })) {
    return Error{"a space, control character or character outside of ASCII"};
  }
  if (text.find('#') != std::string_view::npos) return Error{"a fragment (#) has no meaning here"};

  const std::string_view rest = text.substr(scheme + 3);
  const std::size_t path = std::min(rest.find_first_of("/?"), rest.size());
  const std::string_view authority = rest.substr(0, path);
  if (authority.find('@') != std::string_view::npos) {
    return Error{"user information (before @) has no meaning here"};
  }
  if (const Result<void> parsed = ParseAuthority(authority, &url); !parsed) return parsed.error();
  if (path < rest.size()) url.path = rest.substr(path);
  if (url.path.starts_with('?')) url.path.insert(0, "/");
  return url;
}

}  // namespace aphlict::http
