// The certificates of a node: for each of its listeners that has TLS, and for what it connects to. Files that change
// are read anew by themselves; connections that are there keep what they began with.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/base/log.h"
#include "common/base/result.h"
#include "common/config/settings.h"
#include "common/net/file_watcher.h"
#include "common/net/loop.h"
#include "common/net/timer.h"
#include "common/net/tls_context.h"

namespace aphlict::node {

class Certificates {
 public:
  // `tickets` are those of the sessions, and outlive these too.
  Certificates(net::Loop& loop, Log& log, const net::TicketKeys& tickets);

  // Reads what the settings name. Once. Errors: which file, and what is wrong with it.
  Result<void> Load(const config::Settings& settings);

  // For a listener with these files. REQUIRES: loaded; not empty.
  std::shared_ptr<const net::TlsContext> ForServer(const net::TlsFiles& files) const;
  // Null where no URL of an upstream or a push peer asks for TLS.
  std::shared_ptr<const net::TlsContext> outgoing() const { return outgoing_; }

  // Logs which have been read.
  void LogLoaded() const;

 private:
  std::vector<net::TlsContext*> all() const;
  // Reads all files anew; where one is bad, what was read from that certificate's before stays. Logs what came of it.
  void Reload();
  void LogNotices() const;

  net::Loop& loop_;
  Log& log_;
  const net::TicketKeys& tickets_;
  std::vector<std::shared_ptr<net::TlsContext>> servers_;
  std::shared_ptr<net::TlsContext> outgoing_;
  std::vector<std::unique_ptr<net::FileWatcher>> watchers_;
  net::Timer reload_;  // some time after a change: a key and its certificate are two files
  net::Timer daily_;   // says what is about to expire
};

}  // namespace aphlict::node
