#include "master/journal.h"

#include <doctest/doctest.h>
#include <sysexits.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace {

using namespace aphlict;
using aphlict::master::Journal;
namespace fs = std::filesystem;

// A folder that goes with the test, and the verbs of a master on it.
class Folder {
 public:
  Folder() {
    std::string pattern = (fs::temp_directory_path() / "journal-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
    options.folder = path_ / "state";
  }
  ~Folder() {
    journal.reset();  // it writes to the folder, and to the log
    fs::remove_all(path_);
  }

  Result<std::unique_ptr<Journal>> TryOpen() { return Journal::Open(options, *log_); }
  void Open() {
    auto opened = TryOpen();
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().text));
    journal = std::move(*opened);
    numbered_ = journal->last();
  }
  void Close() { journal.reset(); }

  // Appends `count` messages in one transaction, with bodies that tell their sequence.
  void Append(int count, std::size_t keep = 1000, Time accepted = Now()) {
    std::vector<history::Message> messages;
    for (int i = 0; i < count; ++i) messages.push_back(Make(++numbered_, accepted));
    const auto appended = journal->Append(messages, keep);
    REQUIRE_MESSAGE(appended, (appended ? "" : appended.error().text));
  }

  history::Message Make(history::Sequence sequence, Time accepted) const {
    static const std::vector<std::string> subscribers{"PHID-USER-1"};
    return history::Message::Create(journal->epoch(), sequence, accepted,
                                    {"default", "", subscribers, "message " + std::to_string(sequence)});
  }

  std::vector<history::Sequence> Sequences() {
    std::vector<history::Sequence> sequences;
    for (const history::Message& message : journal->TakeMessages()) sequences.push_back(message.sequence());
    return sequences;
  }

  // Sets what the state file says, as another boot, another machine or another version would find it.
  void SetState(const std::string& key, const std::string& value) const {
    const fs::path path = fs::path(options.folder) / "state";
    std::ifstream in(path);
    std::string text;
    for (std::string line; std::getline(in, line);) {
      text += (line.compare(0, key.size() + 1, key + "=") == 0 ? key + "=" + value : line) + "\n";
    }
    std::ofstream(path) << text;
  }

  bool Logged(const std::string& event) const {
    return std::any_of(log_lines.begin(), log_lines.end(),
                       [&](const std::string& line) { return line.find("event=" + event) != std::string::npos; });
  }

  fs::path data() const { return fs::path(options.folder) / "data.mdb"; }

  Journal::Options options;
  std::unique_ptr<Journal> journal;
  std::vector<std::string> log_lines;

 private:
  fs::path path_;
  history::Sequence numbered_ = 0;
  std::unique_ptr<Log> log_ = Log::ForTest(&log_lines);
};

std::vector<history::Sequence> Range(history::Sequence from, history::Sequence to) {
  std::vector<history::Sequence> range;
  for (; from <= to; ++from) range.push_back(from);
  return range;
}

}  // namespace

TEST_CASE("a new journal is empty and has an epoch") {
  Folder folder;
  folder.Open();
  CHECK(folder.journal->epoch().size() == history::kEpochLength);
  CHECK(folder.journal->last() == 0);
  CHECK(folder.Sequences().empty());
}

TEST_CASE("what was appended is there after opening again, in its order, byte for byte") {
  Folder folder;
  folder.Open();
  folder.Append(3);
  folder.Append(1);
  const history::Epoch epoch = folder.journal->epoch();
  folder.Close();
  folder.Open();
  CHECK(folder.journal->epoch() == epoch);
  CHECK(folder.journal->last() == 4);
  const auto messages = folder.journal->TakeMessages();
  REQUIRE(messages.size() == 4);
  const Time any{};
  for (const history::Message& message : messages) {
    CHECK(message.client_frame().view() == folder.Make(message.sequence(), any).client_frame().view());
  }
}

