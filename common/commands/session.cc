#include "common/commands/session.h"

#include <sys/ioctl.h>
#include <sysexits.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <utility>

#include "common/base/printable.h"
#include "common/base/random.h"
#include "common/commands/json_layout.h"
#include "common/http/authorization.h"
#include "common/http/response.h"

namespace aphlict::commands {

Session::Session(std::string program, const Options& options)
    : program_(std::move(program)),
      timeout_(std::chrono::duration_cast<Duration>(std::chrono::duration<double>(options.timeout))),
      output_is_terminal_(isatty(STDOUT_FILENO) == 1),
      errors_are_terminal_(isatty(STDERR_FILENO) == 1) {}

Result<std::unique_ptr<Session>> Session::Open(std::string program, const Options& options) {
  std::unique_ptr<Session> session(new Session(std::move(program), options));
  auto admin = http::ParseUrl(options.admin);
  if (!admin) return Error{"--admin: " + admin.error().text, EX_USAGE};
  session->admin_ = std::move(*admin);
  net::TlsFiles files;
  files.ca = options.ca;
  auto tls = net::TlsContext::ForClient(files);
  if (!tls) return Error{(options.ca.empty() ? "" : "--ca: ") + tls.error().text, EX_NOINPUT};
  session->tls_ = std::move(*tls);
  if (!options.token_file.empty()) {
    auto token = Secrets::Read(options.token_file);
    if (!token) return Error{"--token-file: " + options.token_file + ": " + token.error().text, token.error().code};
    session->token_.emplace(std::move(*token));
    ForbidCoreFiles();
  }
  return session;
}

HttpRequest Session::AdminRequest(const http::Url& url, std::string_view path, const std::string& instance) const {
  HttpRequest request;
  request.url = url;
  if (request.url.path.empty() || request.url.path.back() != '/') request.url.path += '/';
  request.url.path += path;
  if (!instance.empty()) request.url.path += "?instance=" + http::PercentEncode(instance);
  if (token_) request.headers.Add("Authorization", http::BearerValue(token_->RevealFirst()));
  return request;
}

Result<HttpAnswer> Session::Fetch(HttpRequest request) {
  std::optional<Result<HttpAnswer>> answer;
  const std::string where = request.url.authority();
  const HttpCall call(loop_, std::move(request), tls(), timeout_, [&](auto got) {
    answer.emplace(std::move(got));
    Done();
  });
  Wait();
  if (!answer->has_value()) return Error{where + ": " + answer->error().text, EX_UNAVAILABLE};
  return std::move(**answer);
}

Result<HttpAnswer> Session::Publish(std::string message, const std::string& instance) {
  HttpRequest request = AdminRequest(admin_, "", instance);
  request.method = "POST";
  request.body = std::move(message);
  return Fetch(std::move(request));
}

Result<Session::Status> Session::FetchStatus(const std::string& instance) {
  auto answer = Fetch(AdminRequest(admin_, "status/", instance));
  if (!answer) return answer.error();
  return ReadStatus(admin_, *answer);
}

Result<Session::Status> Session::ReadStatus(const http::Url& url, const HttpAnswer& answer) {
  const std::string where = url.authority() + ": ";
  if (answer.head.status != 200) return Error{where + Describe(answer), ExitCodeOf(answer.head.status)};
  auto value = json::Parse(answer.body);
  if (!value || !(*value)["uptime"].is_number() || !(*value)["clients.active"].is_number()) {
    return Error{where + "what answers there is not a node: its status is none", EX_PROTOCOL};
  }
  return Status{answer.body, std::move(*value)};
}

void Session::Wait() {
  waits_ = true;
  while (waits_) loop_.Run();
}

void Session::Done() {
  waits_ = false;
  loop_.Stop();
}

bool Session::Print(std::string_view text) {
  return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
}

void Session::Say(std::string_view text) {
  Progress("");
  std::fprintf(stderr, "%s: %.*s\n", program_.c_str(), static_cast<int>(text.size()), text.data());
}

void Session::Progress(std::string_view text) {
  if (!errors_are_terminal_ || (text.empty() && !progress_shown_)) return;
  progress_shown_ = !text.empty();
  std::fprintf(stderr, "\r\x1b[K%s", Printable(text).c_str());
  std::fflush(stderr);
}

std::size_t Session::width() const {
  winsize size{};
  if (!output_is_terminal_ || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0) return 0;
  return size.ws_col;
}

std::string TestMessage(std::string_view type, const std::vector<std::string>& phids) {
  return "{\"type\":" + Quoted(type) + ",\"subscribers\":" + QuotedList(phids) + ",\"uniqueID\":" + Quoted(RandomId()) +
         "}";
}

std::string Describe(const HttpAnswer& answer) {
  std::string text = std::to_string(answer.head.status) + " " + std::string(http::ReasonPhrase(answer.head.status));
  if (const auto value = json::Parse(answer.body)) {
    if (const std::string& why = (*value)["error"].string(); !why.empty()) return text + ": " + Printable(why);
  }
  if (answer.head.headers.Find("Content-Type").value_or("").starts_with("text/html")) {
    return text + ", a page that is not a node's: a proxy answers in its place";
  }
  const std::string line = answer.body.substr(0, std::min<std::size_t>(answer.body.find('\n'), 200));
  return line.empty() ? text : text + ": " + Printable(line);
}

int ExitCodeOf(int status) {
  if (status == 401 || status == 403) return EX_NOPERM;
  if (status == 400 || status == 413) return EX_DATAERR;
  if (status >= 500) return EX_UNAVAILABLE;
  return EX_PROTOCOL;
}

}  // namespace aphlict::commands
