// Document lines from outside: parsed or refused, and what is parsed survives a round trip. The text also
// goes through every filter.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "text/document.h"
#include "text/filters.h"
#include "text/minhash.h"
#include "text/pii.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tumbler::text;
  const std::string_view line(reinterpret_cast<const char*>(data), size);
  if (auto document = from_json_line(line)) {
    const auto again = from_json_line(to_json_line(*document));
    if (!again.ok()) std::abort();
  }
  static const FilterOptions recipes[] = {named_recipe("fineweb-2024"), named_recipe("datatrove-0.10")};
  static Minhash hashes[] = {Minhash(recipes[0].minhash, recipes[0].word_style()),
                             Minhash(recipes[1].minhash, recipes[1].word_style())};
  static const PiiReplacer pii(recipes[0].pii);
  for (const size_t i : {0, 1}) {
    const FilterOptions& options = recipes[i];
    FilterScratch scratch;
    std::vector<Word> words;
    split_words(line, options.word_style(), words);
    (void)check_gopher_repetition(line, words, options.gopher_repetition, scratch);
    (void)check_gopher_quality(line, words, options.gopher_quality);
    (void)check_fineweb_quality(line, words, options.fineweb_quality, scratch);
    std::string text(line);
    (void)apply_c4(text, options.word_style(), options.c4);
    (void)hashes[i].band_keys(line);
    pii.replace(text, "id");
  }
  return 0;
}
