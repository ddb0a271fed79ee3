#include "common/http/body.h"

namespace aphlict::http {

void Body::Append(std::string_view bytes) {
  size_ += bytes.size();
  if (size_ <= kPieceBytes) {
    text_.append(bytes);
    return;
  }
  while (!bytes.empty()) {
    if (pieces_.empty() || pieces_.back().size() == kPieceBytes) pieces_.emplace_back().reserve(kPieceBytes);
    std::string& last = pieces_.back();
    const std::string_view fits = bytes.substr(0, kPieceBytes - last.size());
    last.append(fits);
    bytes.remove_prefix(fits.size());
  }
}

std::string& Body::Whole() {
  if (pieces_.empty()) return text_;
  text_.reserve(size_);
  for (std::string& piece : pieces_) {
    text_.append(piece);
    std::string().swap(piece);
  }
  pieces_.clear();
  return text_;
}

void Body::Clear() {
  std::string().swap(text_);  // an assignment would keep its memory
  std::vector<std::string>().swap(pieces_);
  size_ = 0;
}

}  // namespace aphlict::http