TEST_CASE("the oldest go once there are more than are to be kept, and the sequence stays") {
  Folder folder;
  folder.Open();
  for (int i = 0; i < 500; ++i) folder.Append(1, 100);
  folder.Close();
  folder.Open();
  const auto sequences = folder.Sequences();
  CHECK(sequences.size() >= 101);
  CHECK(sequences.size() <= 101 + 128);
  CHECK(sequences.back() == 500);
  CHECK(sequences == Range(sequences.front(), 500));
}

TEST_CASE("a journal of which nothing is to be kept still knows its last sequence") {
  Folder folder;
  folder.Open();
  for (int i = 0; i < 200; ++i) folder.Append(1, 0);
  folder.Close();
  folder.Open();
  CHECK(folder.journal->last() == 200);
}

TEST_CASE("a message may be larger than many pages") {
  Folder folder;
  folder.Open();
  static const std::vector<std::string> subscribers{"PHID-USER-1"};
  const std::string body(8 * 1024 * 1024, 'x');
  const std::vector<history::Message> messages{
      history::Message::Create(folder.journal->epoch(), 1, Now(), {"default", "", subscribers, body})};
  REQUIRE(folder.journal->Append(messages, 10));
  folder.Close();
  folder.Open();
  const auto read = folder.journal->TakeMessages();
  REQUIRE(read.size() == 1);
  CHECK(read[0].client_frame().view().ends_with(body));
}

TEST_CASE("a new epoch counts from 1, and the messages of the old one stay") {
  Folder folder;
  folder.Open();
  folder.Append(3);
  const history::Epoch old = folder.journal->epoch();
  REQUIRE(folder.journal->BeginEpoch());
  CHECK(folder.journal->epoch() != old);
  CHECK(folder.journal->last() == 0);
  folder.Close();
  folder.Open();
  CHECK(folder.journal->epoch() != old);
  CHECK(folder.journal->last() == 0);
  CHECK(folder.Sequences() == Range(1, 3));
}

TEST_CASE("within one boot, times are taken as they are") {
  Folder folder;
  folder.Open();
  const Time accepted = std::chrono::floor<microseconds>(Now() - seconds(30));
  folder.Append(1, 10, accepted);
  folder.Close();
  folder.Open();
  CHECK(folder.journal->TakeMessages()[0].accepted() == accepted);
}

