#include "common/http/framing.h"

#include <algorithm>
#include <charconv>
#include <string_view>
#include <system_error>

#include "common/http/lines.h"

namespace aphlict::http {

namespace {

Result<std::uint64_t> ParseContentLength(std::string_view text) {
  std::uint64_t length = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, length);  // takes all digits, however many
  if (error == std::errc::invalid_argument || stop != end) return BadRequest("Content-Length is not a number");
  return error == std::errc() ? length : UINT64_MAX;
}

// RFC 9112 section 6.1.
Result<void> CheckTransferEncoding(int version_minor, const Headers::Found& encodings) {
  if (version_minor == 0) return BadRequest("Transfer-Encoding in HTTP/1.0");
  if (encodings.count > 1) return BadRequest("more than one Transfer-Encoding");
  const std::string_view codings = encodings.first;
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
  const Headers::Found encodings = headers.FindAll("Transfer-Encoding");
  const Headers::Found lengths = headers.FindAll("Content-Length");
  framing.chunked = encodings.count > 0;
  if (framing.chunked && lengths.count > 0) {
    return BadRequest("both Content-Length and Transfer-Encoding");
  }
  if (lengths.count > 1) return BadRequest("more than one Content-Length");
  if (framing.chunked) {
    if (Result<void> checked = CheckTransferEncoding(version_minor, encodings); !checked) return checked.error();
  } else if (lengths.count == 1) {
    const Result<std::uint64_t> length = ParseContentLength(lengths.first);
    if (!length) return length.error();
    framing.length = *length;
  }
  return framing;
}

}  // namespace aphlict::http
