#include "tokens/inspect.h"

#include <algorithm>

#include <fmt/format.h>

#include "tokens/unicode_tables.h"

namespace tumbler::tokens {
namespace {

constexpr size_t kLongestLength = 16;

bool is_utf8(std::string_view bytes) {
  for (size_t i = 0; i < bytes.size();) {
    const CodePoint c = decode_utf8(bytes.data(), bytes.size(), i);
    if (c.value == CodePoint::kInvalid) return false;
    i += c.length;
  }
  return true;
}

}  // namespace

VocabularyStats vocabulary_stats(const Tokenizer& tokenizer) {
  VocabularyStats stats;
  stats.ids = tokenizer.vocab_size();
  stats.merges = static_cast<int64_t>(tokenizer.parts().merges.size());
  stats.by_length.assign(kLongestLength + 1, 0);
  std::vector<TokenId> plain;
  int64_t bytes = 0;
  for (TokenId id = 0; id < stats.ids; ++id) {
    if (!tokenizer.has(id)) {
      ++stats.unused;
    } else if (tokenizer.is_added(id)) {
      ++stats.added;
      stats.special += tokenizer.is_special(id);
    } else {
      const std::string_view token = tokenizer.token_bytes(id);
      plain.push_back(id);
      bytes += static_cast<int64_t>(token.size());
      ++stats.by_length[std::min(token.size(), kLongestLength)];
      stats.with_leading_space += token[0] == ' ';
      stats.with_digit +=
          std::any_of(token.begin(), token.end(), [](char c) { return c >= '0' && c <= '9'; });
      stats.not_utf8 += !is_utf8(token);
    }
  }
  stats.plain = static_cast<int64_t>(plain.size());
  if (stats.plain > 0) stats.mean_bytes = static_cast<double>(bytes) / static_cast<double>(stats.plain);
  std::stable_sort(plain.begin(), plain.end(), [&](TokenId a, TokenId b) {
    return tokenizer.token_bytes(a).size() > tokenizer.token_bytes(b).size();
  });
  stats.longest.assign(plain.begin(),
                       plain.begin() + static_cast<ptrdiff_t>(std::min<size_t>(10, plain.size())));
  return stats;
}

Compression compression(const Tokenizer& tokenizer, std::string_view text) {
  Compression result;
  result.tokenizer = tokenizer.parts().name;
  result.bytes = static_cast<int64_t>(text.size());
  result.tokens = static_cast<int64_t>(tokenizer.encode(text).size());
  bool in_word = false;
  for (size_t i = 0; i < text.size(); ++result.characters) {
    const CodePoint c = decode_utf8(text.data(), text.size(), i);
    const CharClass k = c.value == CodePoint::kInvalid ? CharClass::kOther : char_class(c.value);
    const bool blank = k == CharClass::kSpace || k == CharClass::kNewline;
    result.words += !blank && !in_word;
    in_word = !blank;
    i += c.length;
  }
  return result;
}

std::string printable(std::string_view bytes) {
  std::string out;
  for (size_t i = 0; i < bytes.size();) {
    const CodePoint c = decode_utf8(bytes.data(), bytes.size(), i);
    const auto byte = static_cast<unsigned char>(bytes[i]);
    if (c.value == '\n')
      out += "\\n";
    else if (c.value == '\r')
      out += "\\r";
    else if (c.value == '\t')
      out += "\\t";
    else if (c.value == CodePoint::kInvalid || byte < 0x20 || byte == 0x7F)
      out += fmt::format("\\x{:02X}", byte);
    else if (c.value >= 0x80 && c.value < 0xA0)
      out += fmt::format("\\u{:04X}", c.value);  // controls of a terminal
    else
      out.append(bytes, i, c.length);
    i += c.length;
  }
  return out;
}

}  // namespace tumbler::tokens
