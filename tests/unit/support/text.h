// Text to send about, of any size.
#pragma once

#include <cstddef>
#include <string>

namespace aphlict::testing {

// That many bytes, no two stretches of which are the same: what comes out of order or twice is told from what does not.
inline std::string Long(std::size_t size) {
  std::string text;
  for (int i = 0; text.size() < size; ++i) text += std::to_string(i) + ",";
  text.resize(size);
  return text;
}

}  // namespace aphlict::testing
