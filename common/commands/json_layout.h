// JSON for people to read and to paste.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/json/value.h"

namespace aphlict::commands {

// With line breaks and two spaces of indentation; what has no list and no object in it stands on one line. Numbers as
// they were written.
std::string Layout(const json::Value& value);

// The text in quotes, escaped.
std::string Quoted(std::string_view text);

// A list of such texts.
std::string QuotedList(const std::vector<std::string>& texts);

}  // namespace aphlict::commands
