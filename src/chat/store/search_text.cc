#include "chat/store/search_text.h"

#include <algorithm>
#include <array>

#include <unicode/normalizer2.h>
#include <unicode/uchar.h>
#include <unicode/uscript.h>
#include <unicode/utf8.h>

namespace tumbler::chat {
namespace {

using detail::CharKind;

constexpr size_t kMaxWords = 32;   // of a query
constexpr size_t kMaxGrams = 128;  // of a query: more make no difference to what find() has to look at
constexpr size_t kCharsBefore = 40, kCharsBehind = 80;  // of a snippet

// é → e, and ώ → ω: the letter that a composed one begins with.
char32_t without_accent(char32_t c) {
  UErrorCode status = U_ZERO_ERROR;
  const icu::Normalizer2* nfc = icu::Normalizer2::getNFCInstance(status);
  icu::UnicodeString parts;
  if (U_FAILURE(status) || !nfc->getDecomposition(static_cast<UChar32>(c), parts)) return c;
  return static_cast<char32_t>(parts.char32At(0));
}

// 0: it leaves nothing.
char32_t fold_char(char32_t c) {
  if (c < 0x80) return c >= 'A' && c <= 'Z' ? c + 32 : c < 0x20 || c == 0x7F ? U' ' : c;
  if (c >= 0x300 && c <= 0x36F) return 0;  // an accent on its own
  if (c == 0xAD || c == 0x200B || c == 0x200C || c == 0x200D || c == 0xFEFF) return 0;  // invisible
  if (u_isUWhiteSpace(static_cast<UChar32>(c))) return U' ';
  if (c == 0x2018 || c == 0x2019) return U'\'';
  if (c == 0x201C || c == 0x201D) return U'"';
  if (c >= 0xFF01 && c <= 0xFF5E) return fold_char(c - 0xFF01 + '!');
  c = static_cast<char32_t>(u_foldCase(static_cast<UChar32>(c), U_FOLD_CASE_DEFAULT));
  return c < 0x400 || (c >= 0x1E00 && c < 0x2000) ? without_accent(c) : c;
}

CharKind find_kind(char32_t c) {
  if (c == U' ') return CharKind::blank;
  const auto code = static_cast<UChar32>(c);
  if (c >= 0xE00) {
    UErrorCode status = U_ZERO_ERROR;
    switch (uscript_getScript(code, &status)) {
      case USCRIPT_HAN:
      case USCRIPT_HIRAGANA:
      case USCRIPT_KATAKANA:
      case USCRIPT_HANGUL:
      case USCRIPT_BOPOMOFO:
      case USCRIPT_THAI:
      case USCRIPT_LAO:
      case USCRIPT_KHMER:
      case USCRIPT_MYANMAR:
      case USCRIPT_TIBETAN:
        return CharKind::unspaced;
      default:
        break;
    }
  }
  const int8_t type = u_charType(code);
  const bool letter = u_isalnum(code) || type == U_NON_SPACING_MARK || type == U_COMBINING_SPACING_MARK;
  return letter ? CharKind::letter : CharKind::sign;
}

// From `word` at `begin` on: up to a blank, or to the " that ends a phrase.
size_t end_of_word(std::u32string_view text, size_t begin, bool& phrase) {
  phrase = false;
  if (text[begin] == U'"')
    for (size_t i = text.find(U'"', begin + 1); i < text.size(); i = text.find(U'"', i + 1))
      if ((i + 1 == text.size() || text[i + 1] == U' ') && i > begin + 1) {
        phrase = true;
        return i + 1;
      }
  return std::min(text.find(U' ', begin), text.size());
}

bool starts_word(std::u32string_view text, size_t at) {
  const CharKind before = at == 0 ? CharKind::blank : detail::char_kind(text[at - 1]);
  return detail::begins_word(before, detail::char_kind(text[at]));
}

size_t find_word(std::u32string_view text, std::u32string_view word) {
  size_t at = text.find(word);
  if (word.size() < 3)
    while (at < text.size() && !starts_word(text, at)) at = text.find(word, at + 1);
  return at;
}

}  // namespace

CharKind detail::char_kind(char32_t c) {
  static const auto kAscii = [] {
    std::array<CharKind, 128> kinds{};
    for (char32_t i = 0; i < 128; ++i) kinds[i] = find_kind(i);
    return kinds;
  }();
  return c < 128 ? kAscii[c] : find_kind(c);
}

FoldedText fold_text(std::string_view text) {
  FoldedText out;
  out.chars.reserve(text.size());
  out.at.reserve(text.size());
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  const auto size = static_cast<int64_t>(text.size());
  for (int64_t i = 0; i < size;) {
    const int64_t begin = i;
    UChar32 code = 0;
    U8_NEXT_OR_FFFD(bytes, i, size, code);
    const char32_t c = fold_char(static_cast<char32_t>(code));
    if (c == 0 || (c == U' ' && (out.chars.empty() || out.chars.back() == U' '))) continue;
    out.chars += c;
    out.at.push_back(static_cast<uint32_t>(begin));
  }
  if (out.chars.ends_with(U' ')) {
    out.chars.pop_back();
    out.at.pop_back();
  }
  return out;
}

void append_chars(std::u32string_view chars, std::string& out) {
  for (const char32_t c : chars) {
    char bytes[4];
    int32_t n = 0;
    U8_APPEND_UNSAFE(bytes, n, static_cast<UChar32>(c));
    out.append(bytes, static_cast<size_t>(n));
  }
}

SearchQuery::SearchQuery(std::string_view text) {
  const FoldedText folded = fold_text(text);
  const std::u32string_view chars = folded.chars;
  for (size_t i = 0; i < chars.size() && words_.size() < kMaxWords;) {
    if (chars[i] == U' ') {
      ++i;
      continue;
    }
    bool phrase = false;
    const size_t end = end_of_word(chars, i, phrase);
    words_.emplace_back(phrase ? chars.substr(i + 1, end - i - 2) : chars.substr(i, end - i));
    i = end;
  }
}

std::string SearchQuery::fts5() const {
  std::vector<std::string> grams;
  const auto add = [&](std::u32string_view chars) { append_chars(chars, grams.emplace_back()); };
  for (const std::u32string& word : words_)
    for (size_t begin = 0, end; begin < word.size(); begin = end + 1) {
      end = std::min(word.find(U' ', begin), word.size());
      const std::u32string_view part = std::u32string_view(word).substr(begin, end - begin);
      if (!part.empty() && part.size() < 3) add(part);
      for (size_t i = 0; i + 3 <= part.size(); ++i) add(part.substr(i, 3));
    }
  std::sort(grams.begin(), grams.end());
  grams.erase(std::unique(grams.begin(), grams.end()), grams.end());
  if (grams.size() > kMaxGrams) grams.resize(kMaxGrams);
  std::string out;
  for (const std::string& gram : grams) {
    out += out.empty() ? "\"" : " AND \"";
    for (const char c : gram) out += c == '"' ? std::string("\"\"") : std::string(1, c);
    out += '"';
  }
  return out;
}

std::optional<size_t> SearchQuery::find(const FoldedText& text) const {
  std::optional<size_t> first;
  for (const std::u32string& word : words_) {
    const size_t at = find_word(text.chars, word);
    if (at == std::u32string::npos) return std::nullopt;
    if (!first) first = at;
  }
  return first;
}

std::string snippet(std::string_view text, const FoldedText& folded, size_t at) {
  const size_t begin = at > kCharsBefore ? at - kCharsBefore : 0, end = at + kCharsBehind;
  const size_t first = begin == 0 ? 0 : folded.at[begin];
  const size_t last = end < folded.at.size() ? folded.at[end] : text.size();
  std::string out = begin == 0 ? "" : "…";
  for (const char c : text.substr(first, last - first)) {
    const bool blank = static_cast<unsigned char>(c) <= ' ';
    if (!blank)
      out += c;
    else if (!out.empty() && out.back() != ' ')
      out += ' ';
  }
  while (out.ends_with(' ')) out.pop_back();
  return last < text.size() ? out + "…" : out;
}

}  // namespace tumbler::chat
