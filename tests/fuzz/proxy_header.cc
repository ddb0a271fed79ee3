// The PROXY header: the outcome does not depend on how the bytes come, nothing behind the header belongs to it, and
// what version 1 says is what a second reading finds.
#include "common/net/proxy_header.h"

#include <algorithm>
#include <string>

#include "tests/fuzz/fuzz.h"

namespace aphlict::fuzz {
namespace {

std::string Describe(const net::ProxyHeader& header) {
  return std::to_string(header.size) + " " + (header.source ? header.source->ToString() : "-");
}

// Version 1 in the plainest way: "PROXY TCP4 source destination port port\r\n".
void CheckVersion1(const std::string& line, const net::ProxyHeader& header) {
  Check(line.size() <= 107 && line.ends_with("\r\n") && line.find("\r\n") == line.size() - 2, "a line is one line");
  if (!header.source) {
    Check(line.starts_with("PROXY UNKNOWN"), "only the unknown has no source");
    return;
  }
  const std::string host = line.substr(11, line.find(' ', 11) - 11);
  const auto read = net::Address::Parse(host, header.source->port());
  Check(read && read->ToString() == header.source->ToString(), "the source is the first address");
}

void Test(std::string_view bytes) {
  const auto whole = net::ParseProxyHeader(bytes);
  // By one byte more each time: it is not there, not there, and then what it is with everything behind it.
  std::optional<std::string> found;
  for (std::size_t size = 0; size <= bytes.size() && !found; ++size) {
    const std::string part(bytes.substr(0, size));  // an allocation of its own, with nothing behind it
    const auto parsed = net::ParseProxyHeader(part);
    if (!parsed) {
      found = "error";
      Check(!parsed.error().text.empty(), "a refusal says why");
    } else if (*parsed) {
      found = Describe(**parsed);
      Check((*parsed)->size == size, "a header is found as soon as it is complete, and has no more bytes");
      if (part.front() == 'P') CheckVersion1(part, **parsed);
    }
  }
  const std::string at_once = !whole ? "error" : *whole ? Describe(**whole) : "incomplete";
  Check(at_once == found.value_or("incomplete"), "bytes that come one by one say the same");
  if (whole && !*whole) Check(bytes.size() < net::kMostProxyHeaderBytes, "a header has an end");
}

}  // namespace
}  // namespace aphlict::fuzz

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  aphlict::fuzz::Test(aphlict::fuzz::Text(data, size).substr(0, 5000));
  return 0;
}
