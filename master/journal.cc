#include "master/journal.h"

#include <fcntl.h>
#include <lmdb.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>
#include <system_error>
#include <utility>

#include "common/base/bytes.h"
#include "common/base/random.h"
#include "common/base/siphash.h"

namespace aphlict::master {

namespace {

constexpr char kFormat[] = "1";
constexpr char kMessages[] = "messages";
constexpr char kMeta[] = "meta";
constexpr char kEpochKey[] = "epoch";

// A record: the wall clock at its acceptance (microseconds), a checksum of the rest, the payload as the feed has it.
constexpr std::size_t kWallClockAt = 0;
constexpr std::size_t kChecksumAt = 8;
constexpr std::size_t kPayloadAt = 16;
constexpr SipKey kChecksumKey{0x6170686c69637420, 0x6a6f75726e616c31};  // no secret: it finds damage, not malice

// Disk blocks that are taken in advance, so that few commits have to.
constexpr std::size_t kBlocksAhead = std::size_t{1} << 20;
// Pages that a transaction may need beside those of its records and of the free list: the ways to the root at both
// ends.
constexpr std::size_t kUsualPages = 64;
constexpr std::size_t kPageBytes = 4096;  // LMDB's are not smaller

// Records that may stay longer than they are wanted, so that not every commit touches both ends of the database.
constexpr std::size_t kSlack = 64;

std::string Reason(int error) { return mdb_strerror(error); }

// The status to answer publishes with. LMDB reports the write that a full disk cuts short as EIO.
int StatusOf(int error) {
  return error == ENOSPC || error == EDQUOT || error == EIO || error == MDB_MAP_FULL ? 507 : 500;
}

std::int64_t WallClock() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * std::int64_t{1'000'000} + now.tv_nsec / 1000;
}

std::int64_t Microseconds(Time time) { return std::chrono::floor<microseconds>(time.time_since_epoch()).count(); }

int ExitCode(int error) { return error == EACCES || error == EPERM || error == EROFS ? EX_NOPERM : EX_OSERR; }

Error SystemError(const std::string& what, int error) { return {what + ": " + std::strerror(error), ExitCode(error)}; }

// Whether a block that was taken with fallocate() is there for every later write, too: file systems that write
// elsewhere than before, those over a network, and those whose ground is not known cannot promise it (statfs(2)).
bool KeepsBlocks(const std::string& folder) {
  constexpr std::uint64_t kExt = 0xef53, kXfs = 0x58465342, kTmpfs = 0x01021994;
  struct statfs about {};
  if (statfs(folder.c_str(), &about) != 0) return false;
  const auto type = static_cast<std::uint64_t>(about.f_type);
  return type == kExt || type == kXfs || type == kTmpfs;
}

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

// This boot's id, which the kernel draws anew each time.
std::string BootId() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(file, id);
  return id;
}

// What `state` says.
struct StateFile {
  std::string format = kFormat;
  std::string boot;
  std::uint64_t inode = 0;  // of the database: one that was copied here, from a backup say, has another
  bool flushed = false;     // whether everything that was committed is on the disk

  static Result<std::optional<StateFile>> Read(const std::string& path) {
    std::ifstream file(path);
    if (!file) {
      if (errno == ENOENT) return std::optional<StateFile>();
      return SystemError("open " + path, errno);
    }
    std::map<std::string, std::string> values;
    for (std::string line; std::getline(file, line);) {
      const std::size_t equals = line.find('=');
      if (equals != std::string::npos) values[line.substr(0, equals)] = line.substr(equals + 1);
    }
    StateFile state;
    state.format = values["format"];
    state.boot = values["boot"];
    state.inode = std::strtoull(values["inode"].c_str(), nullptr, 10);
    state.flushed = values["flushed"] == "yes";
    if (state.format != kFormat) {
      return Error{path + ": format \"" + state.format + "\" is not " + kFormat +
                       ", which this version reads; go back to the version that wrote it, or remove the folder",
                   EX_CONFIG};
    }
    return std::optional<StateFile>(state);
  }

