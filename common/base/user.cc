#include "common/base/user.h"

#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sysexits.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace aphlict {

namespace {

Error Failed(const char* call) { return {std::string(call) + ": " + std::strerror(errno), EX_OSERR}; }

}  // namespace

Result<User> FindUser(const std::string& name) {
  errno = 0;
  const passwd* entry = getpwnam(name.c_str());
  if (entry == nullptr) return Error{name + ": there is no user of that name", EX_CONFIG};
  if (entry->pw_uid == 0) return Error{name + ": is root itself, which has nothing to give up", EX_CONFIG};
  if (geteuid() != 0 && geteuid() != entry->pw_uid)
    return Error{name + ": only root can become another user; start it as root, or leave this out", EX_NOPERM};
  return User{name, entry->pw_uid, entry->pw_gid};
}

// Where one of these fails, nothing has been opened yet that should not be, and going on as root would be wrong.
ActingAs::ActingAs(const User* user) {
  if (user == nullptr || geteuid() == user->uid) return;
  if (initgroups(user->name.c_str(), user->gid) != 0 || setegid(user->gid) != 0 || seteuid(user->uid) != 0) {
    std::abort();
  }
  acting_ = true;
}

ActingAs::~ActingAs() {
  if (!acting_) return;
  const gid_t root = 0;
  if (seteuid(0) != 0 || setegid(0) != 0 || setgroups(1, &root) != 0) std::abort();
}

Result<void> BecomeUser(const User& user) {
  if (geteuid() == user.uid) return {};
  if (initgroups(user.name.c_str(), user.gid) != 0) return Failed("initgroups");
  if (setresgid(user.gid, user.gid, user.gid) != 0) return Failed("setresgid");
  if (setresuid(user.uid, user.uid, user.uid) != 0) return Failed("setresuid");
  // Nor does a program that it might start have more.
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return Failed("prctl");
  uid_t uid[3];
  gid_t gid[3];
  const bool gone = getresuid(&uid[0], &uid[1], &uid[2]) == 0 && getresgid(&gid[0], &gid[1], &gid[2]) == 0 &&
                    uid[0] == user.uid && uid[1] == user.uid && uid[2] == user.uid && gid[0] == user.gid &&
                    gid[1] == user.gid && gid[2] == user.gid;
  if (!gone || setuid(0) == 0 || seteuid(0) == 0 || setgid(0) == 0) {
    return Error{"the privileges of root are still there", EX_OSERR};
  }
  return {};
}

}  // namespace aphlict
