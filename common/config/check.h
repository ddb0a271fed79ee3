// Whether what a configuration names outside of itself can be used.
#pragma once

#include <string>
#include <vector>

#include "common/base/result.h"
#include "common/config/settings.h"

namespace aphlict::config {

// The logs, the pid file and the state folder: whether they could be written, by the user that the node becomes. Leaves
// no trace: a check that root makes must not leave files behind which the node, as another user, cannot write. Returns
// every problem, with file and key; `code` is an exit code of sysexits(3).
std::vector<Error> CheckFiles(const Settings& settings);

// Certificates and keys: whether they can be read and belong together. Returns every problem, as CheckFiles() does, and
// adds to `*notices` what is no error but worth knowing, such as that one expires soon.
std::vector<Error> CheckCertificates(const Settings& settings, std::vector<std::string>* notices);

// The addresses to listen on: whether each is free now, for this process. A node that runs with this configuration has
// taken them. Returns every problem, as CheckFiles() does; of names that do not resolve CheckAddresses() tells.
std::vector<Error> CheckPorts(const Settings& settings);

// The addresses to listen on: whether their names resolve, which may take a while. Binds nothing, since the node itself
// may be running. Returns every problem, as CheckFiles() does.
std::vector<Error> CheckAddresses(const Settings& settings);

}  // namespace aphlict::config
