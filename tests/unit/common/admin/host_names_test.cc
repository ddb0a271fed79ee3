#include "common/admin/host_names.h"

#include <doctest/doctest.h>

#include <algorithm>

namespace aphlict::admin {
namespace {

using Names = std::vector<std::string>;

TEST_CASE("a hosts file gives the names of loopback addresses") {
  CHECK(LoopbackNamesIn("127.0.0.1\tlocalhost\n"
                        "127.0.1.1  Phab.Example.com phab # own\n"
                        "# 127.0.0.1 commented\n"
                        "192.0.2.1 elsewhere.example.com\n"
                        "nonsense name\n"
                        "\n"
                        "::1 ip6.internal\r\n"
                        "127.0.0.2 last.internal") ==
        Names{"localhost", "phab.example.com", "phab", "ip6.internal", "last.internal"});
  CHECK(LoopbackNamesIn("").empty());
}

TEST_CASE("the host of a header has no port, no brackets, no capitals and no dot at its end") {
  CHECK(HostOf("Phab.Example.com:22281") == "phab.example.com");
  CHECK(HostOf("phab.example.com.") == "phab.example.com");
  CHECK(HostOf("127.0.0.1:22281") == "127.0.0.1");
  CHECK(HostOf("[::1]:22281") == "::1");
  CHECK(HostOf("[::1") == "::1");
  CHECK(HostOf("") == "");
}

TEST_CASE("a page of the web can have neither an address nor a name without a dot") {
  for (const char* host : {"127.0.0.1", "::1", "192.0.2.1", "localhost", "phab", "a.localhost", ""}) {
    CAPTURE(host);
    CHECK(IsOwnHost(host, {}));
  }
  for (const char* host :
       {"evil.example.com", "localhost.evil.com", "127.0.0.1.nip.io", "a.local", "127.0.0.1.", "1.2.3"}) {
    CAPTURE(host);
    CHECK_FALSE(IsOwnHost(host, {}));
  }
  CHECK(IsOwnHost("aphlict.internal", {"other", "aphlict.internal"}));
  CHECK_FALSE(IsOwnHost("x.aphlict.internal", {"aphlict.internal"}));
}

TEST_CASE("this host has a name") { CHECK_FALSE(NamesOfThisHost().empty()); }

}  // namespace
}  // namespace aphlict::admin
