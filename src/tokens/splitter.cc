#include "tokens/splitter.h"

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

#include "tokens/unicode_tables.h"

namespace tumbler::tokens {
namespace {

// What the patterns differ in.
struct Rules {
  enum class Contractions { kNone, kExact, kFolded, kFoldedSuffix };
  enum class Words { kAfterBlank, kAfterAny, kAfterAnyWithMarks, kByCase };
  enum class Blanks { kPlain, kUntilNumber, kEndThenNewline, kNewlineFirst };
  Contractions contractions;  // 's 't 're … at the start of a piece, or behind a word
  Words words;        // what may stand before the letters: a blank, or anything but \r \n letters numbers
  int max_digits;     // 0: any number, after an optional blank
  bool newline_tail;  // punctuation takes the line breaks behind it along
  bool slash_tail;    // … and slashes between those
  Blanks blanks;
};

using enum Rules::Contractions;
using enum Rules::Words;
using enum Rules::Blanks;

constexpr Rules kRules[] = {
    /* kGpt2   */ {kExact, kAfterBlank, 0, false, false, kPlain},
    /* kDigits */ {kExact, kAfterBlank, 1, false, false, kUntilNumber},
    /* kCl100k */ {kFolded, kAfterAny, 3, true, false, kEndThenNewline},
    /* kLlama3 */ {kFolded, kAfterAny, 3, true, false, kNewlineFirst},
    /* kQwen2  */ {kFolded, kAfterAny, 1, true, false, kNewlineFirst},
    /* kQwen35 */ {kFolded, kAfterAnyWithMarks, 1, true, false, kNewlineFirst},
    /* kO200k  */ {kFoldedSuffix, kByCase, 3, true, true, kNewlineFirst},
    /* kTekken */ {Rules::Contractions::kNone, kByCase, 1, true, true, kNewlineFirst},
};

constexpr uint32_t bit(CharClass c) {
  return 1u << static_cast<uint32_t>(c);
}
constexpr uint32_t kLetters = bit(CharClass::kUpper) | bit(CharClass::kLower) | bit(CharClass::kLetter);
constexpr uint32_t kSpaces = bit(CharClass::kSpace) | bit(CharClass::kNewline);
constexpr uint32_t kTails =
    bit(CharClass::kLower) | bit(CharClass::kLetter) | bit(CharClass::kMark);  // o200k: not upper
constexpr uint32_t kCased = bit(CharClass::kLetter) | bit(CharClass::kMark);   // in both

constexpr auto kAscii = [] {
  std::array<uint8_t, 128> table{};
  for (int c = 0; c < 128; ++c) {
    CharClass k = CharClass::kOther;
    if (c == '\r' || c == '\n')
      k = CharClass::kNewline;
    else if (c == ' ' || (c >= 9 && c <= 13))
      k = CharClass::kSpace;
    else if (c >= '0' && c <= '9')
      k = CharClass::kNumber;
    else if (c >= 'A' && c <= 'Z')
      k = CharClass::kUpper;
    else if (c >= 'a' && c <= 'z')
      k = CharClass::kLower;
    table[static_cast<size_t>(c)] = static_cast<uint8_t>(1u << static_cast<uint32_t>(k));
  }
  return table;
}();

struct Text {
  const char* s;
  size_t n;
};

struct Char {
  uint32_t bits;  // one bit: its class
  uint32_t length;
};

inline Char char_at(Text t, size_t i) {
  const auto byte = static_cast<unsigned char>(t.s[i]);
  if (byte < 0x80) return {kAscii[byte], 1};
  const CodePoint c = decode_utf8(t.s, t.n, i);
  if (c.value == CodePoint::kInvalid) return {bit(CharClass::kOther), 1};
  return {bit(char_class(c.value)), c.length};
}

constexpr uint64_t kOnes = 0x0101010101010101ull, kHigh = 0x8080808080808080ull;

// High bit of each byte of x that is an ASCII letter in `set`. Adding 0x80 - 'a' to seven bits carries into
// the high bit from 'a' on; 0x20 maps upper case to lower case and nothing else into a…z.
template <uint32_t set>
inline uint64_t ascii_letters(uint64_t x) {
  uint64_t y = x & ~kHigh;
  constexpr bool upper = set & bit(CharClass::kUpper), lower = set & bit(CharClass::kLower);
  if constexpr (upper && lower) y |= 0x20 * kOnes;
  constexpr uint64_t first = lower ? 'a' : 'A', last = lower ? 'z' : 'Z';
  return (y + (0x80 - first) * kOnes) & ~(y + (0x7F - last) * kOnes) & ~x & kHigh;
}

// First place from i on whose character is not in `set`.
template <uint32_t set>
inline size_t skip(Text t, size_t i) {
  for (;;) {
    if constexpr ((set & (bit(CharClass::kUpper) | bit(CharClass::kLower))) != 0 &&
                  std::endian::native == std::endian::little) {
      while (t.n - i >= 8) {
        uint64_t x;
        std::memcpy(&x, t.s + i, 8);
        const uint64_t stop = ~ascii_letters<set>(x) & kHigh;
        if (stop != 0) {
          i += static_cast<size_t>(std::countr_zero(stop)) / 8;
          break;
        }
        i += 8;
      }
    }
    if (i == t.n) return i;
    const Char c = char_at(t, i);
    if ((c.bits & set) == 0) return i;
    i += c.length;
  }
}

// Length of 's 't 're 've 'm 'll 'd at i, 0 where there is none. Ignoring case, U+017F (long s) is an s: it
// is the only character outside ASCII that folds to one of these letters.
template <bool fold>
inline size_t contraction(Text t, size_t i) {
  if (t.s[i] != '\'' || t.n - i < 2) return 0;
  const auto letter = [&](size_t k) {
    const char c = t.s[k];
    return fold && c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c;
  };
  const char a = letter(i + 1);
  if (a == 's' || a == 'd' || a == 'm' || a == 't') return 2;
  if (t.n - i < 3) return 0;
  if (fold && t.s[i + 1] == '\xC5' && t.s[i + 2] == '\xBF') return 3;
  const char b = letter(i + 2);
  return (a == 'l' && b == 'l') || ((a == 'v' || a == 'r') && b == 'e') ? 3 : 0;
}

// \s*[\r\n]+ | \s+(?!\S) | \s+ and its variants, from a white space on.
template <Rules::Blanks mode>
size_t blanks_end(Text t, size_t begin) {
  size_t i = begin, last = begin, after_newline = 0;
  uint32_t next = 0;  // class behind the run
  while (i < t.n) {
    const Char c = char_at(t, i);
    next = c.bits;
    if ((c.bits & kSpaces) == 0) break;
    last = i;
    i += c.length;
    if (c.bits == bit(CharClass::kNewline)) after_newline = i;
  }
  if (mode == kEndThenNewline && i == t.n) return i;
  if ((mode == kEndThenNewline || mode == kNewlineFirst) && after_newline != 0) return after_newline;
  if (i == t.n) return i;
  if (mode == kUntilNumber && next == bit(CharClass::kNumber)) return i;
  return last > begin ? last : i;  // the last blank belongs to what follows
}

// o200k's words: [A]*[B]+ or else [A]+[B]*, where A is all but lower case, B all but upper case, and caseless
// letters and marks are both. 0 where no word starts at i. A regular expression gives back characters of [A]*
// one by one until a [B] fits.
template <bool suffix>
size_t cased_word_end(Text t, size_t i) {
  size_t j = i, both = 0;  // both: behind the last character of [A]* that could be a [B]
  for (;;) {
    j = skip<bit(CharClass::kUpper)>(t, j);
    if (j == t.n) break;
    const Char c = char_at(t, j);
    if ((c.bits & kCased) == 0) break;
    j += c.length;
    both = j;
  }
  const size_t end = skip<kTails>(t, j);
  if (end > j)
    j = end;
  else if (both != 0)
    j = both;
  else if (j == i)
    return 0;
  if constexpr (suffix) {
    if (j < t.n) j += contraction<true>(t, j);
  }
  return j;
}

template <Rules rules>
inline size_t word_end(Text t, size_t i) {
  if constexpr (rules.words == kByCase) {
    return cased_word_end<rules.contractions == kFoldedSuffix>(t, i);
  } else {
    constexpr uint32_t set = rules.words == kAfterAnyWithMarks ? kLetters | bit(CharClass::kMark) : kLetters;
    const size_t end = skip<set>(t, i);
    return end == i ? 0 : end;
  }
}

template <Rules rules>
inline size_t punctuation_end(Text t, size_t i) {
  constexpr uint32_t marks = rules.words == kAfterAnyWithMarks ? 0 : bit(CharClass::kMark);
  i = skip<bit(CharClass::kOther) | marks>(t, i);
  if constexpr (rules.newline_tail)
    while (i < t.n && (t.s[i] == '\r' || t.s[i] == '\n' || (rules.slash_tail && t.s[i] == '/'))) ++i;
  return i;
}

template <Rules rules>
inline size_t numbers_end(Text t, size_t i) {
  if constexpr (rules.max_digits == 0) return skip<bit(CharClass::kNumber)>(t, i);
  for (int k = 0; k < rules.max_digits && i < t.n; ++k) {
    const Char c = char_at(t, i);
    if (c.bits != bit(CharClass::kNumber)) break;
    i += c.length;
  }
  return i;
}

// The piece at i when it starts with a mark and words go by case: the mark may stand before a word or be its
// first character. The regular expression first tries it as what stands before the word.
template <Rules rules>
size_t marked_word_end(Text t, size_t after_mark) {
  constexpr bool suffix = rules.contractions == kFoldedSuffix;
  // [A]*[B]+ behind the mark, as cased_word_end() finds it, but only if it ends in a [B]: where the letters
  // are all upper case, the mark alone is the [B]+ of a word without anything before it.
  const size_t upper = skip<bit(CharClass::kUpper)>(t, after_mark);
  const bool lower_follows = upper < t.n && (char_at(t, upper).bits & kTails) != 0;
  if (lower_follows) return cased_word_end<suffix>(t, after_mark);
  size_t end = after_mark;
  if (suffix && end < t.n) end += contraction<true>(t, end);
  return end;
}

template <Rules rules>
size_t next_piece(Text t, size_t i) {
  constexpr bool any_lead = rules.words != kAfterBlank;
  if constexpr (rules.contractions == kExact || rules.contractions == kFolded) {
    if (const size_t length = contraction<rules.contractions == kFolded>(t, i)) return i + length;
  }
  const Char first = char_at(t, i);
  if ((first.bits & kLetters) != 0) return word_end<rules>(t, i);
  if (first.bits == bit(CharClass::kNumber)) return numbers_end<rules>(t, i);
  const size_t j = i + first.length;
  const bool blank = t.s[i] == ' ';
  if (any_lead && first.bits != bit(CharClass::kNewline)) {
    if (rules.words == kByCase && first.bits == bit(CharClass::kMark)) return marked_word_end<rules>(t, j);
    if (j < t.n) {
      if (const size_t end = word_end<rules>(t, j)) return end;
    }
    if (rules.words == kAfterAnyWithMarks && first.bits == bit(CharClass::kMark))
      return word_end<rules>(t, i);
  }
  if (first.bits == bit(CharClass::kOther) || first.bits == bit(CharClass::kMark))
    return punctuation_end<rules>(t, i);
  if (blank && j < t.n) {
    const Char second = char_at(t, j);
    if (!any_lead && (second.bits & kLetters) != 0) return word_end<rules>(t, j);
    if (rules.max_digits == 0 && second.bits == bit(CharClass::kNumber)) return numbers_end<rules>(t, j);
    const size_t end = punctuation_end<rules>(t, j);
    if ((second.bits & (kSpaces | bit(CharClass::kNumber))) == 0 && end > j) return end;
  }
  return blanks_end<rules.blanks>(t, i);
}

template <size_t index>
size_t split_batch(const char* text, size_t size, size_t begin, size_t* ends, size_t capacity) {
  size_t count = 0;
  while (count < capacity && begin < size)
    ends[count++] = begin = next_piece<kRules[index]>({text, size}, begin);
  return count;
}

constexpr SplitBatch kFunctions[] = {split_batch<0>, split_batch<1>, split_batch<2>, split_batch<3>,
                                     split_batch<4>, split_batch<5>, split_batch<6>, split_batch<7>};
static_assert(std::size(kFunctions) == std::size(kRules));

constexpr std::string_view kNames[] = {"gpt2",  "digits", "cl100k", "llama3",
                                       "qwen2", "qwen35", "o200k",  "tekken"};

constexpr std::string_view kRegexes[] = {
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)",
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|\s+(?=\p{N})|\s+(?!\S)|\s+)",
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s+\z|\s*[\r\n]+|\s+(?!\S)|\s+)",
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
};
static_assert(std::size(kNames) == std::size(kRules) && std::size(kRegexes) == std::size(kRules));

