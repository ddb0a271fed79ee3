#include "tests/bench/load/message.h"

#include <cstdio>
#include <cstring>
#include <random>

namespace aphlict::bench {

namespace {

constexpr std::size_t kUniqueBytes = 32;

std::string Numbered(const char* kind, unsigned long long number) {
  char text[48];
  std::snprintf(text, sizeof(text), "PHID-%s-%020llu", kind, number);
  return text;
}

// Digits at the end of `field`, zeros before them.
void PutNumber(char* field, std::size_t digits, std::uint64_t number) {
  for (std::size_t i = digits; i > 0; --i, number /= 10) field[i - 1] = static_cast<char>('0' + number % 10);
}

}  // namespace

std::string GroupPhid(std::uint32_t group) { return Numbered("USER", group); }

std::string MemberPhid(std::uint32_t group, std::uint32_t member) {
  constexpr std::uint64_t kBehindGroups = 1'000'000'000'000;
  return Numbered("USER", kBehindGroups + std::uint64_t{group} * kMostMembers + member);
}

std::string UnusedPhid(std::uint64_t number) { return Numbered("TASK", number); }

BodyTemplate::BodyTemplate(std::size_t bytes, const std::string& unique_text, std::uint32_t members)
    : bytes_(bytes), members_(members) {
  std::random_device random;
  std::string unique(kUniqueBytes, '0');
  for (std::size_t i = 0; i + kSequenceDigits < kUniqueBytes; ++i) {
    unique[i] = static_cast<char>('a' + (unique_text.empty() ? random() % 26 : 0));
    if (i < unique_text.size()) unique[i] = unique_text[i];
  }
  text_ = R"({"sequence":")";
  sequence_at_ = text_.size();
  text_ += std::string(kSequenceDigits, '0') + R"(","type":"notification","subscribers":[)";
  phids_at_ = text_.size();
  text_ += PhidsOf(0) + R"(],"uniqueID":")";
  unique_at_ = text_.size() + kUniqueBytes - kSequenceDigits;
  text_ += unique + R"(","key":")";
  const std::string end = R"("})";
  if (text_.size() + end.size() < bytes) text_.append(bytes - text_.size() - end.size(), '7');
  text_ += end;
}

std::string BodyTemplate::PhidsOf(std::uint32_t group) const {
  if (members_ == 0) return '"' + GroupPhid(group) + '"';
  std::string phids;
  for (std::uint32_t member = 0; member < members_; ++member) {
    phids += (member == 0 ? "\"" : ",\"") + MemberPhid(group, member) + '"';
  }
  return phids;
}

void BodyTemplate::Make(std::uint32_t sequence, std::uint32_t group, std::string* into) const {
  into->assign(text_);
  PutNumber(into->data() + sequence_at_, kSequenceDigits, sequence);
  const std::string phids = PhidsOf(group);
  into->replace(phids_at_, phids.size(), phids);
  PutNumber(into->data() + unique_at_, kSequenceDigits, sequence);
}

std::optional<std::uint32_t> BodyTemplate::SequenceOf(const char* body, std::size_t available) const {
  if (available < sequence_at_ + kSequenceDigits) return {};
  if (std::memcmp(body, text_.data(), sequence_at_) != 0) return {};
  std::uint64_t number = 0;
  for (std::size_t i = 0; i < kSequenceDigits; ++i) {
    const char digit = body[sequence_at_ + i];
    if (digit < '0' || digit > '9') return {};
    number = number * 10 + static_cast<std::uint64_t>(digit - '0');
  }
  return static_cast<std::uint32_t>(number);
}

}  // namespace aphlict::bench
