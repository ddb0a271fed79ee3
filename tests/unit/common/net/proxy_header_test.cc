#include "common/net/proxy_header.h"

#include <doctest/doctest.h>

#include <string>

namespace aphlict::net {
namespace {

// "192.0.2.1:5 of 44 bytes", "own of …" where the header tells of nobody, "incomplete", or the error.
std::string Read(std::string_view bytes) {
  const auto parsed = ParseProxyHeader(bytes);
  if (!parsed) return parsed.error().text;
  if (!*parsed) return "incomplete";
  const ProxyHeader& header = **parsed;
  return (header.source ? header.source->ToString() : "own") + " of " + std::to_string(header.size) + " bytes";
}

constexpr std::string_view kSignature("\r\n\r\n\0\r\nQUIT\n", 12);

std::string Version2(unsigned char command, unsigned char family, std::string_view rest) {
  std::string bytes(kSignature);
  bytes.push_back(static_cast<char>(command));
  bytes.push_back(static_cast<char>(family));
  bytes.push_back(static_cast<char>(rest.size() >> 8));
  bytes.push_back(static_cast<char>(rest.size() & 0xff));
  return bytes += rest;
}

const std::string kIpv4("\xc0\x00\x02\x01\xc6\x33\x64\x07\xc8\x22\x01\xbb", 12);  // 192.0.2.1:51234 198.51.100.7:443
const std::string kIpv6 = std::string("\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01", 16) + std::string(16, '\x02') +
                          std::string("\xc8\x22\x01\xbb", 4);

// Whatever is in front of its end is incomplete, and what is behind it does not matter.
void CheckAtEverySplit(const std::string& header, const std::string& outcome) {
  for (std::size_t size = 0; size < header.size(); ++size) {
    CAPTURE(size);
    CHECK(Read(header.substr(0, size)) == "incomplete");
  }
  CHECK(Read(header) == outcome + " of " + std::to_string(header.size()) + " bytes");
  CHECK(Read(header + "GET / HTTP/1.1\r\n\r\n") == outcome + " of " + std::to_string(header.size()) + " bytes");
}

TEST_CASE("version 1 is a line of text") {
  CheckAtEverySplit("PROXY TCP4 192.0.2.1 198.51.100.7 51234 443\r\n", "192.0.2.1:51234");
  CheckAtEverySplit("PROXY TCP6 2001:db8::1 2001:db8::2 51234 443\r\n", "[2001:db8::1]:51234");
  CheckAtEverySplit("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255:65535");
  CheckAtEverySplit(
      "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 0\r\n",
      "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
}

TEST_CASE("version 1 may not know whom it speaks for, and what stands behind that is not looked at") {
  CheckAtEverySplit("PROXY UNKNOWN\r\n", "own");
  CheckAtEverySplit("PROXY UNKNOWN ffff:: ::1 x 5 what ever\r\n", "own");
  // The longest line that there may be (section 2.1).
  CheckAtEverySplit("PROXY UNKNOWN " + std::string(91, 'f') + "\r\n", "own");
}

TEST_CASE("a wrong line is refused") {
  const auto line = [](const std::string& text) { return Read("PROXY " + text + "\r\n"); };
  const std::string start = "the PROXY header: ";
  CHECK(line("TCP4 192.0.2.1 198.51.100.7 51234") == start + "less than a family, two addresses and two ports");
  CHECK(line("") == start + "less than a family, two addresses and two ports");
  CHECK(line("TCP4 192.0.2.1 198.51.100.7 51234 443 x") == start + "more than a family, two addresses and two ports");
  CHECK(line("TCP4 192.0.2.1 198.51.100.7 51234 443 ") == start + "more than a family, two addresses and two ports");
  CHECK(line("TCP4  192.0.2.1 198.51.100.7 51234 443") == start + "more than a family, two addresses and two ports");
  CHECK(line("UDP4 192.0.2.1 198.51.100.7 1 2") == start + "a family that is neither TCP4, TCP6 nor UNKNOWN");
  CHECK(line("tcp4 192.0.2.1 198.51.100.7 1 2") == start + "a family that is neither TCP4, TCP6 nor UNKNOWN");
  CHECK(line("UNKNOWNX") == start + "less than a family, two addresses and two ports");
  for (const char* port : {"65536", "-1", "+1", "", "1x", "01", "99999999999"}) {
    CAPTURE(port);
    CHECK(line(std::string("TCP4 192.0.2.1 198.51.100.7 ") + port + " 443") ==
          start + "a port is no number from 0 to 65535");
    CHECK(line(std::string("TCP4 192.0.2.1 198.51.100.7 443 ") + port) ==
          start + "a port is no number from 0 to 65535");
  }
  for (const char* addresses : {"2001:db8::1 198.51.100.7", "192.0.2.1 2001:db8::1", "192.0.2.256 198.51.100.7",
                                "name 198.51.100.7", "192.0.2.1 x"}) {
    CAPTURE(addresses);
    CHECK(line(std::string("TCP4 ") + addresses + " 1 2") == start + "an address is not of the family");
  }
  CHECK(line("TCP6 192.0.2.1 192.0.2.2 1 2") == start + "an address is not of the family");
  CHECK(Read("PROXY TCP4 192.0.2.1 198.51.100.7 1 2\n") == start + "a line that does not end with CR LF");
  CHECK(Read("PROXY UNKNOWN a\nb\r\n") == start + "a line that does not end with CR LF");
  CHECK(Read("PROXY " + std::string(101, 'f')) == start + "longer than 107 bytes");
  CHECK(Read("PROXY UNKNOWN " + std::string(92, 'f') + "\r\n") == start + "longer than 107 bytes");
}

TEST_CASE("version 2 is binary") {
  CheckAtEverySplit(Version2(0x21, 0x11, kIpv4), "192.0.2.1:51234");
  CheckAtEverySplit(Version2(0x21, 0x21, kIpv6), "[2001:db8::1]:51234");
}

TEST_CASE("of version 2, what follows the addresses is skipped") {
  const std::string tlv(
      "\x04\x00\x03"
      "abc",
      6);
  CheckAtEverySplit(Version2(0x21, 0x11, kIpv4 + tlv), "192.0.2.1:51234");
  CheckAtEverySplit(Version2(0x21, 0x21, kIpv6 + std::string(300, '\xff')), "[2001:db8::1]:51234");
  CheckAtEverySplit(Version2(0x20, 0x00, tlv), "own");
}

TEST_CASE("version 2 may speak for itself, or of no address that there is here") {
  CheckAtEverySplit(Version2(0x20, 0x00, ""), "own");                     // LOCAL: a health check
  CheckAtEverySplit(Version2(0x20, 0x11, kIpv4), "own");                  // LOCAL: its addresses do not count
  CheckAtEverySplit(Version2(0x20, 0x11, "x"), "own");                    // nor whether they are there
  CheckAtEverySplit(Version2(0x21, 0x00, ""), "own");                     // UNSPEC
  CheckAtEverySplit(Version2(0x21, 0x00, "whatever"), "own");             //
  CheckAtEverySplit(Version2(0x21, 0x12, kIpv4), "own");                  // datagrams
  CheckAtEverySplit(Version2(0x21, 0x31, std::string(216, 'x')), "own");  // UNIX
}

TEST_CASE("a wrong header of version 2 is refused as soon as that can be told") {
  const std::string start = "the PROXY header: ";
  const std::string signature(kSignature);
  CHECK(Read(signature + "\x11") == start + "a version other than 2 behind the signature");
  CHECK(Read(signature + "\x31") == start + "a version other than 2 behind the signature");
  CHECK(Read(signature + "\x22") == start + "a command that is neither LOCAL nor PROXY");
  CHECK(Read(Version2(0x21, 0x41, kIpv4)) == start + "an address family or transport that is not defined");
  CHECK(Read(Version2(0x21, 0x13, kIpv4)) == start + "an address family or transport that is not defined");
  CHECK(Read(Version2(0x21, 0x11, kIpv4.substr(1))) == start + "shorter than its addresses");
  CHECK(Read(Version2(0x21, 0x21, kIpv6.substr(1))) == start + "shorter than its addresses");
  CHECK(Read(Version2(0x21, 0x31, std::string(215, 'x'))) == start + "shorter than its addresses");
  CHECK(Read(Version2(0x21, 0x11, std::string(4080, 'x'))) == "120.120.120.120:30840 of 4096 bytes");
  CHECK(Read(Version2(0x21, 0x11, std::string(4081, 'x')).substr(0, 16)) == start + "longer than 4096 bytes");
  CHECK(Read(Version2(0x21, 0x11, std::string(65535, 'x')).substr(0, 16)) == start + "longer than 4096 bytes");
}

TEST_CASE("what begins otherwise is no header") {
  const std::string none = "the PROXY header: the connection does not begin with one";
  for (const std::string& bytes : {std::string("G"), std::string("GET / HTTP/1.1\r\n"), std::string("\x16\x03\x01", 3),
                                   std::string("proxy TCP4"), std::string("PROXYTCP4"), std::string("\r\n\r\nx"),
                                   std::string("\r\n\r\n\0\r\nQUIT\r", 12), std::string(1, '\0')}) {
    CAPTURE(bytes);
    CHECK(Read(bytes) == none);
  }
  CHECK(Read("") == "incomplete");
}

}  // namespace
}  // namespace aphlict::net
