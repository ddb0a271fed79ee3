// The certificates of a node: for each of its listeners that has TLS, and for what it connects to. Files that change
// are read anew by themselves; connections that are there keep what they began with.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/log.h"
#include "common/base/result.h"
#include "common/config/settings.h"
#include "common/net/file_watcher.h"
#include "common/net/loop.h"
#include "common/net/tls_context.h"

namespace aphlict::node {

class Certificates {
 public:
  Certificates(net::Loop& loop, Log& log);

  // Reads what the settings name. Errors: which file, and what is wrong with it.
  Result<void> Load(const config::Settings& settings);

  // For a listener with these files. REQUIRES: loaded; not empty.
  const net::TlsContext* ForServer(const net::TlsFiles& files) const;
  // Null where no upstream's URL asks for TLS.
  const net::TlsContext* outgoing() const { return outgoing_.get(); }

  // Reads all files anew; where one is bad, what was read from that certificate's before stays. Logs what came of it.
  void Reload();

 private:
  std::vector<net::TlsContext*> all() const;
  void LogNotices() const;

  net::Loop& loop_;
  Log& log_;
  std::optional<net::TicketKeys> tickets_;  // shared by nodes with the same secret: a browser may come back to another
  std::vector<std::unique_ptr<net::TlsContext>> servers_;
  std::unique_ptr<net::TlsContext> outgoing_;
  std::vector<std::unique_ptr<net::FileWatcher>> watchers_;
  net::Timer reload_;  // some time after a change: a key and its certificate are two files
  net::Timer daily_;   // says what is about to expire
};

}  // namespace aphlict::node
