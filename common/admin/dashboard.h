// The dashboard: one page, built in, which reads the status of the node that it comes from. Its parts are in
// dashboard/, and the build puts them together (dashboard/embed.py).
#pragma once

#include <string_view>

namespace aphlict::admin {

extern const std::string_view kDashboardPage;    // HTML
extern const std::string_view kDashboardPolicy;  // for Content-Security-Policy: nothing but the page's own parts

}  // namespace aphlict::admin
