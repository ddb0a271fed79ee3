// The durable log of a master: its history and its numbering, in a folder that outlives the process.
//
// It is an LMDB database (data.mdb) with the messages in the order of their acceptance. Beside it lies `state`, a text
// file that says how far the database may be trusted: after another boot, one that was not flushed to the disk may have
// been rolled back, and so may its sequences, which must never be given twice. docs/operations.md is for operators.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/base/log.h"
#include "common/base/result.h"
#include "common/config/settings.h"
#include "common/history/cursor.h"
#include "common/history/message.h"

namespace aphlict::master {

class Journal {
 public:
  struct Options {
    std::string folder;  // made if it does not exist
    config::Durability durability = config::Durability::kProcess;
    std::size_t history_bytes = 64 * 1024 * 1024;  // what it is to hold; the file takes at most about four times that
  };

  // Opens the folder for this process alone, and reads what is in it. Errors: `code` is the exit code of sysexits(3):
  // 69 another master holds the folder, 77 not permitted, 78 the files are damaged, foreign, or of another version,
  // 71 else.
  static Result<std::unique_ptr<Journal>> Open(const Options& options, Log& log);
  // Flushes to the disk, whatever the durability.
  ~Journal();
  Journal(const Journal&) = delete;
  Journal& operator=(const Journal&) = delete;

  // The numbering to go on with, and the last sequence that was given in it. New where sequences may have been rolled
  // back.
  const history::Epoch& epoch() const { return epoch_; }
  history::Sequence last() const { return last_; }

  // What was in it at Open(), oldest first, with ages as they are now. Once.
  std::vector<history::Message> TakeMessages() { return std::move(messages_); }

  // Adds messages of the present epoch in one transaction, and lets the oldest go until about `keep` are left beside
  // them. Errors: nothing of it is stored; `code` is the status to answer publishes with (507 no room, 500 else).
  Result<void> Append(std::span<const history::Message> messages, std::size_t keep);
  // Starts a new numbering. Errors as Append().
  Result<void> BeginEpoch();

 private:
  struct Impl;
  Journal();

  std::unique_ptr<Impl> impl_;
  history::Epoch epoch_;
  history::Sequence last_ = 0;
  std::vector<history::Message> messages_;
};

}  // namespace aphlict::master
