// The user that a node runs as, where root has started it.
#pragma once

#include <sys/types.h>

#include <string>

#include "common/base/result.h"

namespace aphlict {

struct User {
  std::string name;
  uid_t uid = 0;
  gid_t gid = 0;  // its own group
};

// Errors: no user of that name, root, or this process is another's and cannot become it; `code` is an exit code of
// sysexits(3): 78 or 77.
Result<User> FindUser(const std::string& name);

// Acts as another user for a while, where files are concerned: what it opens and makes is what that user may open, and
// belongs to it. Nothing where `user` is null, or the process is that user's. For a process of one thread.
class ActingAs {
 public:
  explicit ActingAs(const User* user);
  ~ActingAs();
  ActingAs(const ActingAs&) = delete;
  ActingAs& operator=(const ActingAs&) = delete;

 private:
  bool acting_ = false;
};

// Becomes the user for good, with its groups, and checks that there is no way back. Whoever is that user already stays
// it. Errors: it did not work, after which the process must not go on; `code` is 71.
Result<void> BecomeUser(const User& user);

}  // namespace aphlict
