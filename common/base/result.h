// A value or the reason why there is none. Names follow C++23's std::expected, which g++ 12 does not have.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace aphlict {

// `code` belongs to the function that fails, whose comment says what it is: an HTTP status, a WebSocket
// close code, an exit code of sysexits(3), or 0 where nobody needs to tell causes apart. `text` is for
// people: what was tried, with what, and what came back.
struct Error {
  std::string text;
  int code = 0;
};

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: implicit, as std::expected
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT

  bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }

  // REQUIRES: has_value().
  T& value() & { return std::get<0>(state_); }
  const T& value() const& { return std::get<0>(state_); }
  T&& value() && { return std::get<0>(std::move(state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  // REQUIRES: !has_value().
  const Error& error() const { return std::get<1>(state_); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT: implicit, as std::expected

  bool has_value() const { return !error_; }
  explicit operator bool() const { return has_value(); }

  // REQUIRES: !has_value().
  const Error& error() const { return *error_; }

 private:
  std::optional<Error> error_;
};

}  // namespace aphlict
