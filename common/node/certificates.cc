#include "common/node/certificates.h"

#include <algorithm>
#include <ctime>

namespace aphlict::node {

namespace {

constexpr Duration kLook = seconds(2);
constexpr Duration kSettle = seconds(1);
constexpr Duration kDay = seconds(86'400);

const std::string& NameOf(const net::TlsContext& context) {
  return context.files().cert.empty() ? context.files().ca : context.files().cert;
}

}  // namespace

Certificates::Certificates(net::Loop& loop, Log& log, const net::TicketKeys& tickets)
    : loop_(loop), log_(log), tickets_(tickets), reload_(loop, [this] { Reload(); }), daily_(loop, [this] {
        LogNotices();
      }) {
  daily_.Unref();
  reload_.Unref();
}

Result<void> Certificates::Load(const config::Settings& settings) {
  for (const config::Server& server : settings.servers) {
    if (server.tls.empty() || ForServer(server.tls) != nullptr) continue;
    auto context = net::TlsContext::ForServer(server.tls, &tickets_);
    if (!context) return Error{server.where + ": " + context.error().text};
    servers_.push_back(std::move(*context));
  }
  const auto any_secure = [](const std::vector<http::Url>& urls) {
    return std::any_of(urls.begin(), urls.end(), [](const http::Url& url) { return url.secure(); });
  };
  const bool follows = std::any_of(settings.upstream.begin(), settings.upstream.end(),
                                   [&](const auto& group) { return any_secure(group.urls); });
  if (follows || any_secure(settings.cluster)) {
    auto outgoing = net::TlsContext::ForClient(settings.tls);
    if (!outgoing) return outgoing.error();
    outgoing_ = std::move(*outgoing);
  }

  std::vector<std::string> paths;
  for (const net::TlsContext* context : all()) {
    const net::TlsFiles& files = context->files();
    for (const std::string& path : {files.key, files.cert, files.chain, files.ca}) {
      if (!path.empty() && std::find(paths.begin(), paths.end(), path) == paths.end()) paths.push_back(path);
    }
  }
  for (const std::string& path : paths) {
    watchers_.push_back(std::make_unique<net::FileWatcher>(loop_, path, kLook, [this] { reload_.Start(kSettle); }));
  }
  if (!paths.empty()) daily_.Start(kDay, kDay);
  return {};
}

std::shared_ptr<const net::TlsContext> Certificates::ForServer(const net::TlsFiles& files) const {
  const auto found =
      std::find_if(servers_.begin(), servers_.end(), [&](const auto& each) { return each->files() == files; });
  return found == servers_.end() ? nullptr : *found;
}

std::vector<net::TlsContext*> Certificates::all() const {
  std::vector<net::TlsContext*> contexts;
  for (const auto& server : servers_) contexts.push_back(server.get());
  if (outgoing_) contexts.push_back(outgoing_.get());
  return contexts;
}

void Certificates::Reload() {
  for (net::TlsContext* context : all()) {
    if (context->files().empty()) continue;
    if (auto loaded = context->Reload(); !loaded) {
      log_.Error("certificate_not_reloaded", {{"file", NameOf(*context)}, {"reason", loaded.error().text}});
    } else {
      log_.Info("certificate_reloaded", {{"file", NameOf(*context)}, {"expires", context->expires()}});
    }
  }
  LogNotices();
}

void Certificates::LogLoaded() const {
  for (const net::TlsContext* context : all()) {
    if (context->files().empty()) continue;
    log_.Info("certificate_reloaded", {{"file", NameOf(*context)}, {"expires", context->expires()}});
  }
}

void Certificates::LogNotices() const {
  for (const net::TlsContext* context : all()) {
    for (const std::string& notice : context->Notices(std::time(nullptr))) {
      log_.Warning("certificate", {{"notice", notice}});
    }
  }
}

}  // namespace aphlict::node