  // Whole or not at all, and on the disk before it returns.
  Result<void> Write(const std::string& path) const {
    std::ostringstream text;
    text << "format=" << format << "\nboot=" << boot << "\ninode=" << inode << "\nflushed=" << (flushed ? "yes" : "no")
         << "\n";
    const std::string bytes = text.str();
    const std::string next = path + ".new";
    {
      const Descriptor file(open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640));
      if (file.get() < 0) return SystemError("open " + next, errno);
      if (write(file.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size()) ||
          fsync(file.get()) != 0) {
        const Error error = SystemError("write " + next, errno);
        unlink(next.c_str());
        return error;
      }
    }
    if (rename(next.c_str(), path.c_str()) != 0) return SystemError("rename " + next, errno);
    const Descriptor folder(
        open(std::filesystem::path(path).parent_path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (folder.get() >= 0) fsync(folder.get());
    return {};
  }
};

// An open database.
class Database {
 public:
  static Result<Database> Open(const std::string& folder, unsigned flags, std::size_t map_bytes) {
    Database database;
    if (mdb_env_create(&database.env_) != 0) return Error{"out of memory", EX_OSERR};
    mdb_env_set_maxdbs(database.env_, 2);
    mdb_env_set_mapsize(database.env_, map_bytes);
    // One process holds the folder (its own lock says so), and has one transaction at a time.
    const int opened = mdb_env_open(database.env_, folder.c_str(), flags | MDB_NOLOCK | MDB_NOTLS, 0640);
    if (opened != 0) {
      const bool foreign = opened == MDB_INVALID || opened == MDB_VERSION_MISMATCH;
      return Error{folder + "/data.mdb: " + Reason(opened) +
                       (foreign ? "; it is damaged or not ours: remove the folder to start anew" : ""),
                   foreign ? EX_CONFIG : ExitCode(opened)};
    }
    if (auto whole = database.CheckLength(folder); !whole) return whole.error();
    database.in_map_ = (flags & MDB_WRITEMAP) != 0;
    return database;
  }

  Database(Database&& other) noexcept
      : messages(other.messages),
        meta(other.meta),
        env_(std::exchange(other.env_, nullptr)),
        in_map_(other.in_map_),
        blocks_(other.blocks_) {}
  Database& operator=(Database&& other) noexcept {
    std::swap(env_, other.env_);
    messages = other.messages;
    meta = other.meta;
    in_map_ = other.in_map_;
    blocks_ = other.blocks_;
    return *this;
  }
  ~Database() {
    if (env_ != nullptr) mdb_env_close(env_);
  }

  // Takes the disk blocks that a transaction of so many new pages may need, and those of a list of every page that it
  // may free. Where it writes into the map, it would otherwise end in SIGBUS when the disk is full. Returns an errno,
  // or 0.
  int TakeBlocks(std::size_t pages) {
    if (!in_map_) return 0;
    MDB_envinfo info{};
    MDB_stat stat{};
    mdb_env_info(env_, &info);
    mdb_env_stat(env_, &stat);
    const std::size_t free_list = 1 + info.me_last_pgno * sizeof(std::size_t) / stat.ms_psize;
    const std::size_t needed = std::min((info.me_last_pgno + 1 + pages + free_list) * stat.ms_psize, info.me_mapsize);
    if (needed <= blocks_) return 0;
    int descriptor = -1;
    mdb_env_get_fd(env_, &descriptor);
    int result = 0;
    for (const std::size_t end : {std::min(needed + kBlocksAhead, info.me_mapsize), needed}) {
      do {
        result =
            fallocate(descriptor, 0, static_cast<off_t>(blocks_), static_cast<off_t>(end - blocks_)) == 0 ? 0 : errno;
      } while (result == EINTR);
      if (result == 0) {
        blocks_ = end;
        break;
      }
    }
    return result;
  }

