// `status`, and the commands that ask one question: `notify`, `config`.
#include <sysexits.h>

#include <cerrno>
#include <ctime>
#include <utility>

#include "common/base/file.h"
#include "common/base/printable.h"
#include "common/commands/actions.h"
#include "common/commands/phabricator.h"
#include "common/commands/table.h"
#include "common/commands/tree.h"
#include "common/net/timer.h"

namespace aphlict::commands {

namespace {

constexpr char kClearScreen[] = "\x1b[H\x1b[2J\x1b[3J";

std::string ClockTime() {
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  localtime_r(&now, &parts);
  char text[32];
  return {text, std::strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &parts)};
}

// What `status` prints, once.
Result<std::string> StatusText(Session& session, const Options& options) {
  auto status = session.FetchStatus(options.instance);
  if (!status) return status.error();
  if (options.json) return status->text + "\n";
  return RenderTree(ReadTree(status->value), status->value, session.width());
}

Result<int> WatchStatus(Session& session, const Options& options) {
  const auto interval = std::chrono::duration_cast<Duration>(std::chrono::duration<double>(options.watch_interval));
  net::Timer next(session.loop(), [&] { session.Done(); });
  for (bool first = true;; first = false) {
    auto text = StatusText(session, options);
    // The node may come back; one that was never there is a wrong address.
    if (!text && first) return text.error();
    std::string shown = text ? std::move(*text) : text.error().text + "\n";
    if (session.output_is_terminal()) {
      shown = kClearScreen + ClockTime() + "\n" + shown;
    } else if (!options.json) {
      shown = (first ? "" : "\n") + ClockTime() + "\n" + shown;
    } else if (!text) {
      session.Say(text.error().text);
      shown.clear();
    }
    if (!session.Print(shown)) return EX_IOERR;
    next.Start(interval);
    session.Wait();
  }
}

// The node's answer in one line, whatever it is.
std::string Answer(const HttpAnswer& answer) {
  if (answer.head.status != 200) return Describe(answer);
  return "200 OK: " + Printable(answer.body.substr(0, 200));
}

// Notes are for people, and what is printed for a file.
Result<int> PrintProposal(Session& session, const Proposal& proposal) {
  for (const std::string& note : proposal.notes) session.Say("note: " + note);
  return session.Print(proposal.text) ? EX_OK : EX_IOERR;
}

}  // namespace

Result<int> ShowStatus(Session& session, const Options& options) {
  if (options.watch) return WatchStatus(session, options);
  const auto text = StatusText(session, options);
  if (!text) return text.error();
  return session.Print(*text) ? EX_OK : EX_IOERR;
}

Result<int> Notify(Session& session, const Options& options) {
  if (options.phids.empty() && options.message.empty()) {
    return Error{"who gets the message? --phid PHID, or --message JSON", EX_USAGE};
  }
  session.Progress("publishing to " + session.admin().authority());
  const auto answer = session.Publish(
      options.message.empty() ? TestMessage(options.type, options.phids) : options.message, options.instance);
  session.Progress("");
  if (!answer) return answer.error();
  const std::string line = Answer(*answer) + " (" + Took(answer->took) + ")";
  if (answer->head.status != 200) {
    return Error{session.admin().authority() + ": " + line, ExitCodeOf(answer->head.status)};
  }
  return session.Print(line + "\n") ? EX_OK : EX_IOERR;
}

Result<int> PrintServers(Session& session, const Options& options) {
  const auto status = session.FetchStatus(options.instance);
  if (!status) return status.error();
  return PrintProposal(session, NotificationServers(ReadTree(status->value), session.admin()));
}

Result<int> ConvertFile(Session& session, const Options& options) {
  const auto text = ReadWholeFile(options.from);
  if (!text)
    return Error{options.from + ": " + text.error().text, text.error().code == EACCES ? EX_NOPERM : EX_NOINPUT};
  const Proposal proposal = ConvertAphlict(options.from, *text);
  for (const std::string& problem : proposal.problems) session.Say(problem);
  if (!proposal.problems.empty()) return EX_CONFIG;
  return PrintProposal(session, proposal);
}

}  // namespace aphlict::commands
