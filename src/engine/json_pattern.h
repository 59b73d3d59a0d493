// What a JSON string may hold, as GBNF: the characters between its quotes.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tumbler::engine {

// Sets of characters: ranges, sorted and apart.
using CharacterSet = std::vector<std::pair<char32_t, char32_t>>;

// GBNF for one character of the set as JSON writes it: '"', '\' and control characters are escaped. Empty
// where the set is.
std::string json_character(const CharacterSet& set);
// GBNF for exactly this text.
std::string json_text(std::string_view text);
// GBNF for texts of `least` to `most` (-1: any number) characters, escapes counted as one.
std::string json_characters(int64_t least, int64_t most);
// GBNF for texts in which a regular expression (ECMA 262, as JSON Schema takes them) is found. Known:
// characters, . [] [^] \d \w \s \D \W \S \uHHHH, () (?:) | * + ? {m,n}, ^ at the beginning and $ at the end.
// Throws Error where it has anything else.
std::string json_pattern(std::string_view regex);
// GBNF for any text of plain characters that is none of `names`.
std::string json_text_other_than(const std::vector<std::string>& names);

// GBNF literal: in quotes, escaped.
std::string gbnf_literal(std::string_view text);

}  // namespace tumbler::engine
