// One command of the load generator: a word, then key=value, all separated by spaces.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>

namespace aphlict::bench {

// Whatever makes a command fail: a peer that cannot be reached, an option that is not there.
struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Options {
 public:
  static Options Parse(const std::string& line) {
    Options options;
    std::istringstream words(line);
    words >> options.word_;
    for (std::string word; words >> word;) {
      const std::size_t equals = word.find('=');
      if (equals == std::string::npos) throw Failure("not key=value: " + word);
      options.values_[word.substr(0, equals)] = word.substr(equals + 1);
    }
    return options;
  }

  const std::string& word() const { return word_; }

  std::string Text(const std::string& key, const std::string& otherwise) const {
    const auto found = values_.find(key);
    return found == values_.end() ? otherwise : found->second;
  }

  double Number(const std::string& key, double otherwise) const {
    const auto found = values_.find(key);
    return found == values_.end() ? otherwise : std::strtod(found->second.c_str(), nullptr);
  }

  std::uint32_t Count(const std::string& key, std::uint32_t otherwise) const {
    return static_cast<std::uint32_t>(Number(key, otherwise));
  }

 private:
  std::string word_;
  std::map<std::string, std::string> values_;
};

}  // namespace aphlict::bench
