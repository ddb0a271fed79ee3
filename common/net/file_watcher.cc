#include "common/net/file_watcher.h"

#include <cstdlib>
#include <utility>

namespace aphlict::net {

FileWatcher::FileWatcher(Loop& loop, const std::string& path, Duration interval, std::function<void()> changed)
    : changed_(std::move(changed)), poll_(new uv_fs_poll_t) {
  poll_->data = this;
  if (uv_fs_poll_init(loop.uv(), poll_.get()) != 0) std::abort();
  uv_unref(reinterpret_cast<uv_handle_t*>(poll_.get()));
  uv_fs_poll_start(
      poll_.get(),
      [](uv_fs_poll_t* poll, int status, const uv_stat_t*, const uv_stat_t*) noexcept {
        Loop::From(poll->loop).Enter();
        // While it is being replaced, it may not be there: when it is again, that is told.
        if (status == 0) static_cast<FileWatcher*>(poll->data)->changed_();
      },
      path.c_str(), static_cast<unsigned>(std::chrono::ceil<milliseconds>(interval).count()));
}

}  // namespace aphlict::net
