#include "common/http/framing.h"

#include <algorithm>
#include <charconv>
#include <string_view>
#include <system_error>

#include "common/http/lines.h"

namespace aphlict::http {

namespace {

Result<std::uint64_t> ParseContentLength(std::string_view text) {
  const auto digits = text.find_first_not_of("0123456789");
  if (text.empty() || digits != std::string_view::npos) {
    return BadRequest("Content-Length is not a number");
  }
  std::uint64_t length = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), length);
  return result.ec == std::errc() ? length : UINT64_MAX;
}

// RFC 9112 section 6.1.
Result<void> CheckTransferEncoding(int version_minor, const Headers& headers) {
  if (version_minor == 0) return BadRequest("Transfer-Encoding in HTTP/1.0");
  if (headers.Count("Transfer-Encoding") > 1) {
    return BadRequest("more than one Transfer-Encoding");
  }
  const std::string_view codings = *headers.Find("Transfer-Encoding");
  if (EqualsIgnoreCase(codings, "chunked")) return {};
  if (codings.empty()) return BadRequest("an empty Transfer-Encoding");
  bool chunked_came = false;
  for (std::size_t begin = 0; begin <= codings.size();) {
    const std::size_t end = std::min(codings.find(',', begin), codings.size());
    if (chunked_came) {
      return BadRequest("chunked is not the last coding of Transfer-Encoding, or comes twice");
    }
    chunked_came = EqualsIgnoreCase(TrimWhiteSpace(codings.substr(begin, end - begin)), "chunked");
    begin = end + 1;
  }
  return Error{"the only Transfer-Encoding that is known here is chunked", 501};
}

}  // namespace

Result<Framing> CheckFraming(int version_minor, const Headers& headers) {
  Framing framing;
  framing.chunked = headers.Count("Transfer-Encoding") > 0;
  const std::size_t lengths = headers.Count("Content-Length");
  if (framing.chunked && lengths > 0) {
    return BadRequest("both Content-Length and Transfer-Encoding");
  }
  if (lengths > 1) return BadRequest("more than one Content-Length");
  if (framing.chunked) {
    if (Result<void> checked = CheckTransferEncoding(version_minor, headers); !checked) return checked.error();
  } else if (lengths == 1) {
    const Result<std::uint64_t> length = ParseContentLength(*headers.Find("Content-Length"));
    if (!length) return length.error();
    framing.length = *length;
  }
  return framing;
}

}  // namespace aphlict::http
