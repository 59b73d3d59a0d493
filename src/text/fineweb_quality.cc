#include <algorithm>

#include "text/code_points.h"
#include "text/filters.h"

namespace tumbler::text {
namespace {

bool ends_with_mark(std::string_view line, bool unicode_marks) {
  if (line.empty()) return false;
  if (!unicode_marks) return std::string_view(".'\"!?").find(line.back()) != std::string_view::npos;
  size_t start = 0;
  return (classes_of(last_code_point(line, start)) & kTerminal) != 0;
}

}  // namespace

std::optional<Reason> check_fineweb_quality(std::string_view text, std::span<const Word> words,
                                            const FinewebQualityOptions& o, FilterScratch& scratch,
                                            Trace* trace) {
  detail::Rules rules(trace);
  const auto newlines = static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
  detail::Duplicates duplicates(scratch, newlines + 1);
  int64_t lines = 0, punctuated = 0, short_lines = 0;
  for_each_piece(text, '\n', [&](std::string_view line) {
    const bool empty = strip(line).empty();
    if (!empty) duplicates.add(line);
    if (empty && o.skip_empty_lines) return;
    ++lines;
    punctuated += ends_with_mark(line, o.unicode_marks) ? 1 : 0;
    short_lines += static_cast<int64_t>(line.size()) <= o.short_line_chars ||
                           count_code_points(line) <= o.short_line_chars
                       ? 1
                       : 0;
  });
  if (lines == 0) return Reason{"empty", "no line with text"};
  const auto n = static_cast<double>(lines);
  const auto chars = static_cast<double>(count_code_points(text) - static_cast<int64_t>(newlines));
  const double marked = static_cast<double>(punctuated) / n, brief = static_cast<double>(short_lines) / n;
  const double repeated = chars > 0 ? static_cast<double>(duplicates.duplicate_chars) / chars : 0.0;
  if (o.drop_at_threshold ? rules.at_most("line_punct_ratio", marked, o.min_punctuated_lines)
                          : rules.below("line_punct_ratio", marked, o.min_punctuated_lines))
    return std::move(rules).reason();
  if (o.drop_at_threshold ? rules.at_least("short_line_ratio", brief, o.max_short_lines)
                          : rules.above("short_line_ratio", brief, o.max_short_lines))
    return std::move(rules).reason();
  if (o.drop_at_threshold ? rules.at_least("char_dup_ratio", repeated, o.max_dup_line_chars)
                          : rules.above("char_dup_ratio", repeated, o.max_dup_line_chars))
    return std::move(rules).reason();
  rules.above("list_ratio",
              static_cast<double>(newlines) / static_cast<double>(std::max<size_t>(words.size(), 1)),
              o.max_newlines_per_word);
  return std::move(rules).reason();
}

}  // namespace tumbler::text