struct Spelling {
  std::string_view regex;
  Pattern pattern;
};
constexpr Spelling kOtherSpellings[] = {
    {R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)", Pattern::kGpt2},
    {R"('(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s)", Pattern::kGpt2},
    {R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s)",
     Pattern::kCl100k},
    {R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)",
     Pattern::kLlama3},
    {R"((?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     Pattern::kQwen2},
    {R"((?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
     Pattern::kLlama3},
};

}  // namespace

std::string_view pattern_name(Pattern pattern) noexcept {
  return kNames[static_cast<size_t>(pattern)];
}

std::optional<Pattern> find_pattern(std::string_view name) noexcept {
  for (size_t i = 0; i < std::size(kNames); ++i)
    if (kNames[i] == name) return static_cast<Pattern>(i);
  return std::nullopt;
}

std::string_view pattern_regex(Pattern pattern) noexcept {
  return kRegexes[static_cast<size_t>(pattern)];
}

std::optional<Pattern> find_pattern_by_regex(std::string_view regex) noexcept {
  for (size_t i = 0; i < std::size(kRegexes); ++i)
    if (kRegexes[i] == regex) return static_cast<Pattern>(i);
  for (const Spelling& spelling : kOtherSpellings)
    if (spelling.regex == regex) return spelling.pattern;
  return std::nullopt;
}

