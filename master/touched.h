// A message's list of the nodes that it has come by, as Aphlict's push cluster keeps it: the member `touched` of the
// outermost object. It is the only part of a message that is ever changed, and only in the copies for push peers.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace aphlict::master {

struct Touched {
  std::vector<std::string> nodes;  // their fingerprints

  // How a copy is made that has come by more nodes: the body up to `begin`, `before`, those nodes, `after`, and the
  // body from `end` on.
  std::size_t begin = 0;
  std::size_t end = 0;
  std::string before;
  std::string after;

  bool Has(std::string_view node) const;
  // What stands between the two parts of the body in a copy that has come by `more`, too.
  std::string Insertion(const std::vector<std::string>& more) const;
};

// Of equal keys the last one counts, and is the one that is changed; one that is no list is replaced by one.
// REQUIRES: `body` is a JSON object that is no deeper than `depth` and has members (ParsePublish() has taken it).
Touched FindTouched(std::string_view body, int depth);

}  // namespace aphlict::master
