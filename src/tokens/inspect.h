// What a person may want to know about a tokenizer: its vocabulary in figures, and how well it compresses a
// text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tokens/tokenizer.h"

namespace tumbler::tokens {

struct VocabularyStats {
  int64_t ids = 0, plain = 0, added = 0, special = 0, unused = 0, merges = 0;
  double mean_bytes = 0;  // of the plain tokens
  std::vector<int64_t>
      by_length;  // by_length[n]: plain tokens of n bytes; the last entry holds all that are longer
  std::vector<TokenId> longest;                                  // the ten longest plain tokens
  int64_t with_leading_space = 0, with_digit = 0, not_utf8 = 0;  // not_utf8: a part of a character
};
VocabularyStats vocabulary_stats(const Tokenizer& tokenizer);

struct Compression {
  std::string tokenizer;
  int64_t bytes = 0, characters = 0, words = 0, tokens = 0;
  double bytes_per_token() const {
    return tokens > 0 ? static_cast<double>(bytes) / static_cast<double>(tokens) : 0;
  }
  double tokens_per_word() const {
    return words > 0 ? static_cast<double>(tokens) / static_cast<double>(words) : 0;
  }
};
Compression compression(const Tokenizer& tokenizer, std::string_view text);

// A token's bytes for a terminal or a table: line breaks and controls as escapes, bytes that are not UTF-8 as
// \xNN.
std::string printable(std::string_view bytes);

}  // namespace tumbler::tokens