SplitBatch split_batch_function(Pattern pattern) noexcept {
  return kFunctions[static_cast<size_t>(pattern)];
}

std::vector<std::string_view> split(Pattern pattern, std::string_view text) {
  std::vector<std::string_view> pieces;
  const SplitBatch batch = split_batch_function(pattern);
  size_t ends[256], begin = 0;
  while (const size_t count = batch(text.data(), text.size(), begin, ends, std::size(ends)))
    for (size_t i = 0; i < count; begin = ends[i++]) pieces.push_back(text.substr(begin, ends[i] - begin));
  return pieces;
}

size_t find_safe_cut(std::string_view text, size_t from) noexcept {
  const auto is = [&](size_t i, uint32_t set) {
    const auto byte = static_cast<unsigned char>(text[i]);
    return byte < 0x80 && (kAscii[byte] & set) != 0;
  };
  constexpr uint32_t kWord = kLetters | bit(CharClass::kNumber);
  while (from < text.size()) {
    const size_t newline = text.find('\n', from);
    if (newline == std::string_view::npos || newline + 1 >= text.size()) break;
    if (newline > 0 && is(newline - 1, kWord | bit(CharClass::kOther)) && is(newline + 1, kWord))
      return newline + 1;
    from = newline + 1;
  }
  return text.size();
}

std::vector<std::string_view> safe_parts(std::string_view text, size_t part_bytes) {
  std::vector<std::string_view> parts;
  while (text.size() > part_bytes) {
    const size_t cut = find_safe_cut(text, part_bytes);
    parts.push_back(text.substr(0, cut));
    text.remove_prefix(cut);
  }
  if (!text.empty()) parts.push_back(text);
  return parts;
}

}  // namespace tumbler::tokens
