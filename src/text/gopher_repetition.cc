#include <algorithm>

#include <xxhash.h>

#include "text/code_points.h"
#include "text/filters.h"

namespace tumbler::text {
namespace {

// Pieces between runs of at least `newlines` newlines (re.split).
template <class Visit>
void for_each_block(std::string_view text, size_t newlines, Visit&& visit) {
  size_t begin = 0, i = 0;
  while ((i = text.find('\n', i)) != std::string_view::npos) {
    size_t end = i;
    while (end < text.size() && text[end] == '\n') ++end;
    if (end - i >= newlines) {
      visit(text.substr(begin, i - begin));
      begin = end;
    }
    i = end;
  }
  visit(text.substr(begin));
}

// Hashes of the n-grams that start at each word, built from those of n-1. Two n-grams are the same where
// their words are.
void extend_ngrams(FilterScratch& s, std::span<const Word> words, size_t n) {
  const size_t count = words.size() - n + 1;
  s.ngram_hashes.resize(count);
  s.ngram_chars.resize(count);
  for (size_t i = 0; i < count; ++i) {
    const uint64_t mixed = (s.ngram_hashes[i] ^ (s.ngram_hashes[i] >> 32)) * 0x9e3779b97f4a7c15ull;
    s.ngram_hashes[i] = mixed + s.word_hashes[i + n - 1];
    s.ngram_chars[i] += words[i + n - 1].chars;
  }
}

// Characters of the most frequent n-gram's occurrences; of equally frequent ones, the first.
int64_t top_ngram_chars(FilterScratch& s, size_t n) {
  s.clear_table(s.ngram_hashes.size());
  for (size_t i = 0; i < s.ngram_hashes.size(); ++i) {
    FilterScratch::Slot& slot = s.slot(s.ngram_hashes[i]);
    if (slot.count++ == 0) slot.first = static_cast<uint32_t>(i);
  }
  FilterScratch::Slot best;
  for (const FilterScratch::Slot& slot : s.slots())
    if (slot.count > best.count || (slot.count == best.count && slot.first < best.first)) best = slot;
  return (s.ngram_chars[best.first] + static_cast<int64_t>(n) - 1) * best.count;
}

// Characters of n-grams that were there before; the words of one that is counted are skipped.
int64_t duplicate_ngram_chars(FilterScratch& s, size_t n) {
  s.clear_table(s.ngram_hashes.size());
  int64_t chars = 0;
  for (size_t i = 0; i < s.ngram_hashes.size();) {
    FilterScratch::Slot& slot = s.slot(s.ngram_hashes[i]);
    const bool seen = slot.count++ > 0;
    chars += seen ? s.ngram_chars[i] : 0;
    i += seen ? n : 1;
  }
  return chars;
}

void start_ngrams(FilterScratch& s, std::span<const Word> words) {
  s.word_hashes.resize(words.size());
  s.ngram_chars.resize(words.size());
  for (size_t i = 0; i < words.size(); ++i) {
    s.word_hashes[i] = XXH3_64bits(words[i].text.data(), words[i].text.size());
    s.ngram_chars[i] = words[i].chars;
  }
  s.ngram_hashes = s.word_hashes;
}

double share(int64_t part, int64_t whole) {
  return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

bool check_blocks(std::string_view text, int64_t chars, const GopherRepetitionOptions& o,
                  FilterScratch& scratch, detail::Rules& rules) {
  const size_t newlines = static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
  detail::Duplicates paragraphs(scratch, newlines + 1);
  for_each_block(strip(text), 2, [&](std::string_view block) { paragraphs.add(block); });
  if (rules.above("dup_para_frac", share(paragraphs.duplicates, paragraphs.elements), o.max_dup_paragraphs))
    return true;
  if (rules.above("dup_para_char_frac", share(paragraphs.duplicate_chars, chars), o.max_dup_paragraph_chars))
    return true;

  size_t most_lines = newlines + 1;
  if (o.python_lines) for_each_line(text, [&](std::string_view) { ++most_lines; });
  detail::Duplicates lines(scratch, most_lines);
  if (o.python_lines)
    for_each_line(text, [&](std::string_view line) { lines.add(line); });
  else
    for_each_block(text, 1, [&](std::string_view line) { lines.add(line); });
  if (rules.above("dup_line_frac", share(lines.duplicates, lines.elements), o.max_dup_lines)) return true;
  return rules.above("dup_line_char_frac", share(lines.duplicate_chars, chars), o.max_dup_line_chars);
}

}  // namespace

std::optional<Reason> check_gopher_repetition(std::string_view text, std::span<const Word> words,
                                              const GopherRepetitionOptions& o, FilterScratch& scratch,
                                              Trace* trace) {
  detail::Rules rules(trace);
  const int64_t chars = count_code_points(text);
  if (check_blocks(text, chars, o, scratch, rules)) return std::move(rules).reason();
  start_ngrams(scratch, words);
  for (size_t n = 2; n <= 10 && n <= words.size(); ++n) {
    extend_ngrams(scratch, words, n);
    if (n <= 4) {
      if (n - 2 >= o.max_top_ngram_chars.size()) continue;
      const double top = share(top_ngram_chars(scratch, n), chars);
      if (rules.above(fmt::format("top_{}_gram", n), top, o.max_top_ngram_chars[n - 2])) break;
    } else {
      if (n - 5 >= o.max_dup_ngram_chars.size()) continue;
      const double repeated = share(duplicate_ngram_chars(scratch, n), chars);
      if (rules.above(fmt::format("duplicated_{}_n_grams", n), repeated, o.max_dup_ngram_chars[n - 5])) break;
    }
  }
  return std::move(rules).reason();
}

}  // namespace tumbler::text
