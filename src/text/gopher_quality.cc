#include <algorithm>

#include "text/code_points.h"
#include "text/filters.h"

namespace tumbler::text {
namespace {

constexpr std::string_view kEllipsis = "\xe2\x80\xa6", kBullet = "\xe2\x80\xa2";

// Non-overlapping occurrences (str.count).
int64_t count_of(std::string_view text, std::string_view needle) {
  int64_t n = 0;
  for (size_t at = 0; (at = text.find(needle, at)) != std::string_view::npos; at += needle.size()) ++n;
  return n;
}

struct WordCounts {
  int64_t non_symbol = 0, non_symbol_chars = 0, alpha = 0;
};

WordCounts count_words(std::span<const Word> words) {
  WordCounts counts;
  for (const Word& word : words) {
    bool alpha = false, non_symbol = false;
    for (size_t i = 0; i < word.text.size() && !(alpha && non_symbol);) {
      const uint8_t classes = classes_of(next_code_point(word.text, i));
      alpha |= (classes & kAlpha) != 0;
      // PUNCTUATION and the terminal marks of all scripts are symbols.
      non_symbol |= (classes & (kPunctuation | kTerminal)) == 0;
    }
    counts.alpha += alpha ? 1 : 0;
    counts.non_symbol += non_symbol ? 1 : 0;
    counts.non_symbol_chars += non_symbol ? word.chars : 0;
  }
  return counts;
}

struct LineCounts {
  int64_t lines = 0, bullets = 0, ellipses = 0;
};

LineCounts count_lines(std::string_view text) {
  LineCounts counts;
  for_each_line(text, [&](std::string_view line) {
    ++counts.lines;
    const std::string_view left = strip_left(line), right = strip_right(line);
    counts.bullets += left.starts_with('-') || left.starts_with(kBullet) ? 1 : 0;
    counts.ellipses += right.ends_with("...") || right.ends_with(kEllipsis) ? 1 : 0;
  });
  return counts;
}

int64_t count_stop_words(std::span<const Word> words, const GopherQualityOptions& o) {
  std::vector<bool> seen(o.stop_words.size());
  int64_t n = 0;
  for (const Word& word : words) {
    const auto at = std::find(o.stop_words.begin(), o.stop_words.end(), word.text);
    if (at == o.stop_words.end()) continue;
    const auto index = static_cast<size_t>(at - o.stop_words.begin());
    n += o.distinct_stop_words && seen[index] ? 0 : 1;
    seen[index] = true;
  }
  return n;
}

double per(int64_t part, int64_t whole) {
  return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

std::optional<Reason> check_gopher_quality(std::string_view text, std::span<const Word> words,
                                           const GopherQualityOptions& o, Trace* trace) {
  detail::Rules rules(trace);
  const WordCounts counts = count_words(words);
  const auto n_words = static_cast<int64_t>(words.size());
  const double mean = per(counts.non_symbol_chars, counts.non_symbol);
  if (rules.below("gopher_short_doc", static_cast<double>(counts.non_symbol),
                  static_cast<double>(o.min_words)) ||
      rules.above("gopher_long_doc", static_cast<double>(counts.non_symbol),
                  static_cast<double>(o.max_words)) ||
      rules.below("gopher_below_avg_threshold", mean, o.min_mean_word_chars) ||
      rules.above("gopher_above_avg_threshold", mean, o.max_mean_word_chars) ||
      rules.above("gopher_too_many_hashes", per(std::count(text.begin(), text.end(), '#'), n_words),
                  o.max_symbols_per_word) ||
      rules.above("gopher_too_many_ellipsis", per(count_of(text, "...") + count_of(text, kEllipsis), n_words),
                  o.max_symbols_per_word))
    return std::move(rules).reason();
  const LineCounts lines = count_lines(text);
  if (rules.above("gopher_too_many_bullets", per(lines.bullets, lines.lines), o.max_bullet_lines) ||
      rules.above("gopher_too_many_end_ellipsis", per(lines.ellipses, lines.lines), o.max_ellipsis_lines) ||
      rules.below("gopher_below_alpha_threshold", per(counts.alpha, n_words), o.min_alpha_words))
    return std::move(rules).reason();
  rules.below("gopher_enough_stop_words", static_cast<double>(count_stop_words(words, o)),
              static_cast<double>(o.min_stop_words));
  return std::move(rules).reason();
}

}  // namespace tumbler::text
