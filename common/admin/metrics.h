// What GET /metrics tells: this node's counters, and sums over the tree below it. docs/metrics.md has them all.
#pragma once

#include <string>

#include "common/admin/exposition.h"
#include "common/admin/snapshot.h"
#include "common/base/resources.h"
#include "common/http/head.h"

namespace aphlict::admin {

// Which format a scraper asks for (Accept): OpenMetrics only where it names that and does not prefer the other.
MetricsFormat FormatFor(const http::Headers& headers);

// What stands in a label comes from the configuration or is one of a fixed set: nobody outside can make more of them.
std::string WriteMetrics(const Snapshot& node, const ResourceUse& resources, MetricsFormat format);

}  // namespace aphlict::admin