TEST_CASE("after another boot, ages go on from what they were, by the wall clock") {
  Folder folder;
  folder.Open();
  folder.Append(1, 10, Now() - seconds(30));
  folder.Append(1, 10, Now() - seconds(10));
  folder.Close();
  folder.SetState("boot", "another");
  for (int i = 0; i < 2; ++i) {  // the second time, from what was written anew
    folder.Open();
    const auto messages = folder.journal->TakeMessages();
    REQUIRE(messages.size() == 2);
    CHECK(Now() - messages[0].accepted() >= seconds(30));
    CHECK(Now() - messages[0].accepted() < seconds(40));
    CHECK(messages[1].accepted() - messages[0].accepted() >= milliseconds(19'900));
    CHECK(messages[1].accepted() - messages[0].accepted() <= milliseconds(20'100));
    folder.Close();
  }
}

TEST_CASE("after another boot, the numbering goes on only where everything had been flushed") {
  Folder folder;
  folder.Open();
  folder.Append(3);
  const history::Epoch epoch = folder.journal->epoch();
  folder.Close();  // flushes
  folder.SetState("boot", "another");
  SUBCASE("it had") {
    folder.Open();
    CHECK(folder.journal->epoch() == epoch);
    CHECK(folder.journal->last() == 3);
  }
  SUBCASE("it had not") {
    folder.SetState("flushed", "no");
    folder.Open();
    CHECK(folder.journal->epoch() != epoch);
    CHECK(folder.journal->last() == 0);
    CHECK(folder.Logged("epoch_ended"));
  }
  CHECK(folder.Sequences() == Range(1, 3));
}

TEST_CASE("a running journal says that it is not flushed, unless each commit waits for the disk") {
  Folder folder;
  const auto flushed = [&] {
    std::ifstream file(fs::path(folder.options.folder) / "state");
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    return text.find("flushed=yes") != std::string::npos;
  };
  SUBCASE("process") {
    folder.Open();
    CHECK_FALSE(flushed());
  }
  SUBCASE("power") {
    folder.options.durability = config::Durability::kPower;
    folder.Open();
    CHECK(flushed());
  }
  folder.Close();
  CHECK(flushed());
}

TEST_CASE("a database that was copied here ends the epoch") {
  Folder folder;
  folder.Open();
  folder.Append(3);
  const history::Epoch epoch = folder.journal->epoch();
  folder.Close();
  fs::copy_file(folder.data(), folder.data().string() + ".copy");
  fs::remove(folder.data());
  fs::rename(folder.data().string() + ".copy", folder.data());
  folder.SetState("inode", "1");  // a file system may give the new file the old one's number
  folder.Open();
  CHECK(folder.journal->epoch() != epoch);
  CHECK(folder.Sequences() == Range(1, 3));
}

TEST_CASE("one folder has one journal at a time") {
  Folder folder;
  folder.Open();
  const auto second = folder.TryOpen();
  REQUIRE_FALSE(second);
  CHECK(second.error().code == EX_UNAVAILABLE);
  folder.Close();
  CHECK(folder.TryOpen());
}

TEST_CASE("what cannot be trusted is refused with a reason") {
  Folder folder;
  folder.Open();
  folder.Append(100);
  folder.Close();
  const auto refused = [&](const char* reason) {
    const auto opened = folder.TryOpen();
    REQUIRE_FALSE(opened);
    CHECK(opened.error().code == EX_CONFIG);
    CHECK(opened.error().text.find(folder.options.folder) != std::string::npos);
    CHECK_MESSAGE(opened.error().text.find(reason) != std::string::npos, opened.error().text);
  };
  SUBCASE("a file that was cut") {
    fs::resize_file(folder.data(), 12'288);
    refused("damaged");
  }
  SUBCASE("a damaged record") {
    std::fstream file(folder.data(), std::ios::in | std::ios::out | std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(file), {}};
    for (std::size_t at = bytes.find("message 5"); at != std::string::npos; at = bytes.find("message 5", at + 1)) {
      file.seekp(static_cast<std::streamoff>(at));
      file << "massage 5";
    }
    file.close();
    refused("damaged");
  }
  SUBCASE("a file of something else") {
    std::ofstream(folder.data()) << std::string(20'000, 'x');
    refused("damaged");
  }
  SUBCASE("no state file") {
    fs::remove(fs::path(folder.options.folder) / "state");
    refused("state");
  }
  SUBCASE("a state file of another version") {
    folder.SetState("format", "2");
    refused("format \"2\"");
  }
}

TEST_CASE("a damaged database of which nothing was promised is discarded, and said so") {
  Folder folder;
  folder.Open();
  folder.Append(100);
  folder.Close();
  folder.SetState("boot", "another");
  folder.SetState("flushed", "no");
  std::ofstream(folder.data()) << std::string(20'000, 'x');
  folder.Open();
  CHECK(folder.Sequences().empty());
  CHECK(folder.Logged("state_discarded"));
}

TEST_CASE("when there is no room, nothing of the transaction is stored, and its numbers can be given again") {
  Folder folder;
  folder.options.history_bytes = 0;  // the map is then 256 MiB
  folder.Open();
  static const std::vector<std::string> subscribers{"PHID-USER-1"};
  const std::string body(40 * 1024 * 1024, 'x');
  std::vector<history::Message> messages;
  for (history::Sequence sequence = 1; sequence <= 8; ++sequence) {
    messages.push_back(
        history::Message::Create(folder.journal->epoch(), sequence, Now(), {"default", "", subscribers, body}));
  }
  const auto appended = folder.journal->Append(messages, 1000);
  REQUIRE_FALSE(appended);
  CHECK(appended.error().code == 507);
  CHECK(folder.journal->last() == 0);
  folder.Append(2);
  folder.Close();
  folder.Open();
  CHECK(folder.Sequences() == Range(1, 2));
}
