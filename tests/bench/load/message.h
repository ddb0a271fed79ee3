// What is published: bodies of one length, of which only three fields of fixed width differ.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace aphlict::bench {

// The PHID that the clients of a group share, 30 characters like any.
std::string GroupPhid(std::uint32_t group);
// That of one of them alone, from 0 on. REQUIRES: member < kMostMembers.
inline constexpr std::uint32_t kMostMembers = 1'000;
std::string MemberPhid(std::uint32_t group, std::uint32_t member);

// The group of all clients of all load processes, beside each one's own.
inline constexpr std::uint32_t kEveryone = 4'000'000'000;

// A PHID that nothing is ever published to.
std::string UnusedPhid(std::uint64_t number);

class BodyTemplate {
 public:
  static constexpr std::size_t kSequenceDigits = 10;

  // `bytes` is the body's length; what is less than the fields need is made as long as they need. `unique_text` tells
  // the texts of this template from all others', random where it is empty: processes that are given the same one know
  // each other's messages. The subscribers are the group's PHID, or those of its first `members` alone.
  BodyTemplate(std::size_t bytes, const std::string& unique_text, std::uint32_t members);

  // The message's text; `uniqueID` is new for each template and sequence. `into` is written over.
  void Make(std::uint32_t sequence, std::uint32_t group, std::string* into) const;

  // The sequence of a body that begins at `body`, of which at least `available` bytes may be read.
  std::optional<std::uint32_t> SequenceOf(const char* body, std::size_t available) const;

  // How every body begins, up to the sequence.
  std::string_view beginning() const { return std::string_view(text_).substr(0, sequence_at_); }
  std::size_t bytes() const { return bytes_; }
  std::uint32_t members() const { return members_; }

 private:
  // As they stand in a list, of one length for each group.
  std::string PhidsOf(std::uint32_t group) const;

  std::size_t bytes_;
  std::uint32_t members_;
  std::string text_;
  std::size_t sequence_at_ = 0;
  std::size_t phids_at_ = 0;
  std::size_t unique_at_ = 0;  // of its last digits, which are the sequence
};

}  // namespace aphlict::bench
