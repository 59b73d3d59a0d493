// What a search compares. Texts are folded: letter case, accents of Latin and Greek letters, full-width
// forms, curly quotes and the kind and number of blanks make no difference. A folded text is indexed by its
// grams: every three characters that follow one another, and at the start of a word, or anywhere in a script
// that puts no blanks between words, the first one and the first two. So any part of a word is found that has
// three characters, shorter ones at the start of words, and Chinese, Japanese, Korean or Thai of any length.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tumbler::chat {

struct FoldedText {
  std::u32string chars;           // blanks between words are one ' ' each, without any at the ends
  std::vector<uint32_t> at = {};  // where in the text each of them begins, in bytes
};
// Any bytes: what is not UTF-8 counts as U+FFFD. Up to 4 GB.
FoldedText fold_text(std::string_view text);

// Appends `chars` as UTF-8.
void append_chars(std::u32string_view chars, std::string& out);

// The grams of a text in their order, as UTF-8 of at most 12 bytes each, to use(gram).
template <class Use>
void for_grams(const FoldedText& text, const Use& use);

// What a user looks for: all its words, each as it stands; words in "double quotes" follow one another.
class SearchQuery {
 public:
  explicit SearchQuery(std::string_view text);
  bool empty() const noexcept { return words_.empty(); }
  // Of FTS5's language, for a table of grams: it finds all texts that find() finds, and maybe more.
  std::string fts5() const;
  // Where the first word is, counted in characters of `text`, if all of them are there.
  std::optional<size_t> find(const FoldedText& text) const;

 private:
  std::vector<std::u32string> words_;
};

// About 120 characters of `text` around the `at`-th of `folded`, on one line.
std::string snippet(std::string_view text, const FoldedText& folded, size_t at);

namespace detail {
// What a character is to its neighbours.
enum class CharKind { blank, sign, letter, unspaced };
CharKind char_kind(char32_t c);
// Whether a word begins at the second one.
constexpr bool begins_word(CharKind before, CharKind kind) {
  return kind != CharKind::blank && (kind == CharKind::unspaced || kind != before);
}
}  // namespace detail

template <class Use>
void for_grams(const FoldedText& text, const Use& use) {
  using detail::CharKind;
  std::string gram;
  CharKind before = CharKind::blank;
  for (size_t i = 0; i < text.chars.size(); ++i) {
    const CharKind kind = detail::char_kind(text.chars[i]);
    const bool begins = detail::begins_word(before, kind);
    before = kind;
    gram.clear();
    for (size_t n = 1; n <= 3 && i + n <= text.chars.size() && text.chars[i + n - 1] != U' '; ++n) {
      append_chars({&text.chars[i + n - 1], 1}, gram);
      if (n == 3 || begins) use(std::string_view(gram));
    }
  }
}

}  // namespace tumbler::chat