  MDB_env* env() const { return env_; }
  MDB_dbi messages = 0;
  MDB_dbi meta = 0;

 private:
  Database() = default;

  // Reading the map past the file's end would be SIGBUS.
  Result<void> CheckLength(const std::string& folder) const {
    MDB_envinfo info{};
    MDB_stat stat{};
    mdb_env_info(env_, &info);
    mdb_env_stat(env_, &stat);
    std::error_code error;
    const std::uintmax_t size = std::filesystem::file_size(folder + "/data.mdb", error);
    if (!error && size < (info.me_last_pgno + 1) * stat.ms_psize) {
      return Error{folder + "/data.mdb: it has been cut off; remove the folder to start anew", EX_CONFIG};
    }
    return {};
  }

  MDB_env* env_ = nullptr;
  bool in_map_ = false;     // whether it is written to by its map
  std::size_t blocks_ = 0;  // bytes from the file's beginning that have blocks on the disk
};

// Aborts at its end unless committed.
class Transaction {
 public:
  static Result<Transaction> Begin(const Database& database, unsigned flags = 0) {
    Transaction transaction;
    if (const int begun = mdb_txn_begin(database.env(), nullptr, flags, &transaction.txn_); begun != 0) {
      return Error{Reason(begun), begun};
    }
    return transaction;
  }
  Transaction(Transaction&& other) noexcept : txn_(std::exchange(other.txn_, nullptr)) {}
  Transaction& operator=(Transaction&& other) noexcept {
    std::swap(txn_, other.txn_);
    return *this;
  }
  ~Transaction() {
    if (txn_ != nullptr) mdb_txn_abort(txn_);
  }
  MDB_txn* get() const { return txn_; }
  int Commit() { return mdb_txn_commit(std::exchange(txn_, nullptr)); }

 private:
  Transaction() = default;
  MDB_txn* txn_ = nullptr;
};

// On the messages. To be closed before its transaction ends.
class Cursor {
 public:
  Cursor(const Transaction& transaction, const Database& database, int* error) {
    *error = mdb_cursor_open(transaction.get(), database.messages, &cursor_);
  }
  Cursor(const Cursor&) = delete;
  Cursor& operator=(const Cursor&) = delete;
  ~Cursor() {
    if (cursor_ != nullptr) mdb_cursor_close(cursor_);
  }
  MDB_cursor* get() const { return cursor_; }

