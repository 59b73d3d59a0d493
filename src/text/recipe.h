// FilterOptions: every threshold of the data recipe, once. `fineweb-2024` is the code that made the FineWeb
// data set (datatrove, April 2024, github.com/huggingface/datatrove 05194d39); `datatrove-0.10` is that
// project's example as it reads today, with its language filter set to English again.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/words.h"

namespace tumbler::text {

struct UrlOptions {
  bool enabled = true;
  std::string lists;  // directory
  template <class V>
  void visit_fields(V& v) {
    v("enabled", enabled, "", "drop pages by their URL");
    v("lists", lists, "directory", "domains, urls and word lists; empty: the small ones that are built in");
  }
};

struct ExtractionOptions {
  bool favour_precision = true, include_tables = true, include_comments = false;
  int64_t max_page_bytes = int64_t{16} << 20, max_nodes = 500'000, max_text_chars = 10'000'000;
  template <class V>
  void visit_fields(V& v) {
    v("favour_precision", favour_precision, "", "rather lose text than keep menus");
    v("include_tables", include_tables, "", "keep tables as rows of cells");
    v("include_comments", include_comments, "", "keep readers' comments");
    v("max_page_bytes", max_page_bytes, "bytes", "larger pages are dropped as too_large");
    v("max_nodes", max_nodes, "nodes", "pages with more HTML nodes are dropped as too_many_nodes");
    v("max_text_chars", max_text_chars, "characters", "longer texts are dropped as too_long");
  }
};

struct LanguageOptions {
  bool enabled = true;
  std::vector<std::string> languages = {"en"};
  double min_score = 0.65;
  std::string model;  // path
  std::string newline = "space";
  template <class V>
  void visit_fields(V& v) {
    v("enabled", enabled, "", "drop pages by language");
    v("languages", languages, "", "languages to keep (ISO 639-1); an empty list keeps all that are sure");
    v("min_score", min_score, "probability", "keep above this");
    v("model", model, "path", "a fastText model such as lid.176.ftz; empty: CLD2, which is built in");
    v("newline", newline, "space|nothing",
      "what a newline becomes before the text is shown to a fastText model");
  }
};

struct GopherRepetitionOptions {
  bool enabled = true;
  bool python_lines = true;
  double max_dup_paragraphs = 0.30, max_dup_paragraph_chars = 0.20, max_dup_lines = 0.30,
         max_dup_line_chars = 0.20;
  std::vector<double> max_top_ngram_chars = {0.20, 0.18, 0.16};
  std::vector<double> max_dup_ngram_chars = {0.15, 0.14, 0.13, 0.12, 0.11, 0.10};
  template <class V>
  void visit_fields(V& v) {
    v("enabled", enabled, "", "Gopher's repetition rules (Rae et al. 2021, arXiv:2112.11446, table A1)");
    v("python_lines", python_lines, "", "true: every line counts; false: runs of newlines are one separator");
    v("max_dup_paragraphs", max_dup_paragraphs, "share of paragraphs", "paragraphs that were there before");
    v("max_dup_paragraph_chars", max_dup_paragraph_chars, "share of characters",
      "in paragraphs that were there before");
    v("max_dup_lines", max_dup_lines, "share of lines", "lines that were there before");
    v("max_dup_line_chars", max_dup_line_chars, "share of characters", "in lines that were there before");
    v("max_top_ngram_chars", max_top_ngram_chars, "share of characters",
      "in the most frequent 2-, 3-, 4-gram of words");
    v("max_dup_ngram_chars", max_dup_ngram_chars, "share of characters",
      "in 5- to 10-grams that were there before");
  }
};

struct GopherQualityOptions {
  bool enabled = true;
  int64_t min_words = 50, max_words = 100'000;
  double min_mean_word_chars = 3, max_mean_word_chars = 10;
  double max_symbols_per_word = 0.1, max_bullet_lines = 0.9, max_ellipsis_lines = 0.3, min_alpha_words = 0.8;
  int64_t min_stop_words = 2;
  bool distinct_stop_words = false;
  std::vector<std::string> stop_words = {"the", "be", "to", "of", "and", "that", "have", "with"};
  template <class V>
  void visit_fields(V& v) {
    v("enabled", enabled, "", "Gopher's quality rules (Rae et al. 2021, arXiv:2112.11446, A.1.1)");
    v("min_words", min_words, "words", "that are no bare punctuation");
    v("max_words", max_words, "words", "that are no bare punctuation");
    v("min_mean_word_chars", min_mean_word_chars, "characters", "mean length of those words");
    v("max_mean_word_chars", max_mean_word_chars, "characters", "mean length of those words");
    v("max_symbols_per_word", max_symbols_per_word, "per word", "hashes; ellipses");
    v("max_bullet_lines", max_bullet_lines, "share of lines", "that start with a bullet or hyphen");
    v("max_ellipsis_lines", max_ellipsis_lines, "share of lines", "that end in an ellipsis");
    v("min_alpha_words", min_alpha_words, "share of words", "that have a letter");
    v("min_stop_words", min_stop_words, "words", "of the stop words");
    v("distinct_stop_words", distinct_stop_words, "", "count each stop word once");
    v("stop_words", stop_words, "", "as they are written here, lower case");
  }
};

struct C4Options {
  bool enabled = true;
  bool require_terminal_punctuation = false;
  int64_t min_sentences = 5, min_words_per_line = 3, max_word_chars = 1000;
  template <class V>
  void visit_fields(V& v) {
    v("enabled", enabled, "",
      "C4's line and page rules (Raffel et al. 2020, arXiv:1910.10683, 2.2); they shorten the text");
    v("require_terminal_punctuation", require_terminal_punctuation, "",
      "drop lines without a mark at their end");
    v("min_sentences", min_sentences, "sentences", "in the lines that are kept; -1: no limit");
    v("min_words_per_line", min_words_per_line, "words", "shorter lines are dropped");
    v("max_word_chars", max_word_chars, "characters", "a line with a longer word is dropped");
  }
};

struct FinewebQualityOptions {
  bool enabled = true;
  double min_punctuated_lines = 0.12, max_short_lines = 0.67, max_dup_line_chars = 0.01,
         max_newlines_per_word = 0.3;
  int64_t short_line_chars = 30;
  bool unicode_marks = false, skip_empty_lines = false, drop_at_threshold = true;
  template <class V>
  void visit_fields(V& v) {
    v("enabled", enabled, "", "FineWeb's own rules (Penedo et al. 2024, arXiv:2406.17557, 3.5)");
    v("min_punctuated_lines", min_punctuated_lines, "share of lines", "that end in a terminal mark");
    v("max_short_lines", max_short_lines, "share of lines", "of at most short_line_chars");
    v("short_line_chars", short_line_chars, "characters", "what a short line is");
    v("max_dup_line_chars", max_dup_line_chars, "share of characters", "in lines that were there before");
    v("max_newlines_per_word", max_newlines_per_word, "per word", "newlines: lists");
    v("unicode_marks", unicode_marks, "", "terminal marks of all scripts, and no quotes; else . ' \" ! ?");
    v("skip_empty_lines", skip_empty_lines, "", "empty lines are not counted");
    v("drop_at_threshold", drop_at_threshold, "", "a value on the threshold drops (first three rules)");
  }
};

struct MinhashOptions {
  bool enabled = true;
  int64_t ngram = 5, bands = 14, hashes_per_band = 8, seed = 1;
  std::string hash = "sha1", normalisation = "2024";
  template <class V>
  void visit_fields(V& v) {
    v("enabled", enabled, "", "near-duplicates (Broder 1997); the first of a cluster in input order is kept");
    v("ngram", ngram, "words", "length of a shingle");
    v("bands", bands, "", "documents that agree in one band are duplicates");
    v("hashes_per_band", hashes_per_band, "", "minima that must all be equal in a band");
    v("seed", seed, "", "of the permutations");
    v("hash", hash, "sha1|xxh64", "of a shingle");
    v("normalisation", normalisation, "2024|0.10",
      "2024: punctuation is deleted, digits become 0 last; 0.10: punctuation becomes a space, numbers become "
      "0 first");
  }
};

struct PiiOptions {
  bool emails = true, ips = true, upper_case_emails = false;
  template <class V>
  void visit_fields(V& v) {
    v("emails", emails, "", "replace e-mail addresses");
    v("ips", ips, "", "replace public IPv4 addresses");
    v("upper_case_emails", upper_case_emails, "", "see addresses with capitals too");
  }
};

struct FilterOptions {
  std::string words = "nltk", dump;
  UrlOptions url;
  ExtractionOptions extraction;
  LanguageOptions language;
  GopherRepetitionOptions gopher_repetition;
  GopherQualityOptions gopher_quality;
  C4Options c4;
  FinewebQualityOptions fineweb_quality;
  MinhashOptions minhash;
  PiiOptions pii;

  template <class V>
  void visit_fields(V& v) {
    v("words", words, "nltk|spacy", "whose rules cut words and sentences");
    v("dump", dump, "", "name of the crawl, written into each document");
    v("url", url, "", "");
    v("extraction", extraction, "", "");
    v("language", language, "", "");
    v("gopher_repetition", gopher_repetition, "", "");
    v("gopher_quality", gopher_quality, "", "");
    v("c4", c4, "", "");
    v("fineweb_quality", fineweb_quality, "", "");
    v("minhash", minhash, "", "");
    v("pii", pii, "", "");
  }

  WordStyle word_style() const { return words == "spacy" ? WordStyle::kSpacy : WordStyle::kNltk; }
};

// "fineweb-2024" or "datatrove-0.10". Throws Error on another name.
FilterOptions named_recipe(std::string_view name);

// Throws Error where a choice is none of those listed or a number is out of its range.
void check_options(const FilterOptions& options);

}  // namespace tumbler::text
