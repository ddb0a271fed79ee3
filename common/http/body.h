// A request's body while it comes. One that is large is kept in pieces until it is whole, so that it is not copied
// again and again as it grows, and one that never ends takes no more than has come of it.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace aphlict::http {

class Body {
 public:
  void Append(std::string_view bytes);
  std::size_t size() const { return size_; }
  // Bytes that it takes.
  std::size_t memory() const { return text_.capacity() + pieces_.size() * kPieceBytes; }
  // All of it. The caller may take it; nothing is appended any more before Clear().
  std::string& Whole();
  void Clear();

 private:
  static constexpr std::size_t kPieceBytes = 64 * 1024;

  std::string text_;                 // the first piece, or all
  std::vector<std::string> pieces_;  // what did not fit into it; all but the last are full
  std::size_t size_ = 0;
};

}  // namespace aphlict::http
