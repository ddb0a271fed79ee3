#include "common/http/authorization.h"

namespace aphlict::http {

namespace {

constexpr std::string_view kScheme = "Bearer ";

}  // namespace

std::optional<std::string_view> BearerToken(const Headers& headers) {
  auto [count, value] = headers.FindAll("Authorization");
  if (count != 1) return std::nullopt;
  if (!EqualsIgnoreCase(value.substr(0, kScheme.size()), kScheme)) return std::nullopt;
  value.remove_prefix(kScheme.size());
  const std::size_t begin = value.find_first_not_of(' ');
  if (begin == std::string_view::npos) return std::nullopt;
  return value.substr(begin);
}

std::string BearerValue(std::string_view token) { return std::string(kScheme).append(token); }

}  // namespace aphlict::http
