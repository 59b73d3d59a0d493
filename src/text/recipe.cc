#include "text/recipe.h"

#include <initializer_list>

#include "base/error.h"

namespace tumbler::text {
namespace {

void check_choice(std::string_view field, std::string_view got,
                  std::initializer_list<std::string_view> choices) {
  for (const std::string_view choice : choices)
    if (got == choice) return;
  throw Error("data options", "{}: got '{}', expected one of {}", field, got, fmt::join(choices, ", "));
}

void check_range(std::string_view field, int64_t got, int64_t low, int64_t high) {
  if (got < low || got > high)
    throw Error("data options", "{}: got {}, expected {} to {}", field, got, low, high);
}

}  // namespace

FilterOptions named_recipe(std::string_view name) {
  FilterOptions options;
  options.language.newline = "nothing";
  if (name == "fineweb-2024") return options;
  if (name != "datatrove-0.10")
    throw Error("--recipe", "got '{}', expected fineweb-2024 or datatrove-0.10", name);
  options.words = "spacy";
  options.language.newline = "space";
  options.gopher_repetition.python_lines = false;
  options.gopher_quality.distinct_stop_words = true;
  options.fineweb_quality.unicode_marks = true;
  options.fineweb_quality.skip_empty_lines = true;
  options.fineweb_quality.drop_at_threshold = false;
  options.minhash.normalisation = "0.10";
  options.pii.upper_case_emails = true;
  return options;
}

void check_options(const FilterOptions& o) {
  check_choice("words", o.words, {"nltk", "spacy"});
  check_choice("language.newline", o.language.newline, {"space", "nothing"});
  check_choice("minhash.hash", o.minhash.hash, {"sha1", "xxh64"});
  check_choice("minhash.normalisation", o.minhash.normalisation, {"2024", "0.10"});
  check_range("minhash.ngram", o.minhash.ngram, 1, 64);
  check_range("minhash.bands", o.minhash.bands, 1, 256);
  check_range("minhash.hashes_per_band", o.minhash.hashes_per_band, 1, 256);
  check_range("minhash.seed", o.minhash.seed, 0, 0xffffffff);
  check_range("extraction.max_page_bytes", o.extraction.max_page_bytes, 1, int64_t{1} << 30);
  check_range("extraction.max_nodes", o.extraction.max_nodes, 1, int64_t{1} << 31);
  check_range("extraction.max_text_chars", o.extraction.max_text_chars, 1, int64_t{1} << 30);
  check_range("gopher_repetition.max_top_ngram_chars (number of values)",
              static_cast<int64_t>(o.gopher_repetition.max_top_ngram_chars.size()), 0, 3);
  check_range("gopher_repetition.max_dup_ngram_chars (number of values)",
              static_cast<int64_t>(o.gopher_repetition.max_dup_ngram_chars.size()), 0, 6);
}

}  // namespace tumbler::text
