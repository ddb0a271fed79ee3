// `check`: whether a tree works, seen from here.
#include <sysexits.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "common/base/random.h"
#include "common/commands/actions.h"
#include "common/commands/page.h"
#include "common/commands/table.h"
#include "common/commands/tree.h"
#include "common/net/timer.h"

namespace aphlict::commands {

namespace {

// What became of one thing.
struct Finding {
  std::string what;    // "status", "client", "delivery"
  std::string where;   // a URL or a node's name
  std::string result;  // "ok", or why not
  std::string time;
  bool failed = false;
};

// A client URL, and who tells it.
struct ClientUrl {
  std::string text;
  std::string node;  // empty: it was given
  std::optional<http::Url> url;
};

// Subscribes at a client URL, and waits for one message.
class Probe : private PageHandler {
 public:
  Probe(Session& session, Page::Options options, std::function<void()> changed)
      : loop_(session.loop()),
        changed_(std::move(changed)),
        page_(std::make_shared<Page>(loop_, std::move(options), session.tls(), static_cast<PageHandler&>(*this))) {}
  ~Probe() override {
    if (page_) page_->Close();
  }

  // Whether it has subscribed, or never will.
  bool settled() const { return subscribed_ || lost_; }
  bool lost() const { return lost_; }
  const std::string& reason() const { return reason_; }
  void Expect(std::string message) { expected_ = std::move(message); }
  const std::optional<Time>& arrived() const { return arrived_; }

 private:
  void OnSubscribed() override {
    subscribed_ = true;
    changed_();
  }
  void OnMessage(std::string_view message) override {
    if (!arrived_ && message == expected_) arrived_ = Now();
    changed_();
  }
  void OnLost(const std::string& reason) override {
    lost_ = true;
    reason_ = reason;
    loop_.DeleteLater(std::exchange(page_, nullptr));
    changed_();
  }

  net::Loop& loop_;
  std::function<void()> changed_;
  std::shared_ptr<Page> page_;
  bool subscribed_ = false;
  bool lost_ = false;
  std::string reason_;
  std::string expected_;
  std::optional<Time> arrived_;
};

class Checker {
 public:
  Checker(Session& session, const Options& options) : session_(session), options_(options) {}

  Result<int> Run() {
    for (const std::string& text : options_.nodes) {
      if (auto url = http::ParseUrl(text); !url) return Error{"--node: " + url.error().text, EX_USAGE};
    }
    CheckTree();
    for (const std::string& text : options_.clients) {
      auto url = http::ParseUrl(text);
      if (!url) return Error{"--client: " + url.error().text, EX_USAGE};
      Add({text, "", std::move(*url)});
    }
    CheckNodes();
    CheckClients();
    CheckDelivery();
    session_.Progress("");
    return Report();
  }

 private:
  void Found(std::string what, std::string where, std::string problem, std::string time = "") {
    const bool failed = !problem.empty();
    findings_.push_back(
        {std::move(what), std::move(where), failed ? std::move(problem) : "ok", std::move(time), failed});
  }
  void Unchecked(std::string what, std::string where, const std::string& why) {
    findings_.push_back({std::move(what), std::move(where), "not checked: " + why, "", false});
  }

  void Add(ClientUrl client) {
    const auto same = [&](const ClientUrl& each) { return each.url == client.url; };
    if (std::none_of(clients_.begin(), clients_.end(), same)) clients_.push_back(std::move(client));
  }

  // The node that --admin names, and whom it knows.
  void CheckTree() {
    session_.Progress("asking " + session_.admin().authority());
    const Time begin = Now();
    const auto status = session_.FetchStatus(options_.instance);
    const std::string where = session_.admin().authority();
    if (!status) return Found("status", where, status.error().text);
    Found("status", where, "", Took(Now() - begin));
    has_status_ = true;
    tree_ = ReadTree(status->value);
    asked_.insert(tree_.front().id);
    for (const TreeNode& node : tree_) {
      if (node.again) continue;
      const std::string name = NameOf(node);
      if (node.url.empty()) {
        if (node.role == "repeater") Unchecked("client", name, "it has no public URL");
        continue;
      }
      auto url = http::ParseUrl(node.url);
      if (!url) {
        Found("client", name, "its public URL: " + url.error().text);
        continue;
      }
      Add({node.url, name, std::move(*url)});
    }
  }

  // Asks all of them at once. `found` is told of each in the order of `requests`.
  void FetchAll(std::vector<HttpRequest> requests,
                const std::function<void(std::size_t, const Result<HttpAnswer>&)>& found) {
    std::vector<std::optional<Result<HttpAnswer>>> answers(requests.size());
    std::vector<std::unique_ptr<HttpCall>> calls;
    std::size_t open = requests.size();
    for (std::size_t i = 0; i < requests.size(); ++i) {
      calls.push_back(std::make_unique<HttpCall>(session_.loop(), std::move(requests[i]), session_.tls(),
                                                 session_.timeout(), [&, i](auto answer) {
                                                   answers[i].emplace(std::move(answer));
                                                   if (--open == 0) session_.Done();
                                                 }));
    }
    if (open > 0) session_.Wait();
    for (std::size_t i = 0; i < answers.size(); ++i) found(i, *answers[i]);
  }

