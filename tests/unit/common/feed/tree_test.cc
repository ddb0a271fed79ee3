#include "common/feed/tree.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/support/messages.h"

namespace aphlict::feed {
namespace {

using testing::At;

// "active/total/out"
std::string Text(const Counts& counts) {
  return std::to_string(counts.clients_active) + "/" + std::to_string(counts.clients_total) + "/" +
         std::to_string(counts.messages_out);
}

json::Value Json(const std::string& text) {
  auto value = json::Parse(text);
  REQUIRE(value);
  return std::move(*value);
}

// Applies a report in text, in which ' stands for ".
Result<void> Apply(Tree& tree, SourceId source, std::string report, std::int64_t ms = 0) {
  std::replace(report.begin(), report.end(), '\'', '"');
  return tree.Apply(source, "10.0.0.1:5", Json(report), At(ms));
}

// A report of one node whose only instance is `default`.
std::string Node(const std::string& id, int revision, const std::string& counts) {
  return "{'nodes':[{'id':'" + id + "','revision':" + std::to_string(revision) + ",'instances':{'default':[" + counts +
         "]}}]}";
}

std::string Ids(const Tree& tree) {
  std::vector<std::string> ids;
  for (const auto& [id, node] : tree.nodes()) ids.push_back(id);
  std::sort(ids.begin(), ids.end());
  std::string text;
  for (const std::string& id : ids) text += (text.empty() ? "" : " ") + id;
  return text;
}

TEST_CASE("a node counts its own clients and deliveries, for each instance") {
  Tree tree;
  tree.SetOwn({"id", "name", "1", "", "", {}, {}});
  CHECK(tree.own().name == "name");
  CHECK(Text(tree.Totals("dog")) == "0/0/0");
  tree.UpdateOwn("dog", {2, 3, 4});
  tree.UpdateOwn("cat", {1, 1, 1});
  CHECK(Text(tree.Totals("dog")) == "2/3/4");
  CHECK(Text(tree.Totals("cat")) == "1/1/1");
  CHECK(tree.TotalClients() == 3);
  tree.UpdateOwn("dog", {0, 3, 9});
  CHECK(Text(tree.Totals("dog")) == "0/3/9");
  CHECK(tree.TotalClients() == 1);
}

TEST_CASE("a report tells of a node, and adds its counts to the sums") {
  Tree tree;
  tree.UpdateOwn("default", {1, 1, 1});
  CHECK(Apply(tree, 1,
              "{'nodes':[{'id':'r','revision':3,'name':'n','version':'v','url':'u','above':['m','x'],"
              "'cursor':{'aaaaaaaaaaaaaaaa':7},'instances':{'default':[1,10,20,30],'dog':[2,1,2,3]},'further':{}}]}",
              5));
  REQUIRE(tree.nodes().count("r") == 1);
  const Tree::Node& node = tree.nodes().at("r");
  CHECK(node.info.id == "r");
  CHECK(node.info.name == "n");
  CHECK(node.info.version == "v");
  CHECK(node.info.url == "u");
  CHECK(node.info.address == "10.0.0.1:5");
  CHECK(node.info.above == std::vector<std::string>{"m", "x"});
  CHECK(node.info.cursor == history::Cursor{{"aaaaaaaaaaaaaaaa", 7}});
  CHECK(node.since == At(5));
  CHECK(node.clients == 11);
  CHECK(Text(tree.Totals("default")) == "11/21/31");
  CHECK(Text(tree.Totals("dog")) == "1/2/3");
  CHECK(tree.TotalClients() == 12);

  SUBCASE("and the next only changes what it lists") {
    CHECK(Apply(tree, 1, "{'nodes':[{'id':'r','revision':4,'name':'n2','instances':{'dog':[4,0,2,5]}}]}", 9));
    CHECK(Text(tree.Totals("default")) == "11/21/31");
    CHECK(Text(tree.Totals("dog")) == "0/2/5");
    CHECK(tree.TotalClients() == 11);
    CHECK(node.clients == 10);
    CHECK(node.info.name == "n2");
    CHECK(node.since == At(5));
  }
  SUBCASE("and a report of nothing changes nothing") {
    CHECK(Apply(tree, 1, "{}"));
    CHECK(Apply(tree, 1, "{'nodes':[],'gone':['never']}"));
    CHECK(tree.TotalClients() == 12);
  }
}

// "total/out/gaps"
std::string Sums(const Tree& tree) {
  const Figures::Sums& sums = tree.FigureTotals();
  return std::to_string(sums.clients_total) + "/" + std::to_string(sums.messages_out) + "/" + std::to_string(sums.gaps);
}

// A report of a node's figures.
std::string Of(const std::string& id, int revision, const std::string& figures) {
  return "{'nodes':[{'id':'" + id + "','revision':" + std::to_string(revision) + ",'figures':" + figures + "}]}";
}

TEST_CASE("figures are kept as they are, and summed up") {
  Tree tree;
  tree.SetOwn({"own", "", "", "", "", {}, {}});
  tree.UpdateOwnFigures(R"({"clients_total":1,"messages_out":2,"gaps":3})");
  CHECK(Sums(tree) == "1/2/3");
  CHECK(Apply(tree, 1, Of("r", 1, "{'messages_out':10,'clients_total':20,'state':'ready','NO':1}")));
  CHECK(tree.nodes().at("r").figures.text == R"({"messages_out":10,"clients_total":20,"state":"ready"})");
  CHECK(Sums(tree) == "21/12/3");
  CHECK(Apply(tree, 1, Of("r", 2, "{'messages_out':15,'clients_total':25}")));
  CHECK(Sums(tree) == "26/17/3");

  SUBCASE("a report without them leaves them as they were") {
    CHECK(Apply(tree, 1, "{'nodes':[{'id':'r','revision':3}]}"));
    CHECK(Apply(tree, 1, "{'nodes':[{'id':'r','revision':4,'figures':7}]}"));
    CHECK(Sums(tree) == "26/17/3");
  }
  SUBCASE("an older report by another way does not count") {
    CHECK(Apply(tree, 2, Of("r", 1, "{'messages_out':10,'clients_total':20}")));
    CHECK(Sums(tree) == "26/17/3");
    CHECK(tree.nodes().at("r").figures.text == R"({"messages_out":15,"clients_total":25})");
  }
  SUBCASE("those of a node that has gone stay in the sums, and count once when it comes back") {
    tree.Drop(1);
    CHECK(Sums(tree) == "26/17/3");
    CHECK(Apply(tree, 2, Of("r", 3, "{'messages_out':16,'clients_total':25}")));
    CHECK(Sums(tree) == "26/18/3");
  }
  SUBCASE("its next start is another node, and counts from the beginning") {
    tree.Drop(1);
    CHECK(Apply(tree, 2, Of("r2", 1, "{'messages_out':1}")));
    CHECK(Sums(tree) == "26/18/3");
  }
  SUBCASE("the node's own that have not changed are no change") {
    std::uint64_t mark = 0;
    tree.EncodeReport(&mark);
    tree.UpdateOwnFigures(R"({"clients_total":1,"messages_out":2,"gaps":3})");
    CHECK(tree.EncodeReport(&mark) == std::vector<std::string>{R"({"type":"status","nodes":[],"gone":[]})"});
    tree.UpdateOwnFigures(R"({"clients_total":2,"messages_out":2,"gaps":3})");
    CHECK(tree.EncodeReport(&mark).front().find(
              R"("figures":{"clients_total":2,"messages_out":2,"gaps":3},"instances")") != std::string::npos);
    CHECK(Sums(tree) == "27/17/3");
  }
}

TEST_CASE("an address that a report tells of is kept, and filled in where it does not") {
  Tree tree;
  CHECK(Apply(tree, 1, "{'nodes':[{'id':'a','revision':1},{'id':'b','revision':1,'address':'10.9.9.9:1'}]}"));
  CHECK(tree.nodes().at("a").info.address == "10.0.0.1:5");
  CHECK(tree.nodes().at("b").info.address == "10.9.9.9:1");
}

TEST_CASE("of two reports the one with the higher revision counts, in whatever order they come") {
  Tree tree;
  CHECK(Apply(tree, 1, "{'nodes':[{'id':'r','revision':5,'name':'new','instances':{'default':[5,2,9,9]}}]}"));
  CHECK(Apply(tree, 2, "{'nodes':[{'id':'r','revision':4,'name':'old','instances':{'default':[4,1,8,8]}}]}"));
  CHECK(tree.nodes().at("r").info.name == "new");
  CHECK(Text(tree.Totals("default")) == "2/9/9");

  SUBCASE("for each instance by itself") {
    CHECK(Apply(tree, 2, "{'nodes':[{'id':'r','revision':3,'instances':{'default':[3,7,7,7],'dog':[2,1,1,1]}}]}"));
    CHECK(Text(tree.Totals("default")) == "2/9/9");
    CHECK(Text(tree.Totals("dog")) == "1/1/1");
  }
  SUBCASE("and one that comes again changes nothing") {
    CHECK(Apply(tree, 1, Node("r", 5, "5,3,3,3")));
    CHECK(Text(tree.Totals("default")) == "2/9/9");
  }
}

TEST_CASE("a node whose reports come by two ways counts once, until both are gone") {
  Tree tree;
  CHECK(Apply(tree, 1, Node("r", 1, "1,3,4,5")));
  CHECK(Apply(tree, 2, Node("r", 1, "1,3,4,5")));
  CHECK(Text(tree.Totals("default")) == "3/4/5");
  CHECK(Apply(tree, 2, Node("r", 2, "2,4,5,6")));
  CHECK(Text(tree.Totals("default")) == "4/5/6");
  tree.Drop(1);
  CHECK(Ids(tree) == "r");
  CHECK(Text(tree.Totals("default")) == "4/5/6");
  tree.Drop(2);
  CHECK(Ids(tree).empty());
  CHECK(Text(tree.Totals("default")) == "0/5/6");
  CHECK(tree.TotalClients() == 0);
}

TEST_CASE("a node that a report calls gone leaves, unless another way tells of it") {
  Tree tree;
  CHECK(Apply(tree, 1, "{'nodes':[{'id':'a','revision':1},{'id':'b','revision':1},{'id':'c','revision':1}]}"));
  CHECK(Apply(tree, 2, Node("b", 1, "1,1,1,1")));
  CHECK(Apply(tree, 1, "{'nodes':[],'gone':['a','b']}"));
  CHECK(Ids(tree) == "b c");
  CHECK(Apply(tree, 1, "{'gone':['a','b']}"));
  CHECK(Ids(tree) == "b c");
  CHECK(Apply(tree, 2, "{'gone':['b']}"));
  CHECK(Ids(tree) == "c");
  CHECK(Text(tree.Totals("default")) == "0/1/1");
}

TEST_CASE("a connection that is gone takes the nodes with it that only it told of") {
  Tree tree;
  CHECK(Apply(tree, 1, "{'nodes':[{'id':'a','revision':1},{'id':'b','revision':1}]}"));
  CHECK(Apply(tree, 2, "{'nodes':[{'id':'b','revision':1},{'id':'c','revision':1}]}"));
  tree.Drop(1);
  CHECK(Ids(tree) == "b c");
  tree.Drop(1);
  tree.Drop(3);
  CHECK(Ids(tree) == "b c");
  tree.Drop(2);
  CHECK(Ids(tree).empty());
}

TEST_CASE("a node that comes back goes on with its counts, and is not counted twice") {
  Tree tree;
  CHECK(Apply(tree, 1, Node("r", 7, "7,3,10,100"), 1));
  tree.Drop(1);
  CHECK(Text(tree.Totals("default")) == "0/10/100");
  CHECK(Apply(tree, 2, Node("r", 7, "7,3,10,100"), 2));
  CHECK(Text(tree.Totals("default")) == "3/10/100");
  CHECK(tree.TotalClients() == 3);
  CHECK(tree.nodes().at("r").clients == 3);
  CHECK(tree.nodes().at("r").since == At(2));

  SUBCASE("again and again") {
    for (SourceId source = 3; source < 20; ++source) {
      tree.Drop(source - 1);
      CHECK(Apply(tree, source, Node("r", 8, "8,2,11,101")));
      CHECK(Text(tree.Totals("default")) == "2/11/101");
    }
  }
  SUBCASE("while another start of it is another node") {
    tree.Drop(2);
    CHECK(Apply(tree, 3, Node("another", 1, "1,1,1,1")));
    CHECK(Text(tree.Totals("default")) == "1/11/101");
  }
}

TEST_CASE("what a node hears of itself, in a loop, is not counted") {
  Tree tree;
  tree.SetOwn({"own", "", "", "", "", {}, {}});
  tree.UpdateOwn("default", {1, 1, 1});
  CHECK(Apply(tree, 1, Node("own", 99, "99,5,5,5")));
  CHECK(Ids(tree).empty());
  CHECK(Text(tree.Totals("default")) == "1/1/1");
}

TEST_CASE("what is no report is refused, with the reason") {
  Tree tree;
  const auto reason = [&](const std::string& report) {
    const auto applied = Apply(tree, 1, report);
    return applied ? "none" : applied.error().text;
  };
  for (const char* node : {"{}", "7", "null", "{'id':'a'}", "{'id':7,'revision':1}", "{'id':'','revision':1}",
                           "{'id':'a','revision':-1}", "{'id':'a','revision':'1'}"}) {
    CAPTURE(node);
    CHECK(reason("{'nodes':[" + std::string(node) + "]}") == "a node in a status report without id or revision");
  }
  for (const char* counts : {"", "1,2,3", "1,2,3,4,5", "1,2,3,-1", "1,2,3,'4'", "1,2,3,1.5", "1,2,3,null"}) {
    CAPTURE(counts);
    CHECK(reason(Node("a", 1, counts)) == "counts in a status report that are not four numbers");
  }
  CHECK(reason("{'nodes':[{'id':'a','revision':1,'instances':{'dog':7}}]}") ==
        "counts in a status report that are not four numbers");
  CHECK(tree.TotalClients() == 0);
}

TEST_CASE("a tree has a bound on its nodes") {
  Tree tree;
  for (int i = 0; i < 16'384; ++i) REQUIRE(Apply(tree, 1, Node(std::to_string(i), 1, "1,1,1,1")));
  const auto refused = Apply(tree, 1, Node("one more", 1, "1,1,1,1"));
  REQUIRE_FALSE(refused);
  CHECK(refused.error().text == "more than 16384 nodes in the tree");
  CHECK(Apply(tree, 1, Node("5", 2, "2,2,2,2")));
  CHECK(tree.TotalClients() == 16'385);
}

TEST_CASE("instances without clients make room, the one that changed longest ago first") {
  Tree tree(2);
  tree.UpdateOwn("used", {1, 1, 1});
  tree.UpdateOwn("a", {0, 5, 5});
  tree.UpdateOwn("b", {0, 6, 6});
  CHECK(Text(tree.Totals("a")) == "0/0/0");
  CHECK(Text(tree.Totals("b")) == "0/6/6");
  CHECK(Text(tree.Totals("used")) == "1/1/1");
  tree.UpdateOwn("used 2", {1, 1, 1});
  tree.UpdateOwn("used 3", {1, 1, 1});
  CHECK(tree.TotalClients() == 3);
  for (const char* name : {"used", "used 2", "used 3"}) CHECK(Text(tree.Totals(name)) == "1/1/1");
}

TEST_CASE("a bound on instances that is lowered is reached over the next changes") {
  Tree tree(100);
  for (int i = 0; i < 100; ++i) tree.UpdateOwn("a" + std::to_string(i), {0, 1, 1});
  tree.SetMostInstances(10);
  tree.UpdateOwn("used", {1, 1, 1});
  CHECK(Text(tree.Totals("a3")) == "0/0/0");
  CHECK(Text(tree.Totals("a4")) == "0/1/1");  // not all in one turn
  for (int i = 0; i < 40; ++i) tree.UpdateOwn("used", {1, 1, 1});
  CHECK(Text(tree.Totals("a90")) == "0/0/0");
  CHECK(Text(tree.Totals("a91")) == "0/1/1");
}

TEST_CASE("a node that has gone makes room as well when it comes back") {
  Tree tree(1);
  CHECK(Apply(tree, 1, Node("r", 1, "1,3,5,5")));
  tree.Drop(1);
  CHECK(Apply(tree, 2, "{'nodes':[{'id':'r','revision':2,'instances':{'other':[2,1,2,3]}}]}"));
  CHECK(tree.nodes().at("r").instances.size() == 1);
  CHECK(tree.TotalClients() == 1);
}

TEST_CASE("figures of which nothing fits leave those that are known, and the sums") {
  Tree tree;
  CHECK(Apply(tree, 1, "{'nodes':[{'id':'r','revision':1,'figures':{'messages_out':7}}]}"));
  std::string members = "'a':1";
  for (int i = 0; i < 60; ++i) members += ",'a" + std::to_string(i) + "':1";
  std::string large = "'messages_out':9";
  for (int i = 0; i < 20; ++i) large += ",'o" + std::to_string(i) + "':{" + members + "}";
  CHECK(Apply(tree, 1, "{'nodes':[{'id':'r','revision':2,'figures':{" + large + "}}]}"));
  CHECK(tree.nodes().at("r").figures.text == R"({"messages_out":7})");
  CHECK(tree.FigureTotals().messages_out == 7);
}

TEST_CASE("sums stay right when an instance makes room at one node") {
  Tree tree(1);
  CHECK(Apply(tree, 1, Node("r", 1, "1,0,5,5")));
  tree.UpdateOwn("default", {0, 1, 1});
  tree.UpdateOwn("other", {1, 1, 1});
  CHECK(Apply(tree, 1, Node("r", 2, "2,0,1,0")));
  CHECK(tree.Totals("default").clients_total < 100);
}

TEST_CASE("the followers of a node are listed by name") {
  Tree tree;
  CHECK(Apply(
      tree, 1,
      "{'nodes':[{'id':'1','revision':1,'name':'b','above':['m']},{'id':'3','revision':1,'name':'a','above':['m']},"
      "{'id':'2','revision':1,'name':'a','above':['m','1']}]}"));
  const auto followers = tree.Followers();
  const auto names = [&](const char* id) {
    std::string text;
    const auto found = followers.find(id);
    if (found == followers.end()) return text;
    for (const Tree::Node* node : found->second) text += node->info.id;
    return text;
  };
  CHECK(names("m") == "231");
  CHECK(names("1") == "2");
  CHECK(names("2") == "");
}

// A node with its own tree, which reports to others.
class Site {
 public:
  explicit Site(const std::string& id) : id_(id) {
    tree.SetOwn({id, "name of " + id, "1", "url of " + id, "", {}, {}});
  }

  // Begins to follow another: a new connection.
  void Follow(Site& above) {
    links_[&above] = {next_source_++, 0};
    above_.insert(above.id_);
    TellAbove();
    Report(above);
  }
  // Sends it what has changed. Returns the report, its parts behind each other.
  std::string Report(Site& above) {
    Link& link = links_.at(&above);
    std::string report;
    for (const std::string& part : tree.EncodeReport(&link.mark)) {
      CHECK(above.tree.Apply(link.source, "10.0.0.1:" + id_, Json(part), At(0)));
      report += part;
    }
    return report;
  }
  // Loses the connection, which the other notices.
  void Leave(Site& above) {
    above.tree.Drop(links_.at(&above).source);
    links_.erase(&above);
    above_.erase(above.id_);
    TellAbove();
  }
  bool follows(Site& above) const { return links_.count(&above) != 0; }
  std::size_t ways() const { return links_.size(); }

  Tree tree;

 private:
  struct Link {
    SourceId source = 0;
    std::uint64_t mark = 0;
  };
  void TellAbove() { tree.UpdateOwnAbove({above_.begin(), above_.end()}); }

  std::string id_;
  std::map<Site*, Link> links_;
  std::set<std::string> above_;
  static inline SourceId next_source_ = 1;
};

void CheckSame(const NodeInfo& seen, const NodeInfo& own) {
  CHECK(seen.id == own.id);
  CHECK(seen.name == own.name);
  CHECK(seen.version == own.version);
  CHECK(seen.url == own.url);
  CHECK(seen.above == own.above);
  CHECK(seen.cursor == own.cursor);
}

TEST_CASE("a large report comes in parts, which together are what the tree has") {
  Site top("top");
  Site middle("middle");
  for (int i = 0; i < 1000; ++i) {
    const std::string id = "node" + std::to_string(i);
    const std::string figures = "{'clients_total':1,'text':'" + std::string(48, 'a') + "'}";
    CHECK(Apply(
        middle.tree, 1,
        "{'nodes':[{'id':'" + id + "','revision':1,'figures':" + figures + ",'instances':{'default':[1,1,1,2]}}]}"));
  }
  std::uint64_t mark = 0;
  const std::vector<std::string> parts = middle.tree.EncodeReport(&mark);
  CHECK(parts.size() > 2);
  for (const std::string& part : parts) CHECK(part.size() < 70'000);
  middle.Follow(top);
  CHECK(top.tree.nodes().size() == 1001);
  CHECK(Text(top.tree.Totals("default")) == "1000/1000/2000");
  CHECK(top.tree.FigureTotals().clients_total == 1000);
}

TEST_CASE("the tree above has, after a report, what the tree below has") {
  Site master("master");
  Site middle("middle");
  Site leaf("leaf");
  leaf.tree.UpdateOwn("dog", {1, 2, 3});
  leaf.tree.UpdateOwn("cat", {4, 5, 6});
  leaf.tree.UpdateOwnCursor({{"aaaaaaaaaaaaaaaa", 7}, {"bbbbbbbbbbbbbbbb", 8}});
  middle.tree.UpdateOwn("dog", {10, 20, 30});
  leaf.Follow(middle);
  middle.Follow(master);
  CHECK(Ids(master.tree) == "leaf middle");
  CheckSame(master.tree.nodes().at("middle").info, middle.tree.own());
  CheckSame(master.tree.nodes().at("leaf").info, leaf.tree.own());
  CHECK(master.tree.nodes().at("middle").info.address == "10.0.0.1:middle");
  CHECK(master.tree.nodes().at("leaf").info.address == "10.0.0.1:leaf");
  for (const char* instance : {"dog", "cat", "other"}) {
    CHECK(Text(master.tree.Totals(instance)) == Text(middle.tree.Totals(instance)));
  }
  CHECK(Text(master.tree.Totals("dog")) == "11/22/33");
  CHECK(master.tree.TotalClients() == 15);

  SUBCASE("and the figures of each node") {
    leaf.tree.UpdateOwnFigures(R"({"messages_out":7,"not_known_to_the_others":[1,2]})");
    middle.tree.UpdateOwnFigures(R"({"messages_out":1})");
    leaf.Report(middle);
    middle.Report(master);
    CHECK(master.tree.nodes().at("leaf").figures.text == leaf.tree.own_figures().text);
    CHECK(master.tree.nodes().at("middle").figures.text == R"({"messages_out":1})");
    CHECK(Sums(master.tree) == "0/8/0");
  }
  SUBCASE("and the next report has the changes only") {
    CHECK(middle.Report(master) == R"({"type":"status","nodes":[],"gone":[]})");
    leaf.tree.UpdateOwn("cat", {5, 6, 7});
    const std::string from_leaf = leaf.Report(middle);
    CHECK(from_leaf.find("cat") != std::string::npos);
    CHECK(from_leaf.find("dog") == std::string::npos);
    const std::string from_middle = middle.Report(master);
    CHECK(from_middle.find(R"("id":"leaf")") != std::string::npos);
    CHECK(from_middle.find(R"("id":"middle")") == std::string::npos);
    CHECK(from_middle.find("dog") == std::string::npos);
    CHECK(Text(master.tree.Totals("cat")) == "5/6/7");
  }
  SUBCASE("and a cursor that has not moved is no change") {
    leaf.tree.UpdateOwnCursor({{"aaaaaaaaaaaaaaaa", 7}, {"bbbbbbbbbbbbbbbb", 8}});
    CHECK(leaf.Report(middle) == R"({"type":"status","nodes":[],"gone":[]})");
    leaf.tree.UpdateOwnCursor({{"aaaaaaaaaaaaaaaa", 9}});
    leaf.Report(middle);
    middle.Report(master);
    CheckSame(master.tree.nodes().at("leaf").info, leaf.tree.own());
  }
  SUBCASE("and a node that has gone below is gone above") {
    leaf.Leave(middle);
    CHECK(middle.Report(master).ends_with(R"("gone":["leaf"]})"));
    CHECK(Ids(master.tree) == "middle");
    CHECK(Text(master.tree.Totals("dog")) == "10/22/33");
    CHECK(middle.Report(master).ends_with(R"("gone":[]})"));
    leaf.Follow(middle);
    middle.Report(master);
    CHECK(Ids(master.tree) == "leaf middle");
    CHECK(Text(master.tree.Totals("dog")) == "11/22/33");
  }
  SUBCASE("and a new connection is told everything, and of nobody who has gone before") {
    leaf.Leave(middle);
    Site other("other");
    middle.Follow(other);
    CHECK(Ids(other.tree) == "middle");
    CHECK(middle.Report(other) == R"({"type":"status","nodes":[],"gone":[]})");
  }
}

TEST_CASE("a node below two others that follow one is counted once there") {
  Site master("master");
  Site left("left");
  Site right("right");
  Site leaf("leaf");
  leaf.tree.UpdateOwn("default", {3, 3, 3});
  left.Follow(master);
  right.Follow(master);
  leaf.Follow(left);
  leaf.Follow(right);
  left.Report(master);
  right.Report(master);
  CHECK(Ids(master.tree) == "leaf left right");
  CHECK(Text(master.tree.Totals("default")) == "3/3/3");
  leaf.tree.UpdateOwn("default", {4, 4, 4});
  leaf.Report(left);
  leaf.tree.UpdateOwn("default", {2, 5, 5});
  leaf.Report(right);
  right.Report(master);  // the newer one first
  left.Report(master);
  CHECK(Text(master.tree.Totals("default")) == "2/5/5");
  leaf.Leave(right);
  right.Report(master);
  CHECK(Ids(master.tree) == "leaf left right");
  left.Leave(master);
  CHECK(Ids(master.tree) == "right");
  CHECK(Text(master.tree.Totals("default")) == "0/5/5");
}

TEST_CASE("a node that went and came back between two reports is there") {
  Site master("master");
  Site middle("middle");
  Site leaf("leaf");
  leaf.tree.UpdateOwn("default", {3, 3, 3});
  middle.Follow(master);
  leaf.Follow(middle);
  middle.Report(master);
  leaf.Leave(middle);
  leaf.Follow(middle);
  middle.Report(master);
  CHECK(Ids(master.tree) == "leaf middle");
  CHECK(Text(master.tree.Totals("default")) == "3/3/3");
}

TEST_CASE("whatever nodes report, by whatever ways, the sums never bend") {
  for (unsigned seed = 1; seed <= 30; ++seed) {
    CAPTURE(seed);
    std::mt19937 random(seed);
    const auto upto = [&](int most) { return std::uniform_int_distribution<int>(0, most)(random); };
    const std::vector<std::string> instances = {"dog", "cat", "cow"};
    Site master("master");
    std::vector<std::unique_ptr<Site>> middles;
    std::vector<std::unique_ptr<Site>> leaves;
    std::map<Site*, std::map<std::string, Counts>> truth;
    for (int i = 0; i < 2; ++i) {
      middles.push_back(std::make_unique<Site>("middle" + std::to_string(i)));
      middles.back()->Follow(master);
      truth[middles.back().get()];
    }
    for (int i = 0; i < 4; ++i) {
      leaves.push_back(std::make_unique<Site>("leaf" + std::to_string(i)));
      leaves.back()->Follow(*middles[i % 2]);
      truth[leaves.back().get()];
    }
    const auto check_sums = [&](bool settled) {
      std::uint64_t clients = 0;
      for (const std::string& instance : instances) {
        Counts sum;
        for (const auto& [site, counts] : truth) {
          const auto known = counts.find(instance);
          if (known == counts.end()) continue;
          sum.clients_active += known->second.clients_active;
          sum.clients_total += known->second.clients_total;
          sum.messages_out += known->second.messages_out;
        }
        const Counts totals = master.tree.Totals(instance);
        clients += totals.clients_active;
        if (settled) {
          REQUIRE(Text(totals) == Text(sum));
        } else {
          REQUIRE(totals.clients_active <= 6 * 100);
          REQUIRE(totals.clients_total <= sum.clients_total);
          REQUIRE(totals.messages_out <= sum.messages_out);
        }
      }
      REQUIRE(master.tree.TotalClients() == clients);
      std::uint64_t by_node = 0;
      for (const auto& [id, node] : master.tree.nodes()) by_node += node.clients;
      REQUIRE(by_node == clients);
    };

    for (int round = 0; round < 400; ++round) {
      Site& leaf = *leaves[upto(3)];
      Site& middle = *middles[upto(1)];
      switch (upto(9)) {
        case 0:
          if (!leaf.follows(middle)) leaf.Follow(middle);
          break;
        case 1:
          if (!leaf.follows(middle)) break;
          leaf.Leave(middle);
          if (middle.follows(master)) middle.Report(master);  // at once, as nodes do
          break;
        case 2:
          middle.follows(master) ? middle.Leave(master) : middle.Follow(master);
          break;
        case 3:
        case 4:
          if (leaf.follows(middle)) leaf.Report(middle);
          break;
        case 5:
          if (middle.follows(master)) middle.Report(master);
          break;
        default: {
          Site& site = upto(3) == 0 ? middle : leaf;
          const std::string& instance = instances[upto(2)];
          Counts& counts = truth[&site][instance];
          counts.clients_active = static_cast<std::uint64_t>(upto(100));
          counts.clients_total += static_cast<std::uint64_t>(upto(10));
          counts.messages_out += static_cast<std::uint64_t>(upto(1000));
          site.tree.UpdateOwn(instance, counts);
        }
      }
      check_sums(false);
      if (round % 40 != 39) continue;
      for (const auto& each : middles) {
        if (!each->follows(master)) each->Follow(master);
      }
      for (const auto& each : leaves) {
        if (each->ways() == 0) each->Follow(*middles[upto(1)]);
        for (const auto& above : middles) {
          if (each->follows(*above)) each->Report(*above);
        }
      }
      for (const auto& each : middles) each->Report(master);
      REQUIRE(Ids(master.tree) == "leaf0 leaf1 leaf2 leaf3 middle0 middle1");
      check_sums(true);
    }
  }
}

}  // namespace
}  // namespace aphlict::feed
