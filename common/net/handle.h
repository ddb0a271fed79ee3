// uv_close() is asynchronous: a handle's memory may go only in or after its close callback (libuv, handle.rst).
// A uv handle therefore lives on the heap and is owned by a pointer whose deleter closes it; the callback
// frees it.
#pragma once

#include <uv.h>

#include <memory>

namespace aphlict::net {

template <class Handle>
struct CloseHandle {
  void operator()(Handle* handle) const noexcept {
    uv_close(reinterpret_cast<uv_handle_t*>(handle),
             [](uv_handle_t* closed) { delete reinterpret_cast<Handle*>(closed); });
  }
};

template <class Handle>
using HandlePtr = std::unique_ptr<Handle, CloseHandle<Handle>>;

}  // namespace aphlict::net
