// What GET /status/ tells: Aphlict's keys for one instance, and the tree below the node.
#pragma once

#include <string>
#include <string_view>

#include "common/admin/snapshot.h"

namespace aphlict::admin {

// As JSON text.
std::string WriteStatus(const Snapshot& node, std::string_view instance);

}  // namespace aphlict::admin
