// The names by which this host can be asked for over loopback without being fooled.
//
// A page of the web reaches a port on loopback by a name of its own which it lets resolve to 127.0.0.1 (DNS rebinding);
// the browser then takes the port for the page's own server, and lets the page read what it answers. The name is in the
// Host header. Names that come from this host itself, and not out of the DNS, are safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace aphlict::admin {

// The names that a hosts file (hosts(5)) gives to loopback addresses, in lower case: Debian writes the host's own name
// there, behind 127.0.1.1.
std::vector<std::string> LoopbackNamesIn(std::string_view hosts_file);

// This host's name, and the loopback names of /etc/hosts.
std::vector<std::string> NamesOfThisHost();

// The value of a Host header without its port and the brackets of an IPv6 address, in lower case and without a dot at
// its end.
std::string HostOf(std::string_view header);

// Whether that is one of `names`, or is none that a page of the web can have: an address, a name without a dot, or one
// under `localhost` (RFC 6761 section 6.3).
bool IsOwnHost(const std::string& host, const std::vector<std::string>& names);

}  // namespace aphlict::admin
