// Words and sentences of English text, as the tokenizers cut them with which FineWeb's thresholds were
// measured.
//
// `nltk` follows the Treebank rules of NLTK's word_tokenize with a sentence splitter in the manner of Punkt
// (Kiss & Strunk 2006) that has a fixed list of abbreviations in place of Punkt's trained tables; `spacy`
// follows the prefix, suffix and infix rules of spaCy's blank English pipeline. Both are one pass over the
// bytes. How often they agree with the originals: docs/decisions.md.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace tumbler::text {

enum class WordStyle { kNltk, kSpacy };

struct Word {
  std::string_view text;  // into the document; nltk's quotes `` and '' are static strings
  uint32_t chars = 0;     // code points
};

// Appends the words of `text` to `out`, which is cleared first (its memory is kept for the next document).
void split_words(std::string_view text, WordStyle style, std::vector<Word>& out);

// Sentences in a line, as `split_words`'s style sees them. 0 for a line of white space.
int64_t count_sentences(std::string_view line, WordStyle style);

namespace detail {
// Punkt's question: does the period that ends `token` end a sentence, before the run that starts with `next`?
bool period_ends_sentence(std::string_view token, std::string_view next);
void split_words_nltk(std::string_view text, std::vector<Word>& out);
void split_words_spacy(std::string_view text, std::vector<Word>& out);
int64_t count_sentences_nltk(std::string_view line);
int64_t count_sentences_spacy(std::string_view line);
}  // namespace detail

}  // namespace tumbler::text