  void CheckNodes() {
    std::vector<HttpRequest> requests;
    std::vector<http::Url> urls;
    for (const std::string& text : options_.nodes) {
      urls.push_back(*http::ParseUrl(text));
      requests.push_back(session_.AdminRequest(urls.back(), "status/", options_.instance));
    }
    session_.Progress("asking " + std::to_string(requests.size()) + " nodes");
    FetchAll(std::move(requests), [&](std::size_t i, const Result<HttpAnswer>& answer) {
      const std::string where = urls[i].authority();
      if (!answer) return Found("status", where, answer.error().text);
      const auto status = Session::ReadStatus(urls[i], *answer);
      if (!status) return Found("status", where, status.error().text);
      asked_.insert(status->value["fingerprint"].string());
      const std::string name = status->value["name"].string();
      Found("status", name.empty() ? where : where + " (" + name + ")", "", Took(answer->took));
    });
    for (const TreeNode& node : tree_) {
      if (node.again || asked_.count(node.id) != 0) continue;
      Unchecked("status", NameOf(node), "its admin port is not known; --node URL");
    }
  }

  static std::string NameOf(const TreeNode& node) { return node.name.empty() ? node.id : node.name; }

  // As Phabricator's setup check does it.
  void CheckClients() {
    std::vector<HttpRequest> requests;
    for (const ClientUrl& client : clients_) {
      requests.emplace_back();
      requests.back().url = *client.url;
    }
    session_.Progress("asking " + std::to_string(requests.size()) + " client ports");
    FetchAll(std::move(requests), [&](std::size_t i, const Result<HttpAnswer>& answer) {
      if (!answer) return Found("client", WhereOf(clients_[i]), answer.error().text);
      const int status = answer->head.status;
      const std::string problem = status == 501 ? "" : "answers " + Describe(*answer) + ", and not 501";
      Found("client", WhereOf(clients_[i]), problem, status == 501 ? Took(answer->took) : "");
    });
  }

  static std::string WhereOf(const ClientUrl& client) {
    return client.node.empty() ? client.text : client.text + " (" + client.node + ")";
  }

  void CheckDelivery() {
    if (!has_status_) return Unchecked("delivery", "all", "the status could not be read");
    if (tree_.front().role == "repeater") {
      return Unchecked("delivery", "all",
                       "messages go to a master, and " + session_.admin().authority() + " is a repeater");
    }
    if (clients_.empty()) return Unchecked("delivery", "all", "no client URL is known; --client URL adds one");
    const std::string phid = "PHID-TEST-" + RandomId();
    std::vector<std::unique_ptr<Probe>> probes(clients_.size());
    std::function<bool()> enough;
    const auto changed = [&] {
      if (enough && enough()) session_.Done();
    };
    for (std::size_t i = 0; i < clients_.size(); ++i) {
      auto url = WithInstance(*clients_[i].url, options_.instance);
      if (!url) {
        Unchecked("delivery", WhereOf(clients_[i]), url.error().text);
        continue;
      }
      probes[i] = std::make_unique<Probe>(
          session_, Page::Options{std::move(*url), {phid}, options_.origin, std::nullopt, session_.timeout()}, changed);
    }
    session_.Progress("subscribing at " + std::to_string(clients_.size()) + " client ports");
    const auto all = [&](auto condition) {
      return std::all_of(probes.begin(), probes.end(), [&](const auto& probe) { return !probe || condition(*probe); });
    };
    const auto settled = [&] { return all([](const Probe& each) { return each.settled(); }); };
    enough = settled;
    if (!settled()) session_.Wait();
    enough = nullptr;

    const std::string message = TestMessage("test", {phid});
    for (const auto& probe : probes) {
      if (probe) probe->Expect(message);
    }
    session_.Progress("publishing a message");
    const Time published = Now();
    const auto answer = session_.Publish(message, options_.instance);
    const std::string where = session_.admin().authority();
    if (!answer || answer->head.status != 200) {
      return Found("publish", where, answer ? Describe(*answer) : answer.error().text);
    }
    Found("publish", where, "", Took(answer->took));

    session_.Progress("waiting for the message");
    const auto arrived = [&] { return all([](const Probe& each) { return each.lost() || each.arrived(); }); };
    enough = arrived;
    net::Timer deadline(session_.loop(), [&] { session_.Done(); });
    deadline.Start(session_.timeout());
    if (!arrived()) session_.Wait();
    enough = nullptr;
    for (std::size_t i = 0; i < clients_.size(); ++i) {
      if (!probes[i]) continue;
      const Probe& probe = *probes[i];
      std::string problem;
      if (!probe.arrived()) problem = probe.lost() ? probe.reason() : "no message within " + Took(session_.timeout());
      Found("delivery", WhereOf(clients_[i]), problem, probe.arrived() ? Took(*probe.arrived() - published) : "");
    }
  }

  Result<int> Report() {
    Table table({{"CHECK"}, {"WHAT"}, {"TIME", true}, {"RESULT"}});
    bool failed = false;
    for (const Finding& finding : findings_) {
      table.Add({finding.what, finding.where, finding.time, finding.result});
      failed = failed || finding.failed;
    }
    if (!session_.Print(table.Render(0))) return EX_IOERR;
    return failed ? 1 : EX_OK;
  }

  Session& session_;
  const Options& options_;
  std::vector<Finding> findings_;
  std::vector<ClientUrl> clients_;
  bool has_status_ = false;
  std::vector<TreeNode> tree_;   // as the asked node tells it
  std::set<std::string> asked_;  // the ids of the nodes whose admin ports have answered
};

}  // namespace

Result<int> Check(Session& session, const Options& options) { return Checker(session, options).Run(); }

}  // namespace aphlict::commands
