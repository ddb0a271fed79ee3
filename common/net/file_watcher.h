// Tells when a file has become another, whether it was written, replaced, or its name leads elsewhere now. It is looked
// at again and again (uv_fs_poll): events of the kernel say nothing about files that come by a network or a mount.
#pragma once

#include <uv.h>

#include <functional>
#include <string>

#include "common/base/time.h"
#include "common/net/handle.h"
#include "common/net/loop.h"

namespace aphlict::net {

class FileWatcher {
 public:
  FileWatcher(Loop& loop, const std::string& path, Duration interval, std::function<void()> changed);
  FileWatcher(const FileWatcher&) = delete;
  FileWatcher& operator=(const FileWatcher&) = delete;

 private:
  std::function<void()> changed_;
  HandlePtr<uv_fs_poll_t> poll_;
};

}  // namespace aphlict::net