 private:
  MDB_cursor* cursor_ = nullptr;
};

std::uint64_t Checksum(std::string_view record) { return SipHash(kChecksumKey, record.substr(kPayloadAt)); }

// Calls visit(position, record) for each record, oldest first; the records are checked, and borrowed for the call.
template <class Visit>
Result<void> ForEachRecord(const Transaction& transaction, const Database& database, Visit visit) {
  int got = 0;
  const Cursor cursor(transaction, database, &got);
  if (got != 0) return Error{Reason(got)};
  MDB_val key{};
  MDB_val value{};
  got = mdb_cursor_get(cursor.get(), &key, &value, MDB_FIRST);
  for (; got == 0; got = mdb_cursor_get(cursor.get(), &key, &value, MDB_NEXT)) {
    const std::string_view record(static_cast<const char*>(value.mv_data), value.mv_size);
    std::uint64_t position = 0;
    if (key.mv_size != sizeof(position) || record.size() < kPayloadAt ||
        LoadBigEndian<std::uint64_t>(record.data() + kChecksumAt) != Checksum(record)) {
      return Error{"a record is damaged"};
    }
    std::memcpy(&position, key.mv_data, sizeof(position));
    visit(position, record);
  }
  if (got != MDB_NOTFOUND) return Error{Reason(got)};
  return {};
}

Result<void> OpenTables(Database& database, Transaction& transaction, unsigned create) {
  int opened = mdb_dbi_open(transaction.get(), kMessages, MDB_INTEGERKEY | create, &database.messages);
  if (opened == 0) opened = mdb_dbi_open(transaction.get(), kMeta, create, &database.meta);
  if (opened == 0) return {};
  return Error{Reason(opened), EX_CONFIG};
}

// Whether every record can be read. LMDB trusts its pages, and may crash on damaged ones; so a child looks first.
bool IsReadable(const std::string& folder, std::size_t map_bytes) {
  const pid_t child = fork();
  if (child == 0) {
    const rlimit no_core{0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    const int nowhere = open("/dev/null", O_WRONLY);
    dup2(nowhere, STDERR_FILENO);
    auto database = Database::Open(folder, MDB_RDONLY, map_bytes);
    if (!database) _exit(1);
    auto transaction = Transaction::Begin(*database, MDB_RDONLY);
    if (!transaction || !OpenTables(*database, *transaction, 0)) _exit(1);
    _exit(ForEachRecord(*transaction, *database, [](std::uint64_t, std::string_view) {}) ? 0 : 1);
  }
  int status = 0;
  while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return child > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

struct Journal::Impl {
  Impl(const Options& o, Log& l) : options(o), log(l) {}

  std::string state_path() const { return options.folder + "/state"; }
  std::string data_path() const { return options.folder + "/data.mdb"; }
  // Messages take whole pages where they are large, and old pages are used again one commit later.
  std::size_t map_bytes() const { return 4 * options.history_bytes + (std::size_t{256} << 20); }

  Result<void> Lock();
  Result<void> OpenDatabase();
  Result<std::vector<history::Message>> Load(bool same_boot);
  history::Epoch ReadEpoch() const;  // empty: none yet
  Result<void> WriteEpoch(const history::Epoch& epoch);
  Result<void> Prepare(const Journal& journal, bool same_boot, bool new_epoch);
  Result<void> Rewrite(std::span<const history::Message> messages);
  // A transaction that adds messages, and takes away so many records. Errors: `code` is LMDB's, or an errno.
  Result<Transaction> BeginWrite(std::span<const history::Message> messages, std::size_t dropped);
  Result<void> WriteState(bool flushed);
  Result<void> Store(std::span<const history::Message> messages, std::size_t keep);
  // Both return LMDB's error, or 0.
  int Put(const Cursor& cursor, std::span<const history::Message> messages);
  int DropOldest(const Cursor& cursor, std::size_t count);

  Options options;
  Log& log;
  Descriptor lock;
  std::optional<Database> database;
  std::string boot = BootId();
  std::uint64_t next_position = 0;
  std::size_t records = 0;
};

Journal::Journal() = default;

Result<std::unique_ptr<Journal>> Journal::Open(const Options& options, Log& log) {
  std::unique_ptr<Journal> journal(new Journal);
  journal->impl_ = std::make_unique<Impl>(options, log);
  Impl& impl = *journal->impl_;
  if (auto locked = impl.Lock(); !locked) return locked.error();
  const auto state = StateFile::Read(impl.state_path());
  if (!state) return state.error();
  std::error_code error;
  bool exists = std::filesystem::exists(impl.data_path(), error);
  if (exists && !*state) {
    return Error{impl.data_path() +
                     ": there is no `state` beside it, so this is not a folder of ours, or half of one; "
                     "remove it, or name another",
                 EX_CONFIG};
  }

  const bool same_boot = *state && (*state)->boot == impl.boot;
  if (exists && !IsReadable(options.folder, impl.map_bytes())) {
    if (same_boot || (*state)->flushed) {
      return Error{impl.data_path() + ": it is damaged; remove the folder to start anew", EX_CONFIG};
    }
    // A crash of the machine may leave what was not flushed in any condition. Followers still have their history.
    log.Warning("state_discarded",
                {{"folder", options.folder}, {"reason", "the machine stopped before it was flushed"}});
    std::filesystem::remove(impl.data_path(), error);
    exists = false;
  }
  if (!exists) {
    // First, so that a database is never without it.
    if (auto written = StateFile{kFormat, impl.boot, 0, false}.Write(impl.state_path()); !written)
      return written.error();
  }
  struct stat file {};
  const bool same_file = exists && stat(impl.data_path().c_str(), &file) == 0 && file.st_ino == (*state)->inode;
  if (auto opened = impl.OpenDatabase(); !opened) return opened.error();
  auto messages = impl.Load(same_boot);
  if (!messages) return messages.error();
  journal->messages_ = std::move(*messages);

  journal->epoch_ = impl.ReadEpoch();
  const bool goes_on = !journal->epoch_.empty() && same_file && (same_boot || (*state)->flushed);
  if (goes_on) {
    for (const history::Message& message : journal->messages_) {
      if (message.epoch() == journal->epoch_) journal->last_ = message.sequence();
    }
  } else {
    if (!journal->epoch_.empty()) {
      log.Warning("epoch_ended",
                  {{"epoch", journal->epoch_},
                   {"reason", same_file ? "the machine stopped before it was flushed" : "the folder was copied here"}});
    }
    journal->epoch_ = RandomId();
  }
  if (auto ready = impl.Prepare(*journal, same_boot, !goes_on); !ready) {
    return Error{impl.data_path() + ": " + ready.error().text, EX_OSERR};
  }
  log.Info("state_opened", {{"folder", options.folder},
                            {"epoch", journal->epoch_},
                            {"last", journal->last_},
                            {"messages", journal->messages_.size()},
                            {"durability", options.durability == config::Durability::kPower ? "power" : "process"}});
  return journal;
}

Journal::~Journal() {
  if (!impl_ || !impl_->database) return;
  mdb_env_sync(impl_->database->env(), 1);
  if (auto written = impl_->WriteState(true); !written) {
    impl_->log.Error("state_write_failed", {{"reason", written.error().text}});
  }
}

Result<void> Journal::Append(std::span<const history::Message> messages, std::size_t keep) {
  if (messages.empty()) return {};
  auto stored = impl_->Store(messages, keep);
  if (stored) last_ = messages.back().sequence();
  return stored;
}

Result<void> Journal::BeginEpoch() {
  const history::Epoch epoch = RandomId();
  if (auto written = impl_->WriteEpoch(epoch); !written) return written;
  epoch_ = epoch;
  last_ = 0;
  return {};
}

Result<void> Journal::Impl::Lock() {
  std::error_code error;
  if (std::filesystem::create_directories(options.folder, error)) {
    // Messages are their subscribers' business.
    std::filesystem::permissions(options.folder, std::filesystem::perms::owner_all, error);
  }
  if (error) return SystemError("create " + options.folder, error.value());
  const std::string path = options.folder + "/lock";
  lock = Descriptor(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640));
  if (lock.get() < 0) return SystemError("open " + path, errno);
  if (flock(lock.get(), LOCK_EX | LOCK_NB) == 0) return {};
  if (errno == EWOULDBLOCK) return Error{options.folder + ": another master holds this folder", EX_UNAVAILABLE};
  return SystemError("lock " + path, errno);
}

Result<void> Journal::Impl::OpenDatabase() {
  // Writes into the map cost no system calls, and are there for the next process as those of pwrite() are.
  unsigned flags = 0;
  if (options.durability == config::Durability::kProcess) {
    flags = MDB_NOSYNC | (KeepsBlocks(options.folder) ? MDB_WRITEMAP : 0);
  }
  auto opened = Database::Open(options.folder, flags, map_bytes());
  if (!opened) return opened.error();
  if (const int taken = opened->TakeBlocks(kUsualPages); taken != 0) return SystemError(data_path(), taken);
  auto transaction = Transaction::Begin(*opened);
  if (!transaction) return Error{data_path() + ": " + transaction.error().text, ExitCode(transaction.error().code)};
  if (auto tables = OpenTables(*opened, *transaction, MDB_CREATE); !tables) {
    return Error{data_path() + ": " + tables.error().text, tables.error().code};
  }
  if (const int committed = transaction->Commit(); committed != 0) {
    return Error{data_path() + ": " + Reason(committed), ExitCode(committed)};
  }
  database.emplace(std::move(*opened));
  return {};
}

// What was accepted in this boot has its time on this boot's monotonic clock. What was accepted in another is as old
// as it was at the last commit, by that boot's monotonic clock, and as the wall clock says has gone by since.
Result<std::vector<history::Message>> Journal::Impl::Load(bool same_boot) {
  const auto transaction = Transaction::Begin(*database, MDB_RDONLY);
  if (!transaction) return Error{data_path() + ": " + transaction.error().text, EX_OSERR};
  std::vector<history::Message> messages;
  std::int64_t last_wall_clock = 0;
  bool decoded_all = true;
  const auto read = ForEachRecord(*transaction, *database, [&](std::uint64_t position, std::string_view record) {
    auto message = history::Message::Decode(record.substr(kPayloadAt), Duration::zero());
    decoded_all = decoded_all && message.has_value();
    if (!message) return;
    messages.push_back(std::move(*message));
    last_wall_clock = LoadBigEndian<std::int64_t>(record.data() + kWallClockAt);
    next_position = position + 1;
    ++records;
  });
  const Error damaged{data_path() + ": a record is damaged; remove the folder to start anew", EX_CONFIG};
  if (!read || !decoded_all) return damaged;
  if (same_boot || messages.empty()) return messages;

  const std::int64_t now = WallClock();
  const auto since_then = microseconds(now - std::clamp<std::int64_t>(last_wall_clock, 0, now));
  const Duration difference = Now() - since_then - messages.back().accepted();
  for (history::Message& message : messages) {
    auto moved = history::Message::Decode(message.feed_payload(), difference);
    if (!moved) return damaged;
    message = std::move(*moved);
  }
  return messages;
}

Result<void> Journal::Impl::WriteState(bool flushed) {
  StateFile state;
  state.boot = boot;
  state.flushed = flushed;
  struct stat file {};
  if (stat(data_path().c_str(), &file) != 0) return SystemError("stat " + data_path(), errno);
  state.inode = file.st_ino;
  return state.Write(state_path());
}

// Before anything is written: from now on, what the state file says must be true of this boot.
Result<void> Journal::Impl::Prepare(const Journal& journal, bool same_boot, bool new_epoch) {
  const bool flushed = options.durability == config::Durability::kPower;
  if (flushed) mdb_env_sync(database->env(), 1);  // what an earlier life of the process did not flush
  if (auto written = WriteState(flushed); !written) return written;
  if (!same_boot && !journal.messages_.empty()) {
    if (auto written = Rewrite(journal.messages_); !written) return written;
  }
  if (!new_epoch) return {};
  return WriteEpoch(journal.epoch_);
}

history::Epoch Journal::Impl::ReadEpoch() const {
  const auto transaction = Transaction::Begin(*database, MDB_RDONLY);
  MDB_val key{sizeof(kEpochKey) - 1, const_cast<char*>(kEpochKey)};
  MDB_val value{};
  if (!transaction || mdb_get(transaction->get(), database->meta, &key, &value) != 0 ||
      value.mv_size != history::kEpochLength) {
    return {};
  }
  return {static_cast<const char*>(value.mv_data), value.mv_size};
}

Result<Transaction> Journal::Impl::BeginWrite(std::span<const history::Message> messages, std::size_t dropped) {
  auto transaction = Transaction::Begin(*database);
  if (!transaction && transaction.error().code == MDB_PANIC) {
    // A commit failed while it wrote the page that makes it valid. The file is as it was before; LMDB wants it opened
    // anew.
    database.reset();
    if (auto opened = OpenDatabase(); !opened) return opened.error();
    transaction = Transaction::Begin(*database);
  }
  if (!transaction) return transaction;
  std::size_t pages = kUsualPages + dropped;  // each may be in a page of its own, which is written anew
  for (const history::Message& message : messages) pages += 2 + message.size() / kPageBytes;
  if (const int taken = database->TakeBlocks(pages); taken != 0) return Error{std::strerror(taken), taken};
  return transaction;
}

// With their times on the present boot's clock.
Result<void> Journal::Impl::Rewrite(std::span<const history::Message> messages) {
  auto transaction = BeginWrite(messages, records);
  if (!transaction) return transaction.error();
  next_position = 0;
  int result = mdb_drop(transaction->get(), database->messages, 0);
  if (result == 0) {
    const Cursor cursor(*transaction, *database, &result);
    if (result == 0) result = Put(cursor, messages);
  }
  if (result == 0) result = transaction->Commit();
  if (result != 0) return Error{Reason(result)};
  records = messages.size();
  return {};
}

Result<void> Journal::Impl::WriteEpoch(const history::Epoch& epoch) {
  auto transaction = BeginWrite({}, 0);
  if (!transaction) return Error{"state: " + transaction.error().text, StatusOf(transaction.error().code)};
  MDB_val key{sizeof(kEpochKey) - 1, const_cast<char*>(kEpochKey)};
  MDB_val value{epoch.size(), const_cast<char*>(epoch.data())};
  int result = mdb_put(transaction->get(), database->meta, &key, &value, 0);
  if (result == 0) result = transaction->Commit();
  if (result != 0) return Error{"state: " + Reason(result), StatusOf(result)};
  return {};
}

int Journal::Impl::Put(const Cursor& cursor, std::span<const history::Message> messages) {
  const std::int64_t to_wall_clock = WallClock() - Microseconds(Now());
  for (const history::Message& message : messages) {
    const std::string_view payload = message.feed_payload();
    MDB_val key{sizeof(next_position), &next_position};
    MDB_val value{kPayloadAt + payload.size(), nullptr};
    if (const int put = mdb_cursor_put(cursor.get(), &key, &value, MDB_RESERVE | MDB_APPEND); put != 0) return put;
    char* record = static_cast<char*>(value.mv_data);
    StoreBigEndian(record + kWallClockAt, to_wall_clock + Microseconds(message.accepted()));
    std::memcpy(record + kPayloadAt, payload.data(), payload.size());
    StoreBigEndian(record + kChecksumAt, Checksum({record, value.mv_size}));
    ++next_position;
  }
  return 0;
}

int Journal::Impl::DropOldest(const Cursor& cursor, std::size_t count) {
  for (; count > 0; --count) {
    MDB_val key{};
    MDB_val value{};
    int result = mdb_cursor_get(cursor.get(), &key, &value, MDB_FIRST);
    if (result == 0) result = mdb_cursor_del(cursor.get(), 0);
    if (result != 0) return result;
  }
  return 0;
}

Result<void> Journal::Impl::Store(std::span<const history::Message> messages, std::size_t keep) {
  const std::uint64_t position_before = next_position;
  // Never more than a little at a time, and never the last: it has the last sequence that was given.
  const std::size_t surplus = records > keep ? records - keep : 0;
  const std::size_t dropped = surplus < kSlack ? 0 : std::min(surplus, kSlack + 2 * messages.size());
  auto transaction = BeginWrite(messages, dropped);
  if (!transaction) return Error{"state: " + transaction.error().text, StatusOf(transaction.error().code)};
  int result = 0;
  {
    const Cursor cursor(*transaction, *database, &result);
    if (result == 0 && dropped > 0) result = DropOldest(cursor, dropped);
    if (result == 0) result = Put(cursor, messages);
  }
  if (result == 0) result = transaction->Commit();
  if (result != 0) {
    next_position = position_before;
    return Error{"state: " + Reason(result), StatusOf(result)};
  }
  records += messages.size() - dropped;
  return {};
}

}  // namespace aphlict::master
