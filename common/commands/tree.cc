#include "common/commands/tree.h"

#include <set>

#include "common/base/printable.h"
#include "common/commands/table.h"

namespace aphlict::commands {

namespace {

constexpr int kMostDepth = 64;  // a tree is not as deep; a status that claims it is no reason to recurse for ever
constexpr char kUnknown[] = "-";

std::optional<std::uint64_t> Count(const json::Value& value) {
  const auto integer = value.integer();
  if (!integer || *integer < 0) return std::nullopt;
  return static_cast<std::uint64_t>(*integer);
}

std::optional<milliseconds> Milliseconds(const json::Value& value) {
  const auto integer = value.integer();
  if (!integer) return std::nullopt;
  return milliseconds(*integer);
}

class TreeReader {
 public:
  explicit TreeReader(std::vector<TreeNode>* nodes) : nodes_(*nodes) {}

  void ReadTop(const json::Value& status) {
    TreeNode node = Read(status);
    node.id = status["fingerprint"].string();
    node.role = status["role"].string();
    node.url = status["public.url"].string();
    node.version = status["relay.version"].string();
    node.since = Milliseconds(status["uptime"]);
    if (!node.gaps) node.gaps = Count(status["gaps"]);
    seen_.insert(node.id);
    nodes_.push_back(std::move(node));
    ReadBelow(status, 1);
  }

 private:
  // What is called the same everywhere.
  static TreeNode Read(const json::Value& object) {
    const json::Value& figures = object["figures"];
    TreeNode node;
    node.name = object["name"].string();
    node.state = figures["state"].string();
    node.clients = Count(figures["clients"]);
    node.deliveries = Count(figures["messages_out"]);
    node.lag_time = Milliseconds(figures["lag_ms"]);
    node.unsent = Count(figures["unsent_bytes"]);
    node.gaps = Count(figures["gaps"]);
    return node;
  }

  void ReadBelow(const json::Value& object, int depth) {
    if (depth > kMostDepth) return;
    for (const json::Value& entry : object["repeaters"].elements()) {
      TreeNode node = Read(entry);
      node.id = entry["id"].string();
      node.role = "repeater";
      node.depth = depth;
      node.url = entry["url"].string();
      node.version = entry["version"].string();
      node.since = Milliseconds(entry["connected"]);
      node.lag = Count(entry["lag"]);
      if (!node.clients) node.clients = Count(entry["clients"]);
      node.again = !node.id.empty() && !seen_.insert(node.id).second;
      const bool again = node.again;
      nodes_.push_back(std::move(node));
      if (!again) ReadBelow(entry, depth + 1);
    }
  }

  std::vector<TreeNode>& nodes_;
  std::set<std::string> seen_;
};

std::string OrUnknown(const std::string& text) { return text.empty() ? kUnknown : text; }

template <class T, class F>
std::string OrUnknown(const std::optional<T>& value, F text_of) {
  return value ? text_of(*value) : kUnknown;
}

std::string Summary(const json::Value& status) {
  const auto count = [&](const char* key) { return OrUnknown(Count(status[key]), ShortCount); };
  std::string text = "instance " + Printable(status["instance"].string()) + ": " + count("clients.active") +
                     " clients in the tree, " + count("messages.in") + " messages in, " + count("messages.out") +
                     " delivered; history: " + count("history.size") + " messages";
  if (const auto age = Milliseconds(status["history.age"])) text += ", the oldest " + ShortTime(*age) + " old";
  return text + "\n";
}

}  // namespace

std::vector<TreeNode> ReadTree(const json::Value& status) {
  std::vector<TreeNode> nodes;
  TreeReader(&nodes).ReadTop(status);
  return nodes;
}

std::string RenderTree(const std::vector<TreeNode>& nodes, const json::Value& status, std::size_t width) {
  Table table({{"NODE", false, 12},
               {"STATE"},
               {"CLIENTS", true},
               {"OUT", true},
               {"LAG", true},
               {"LAG-TIME", true},
               {"UNSENT", true},
               {"GAPS", true},
               {"VERSION", false, 7},
               {"SINCE", true},
               {"URL", false, 3}});
  for (const TreeNode& node : nodes) {
    const std::string name =
        std::string(2 * static_cast<std::size_t>(node.depth), ' ') + OrUnknown(node.name.empty() ? node.id : node.name);
    if (node.again) {  // once with figures, so that a column's sum is the tree's
      table.Add({name, "(above)", "", "", OrUnknown(node.lag, ShortCount), "", "", "", "",
                 OrUnknown(node.since, ShortTime), ""});
      continue;
    }
    table.Add({name, OrUnknown(node.state), OrUnknown(node.clients, ShortCount), OrUnknown(node.deliveries, ShortCount),
               node.depth == 0 ? "" : OrUnknown(node.lag, ShortCount), OrUnknown(node.lag_time, ShortTime),
               OrUnknown(node.unsent, ShortBytes), OrUnknown(node.gaps, ShortCount), OrUnknown(node.version),
               OrUnknown(node.since, ShortTime), OrUnknown(node.url)});
  }
  return table.Render(width) + Summary(status);
}

}  // namespace aphlict::commands
