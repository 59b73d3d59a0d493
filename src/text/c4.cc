#include <algorithm>

#include "text/code_points.h"
#include "text/filters.h"

namespace tumbler::text {
namespace {

// Does `text` hold `needle` (lower case ASCII) in any case?
bool contains_fold(std::string_view text, std::string_view needle) {
  const char lower = needle[0], upper = static_cast<char>(needle[0] - 32);
  for (size_t i = 0; i + needle.size() <= text.size(); ++i) {
    if (text[i] != lower && text[i] != upper) continue;
    size_t k = 1;
    while (k < needle.size() &&
           ((text[i + k] >= 'A' && text[i + k] <= 'Z') ? text[i + k] + 32 : text[i + k]) == needle[k])
      ++k;
    if (k == needle.size()) return true;
  }
  return false;
}

// Bytes of a citation at text[i] ("[12]", "[]", "[edit]", "[citation needed]"), or 0.
size_t citation_bytes(std::string_view text, size_t i) {
  const std::string_view rest = text.substr(i);
  for (const std::string_view mark : {"[edit]", "[citation needed]"})
    if (rest.starts_with(mark)) return mark.size();
  size_t end = 1;
  while (end < rest.size()) {
    size_t next = end;
    if ((classes_of(next_code_point(rest, next)) & kDigit) == 0) break;
    end = next;
  }
  return end < rest.size() && rest[end] == ']' ? end + 1 : 0;
}

// The line without citations: a view of itself where there are none, of `buffer` otherwise.
std::string_view without_citations(std::string_view line, std::string& buffer) {
  size_t at = line.find('[');
  if (at == std::string_view::npos) return line;
  buffer.clear();
  size_t begin = 0;
  for (; at != std::string_view::npos; at = line.find('[', at)) {
    const size_t n = citation_bytes(line, at);
    if (n > 0) buffer.append(line.substr(begin, at - begin));
    begin = n > 0 ? at + n : begin;
    at += std::max<size_t>(n, 1);
  }
  buffer.append(line.substr(begin));
  return buffer;
}

bool has_policy_phrase(std::string_view line) {
  for (const std::string_view phrase :
       {"terms of use", "privacy policy", "cookie policy", "uses cookies", "use of cookies", "use cookies"})
    if (contains_fold(line, phrase)) return true;
  return false;
}

enum class LineVerdict { kKeep, kDropLine, kLoremIpsum, kCurlyBracket };

LineVerdict judge(std::string_view line, int64_t words, const C4Options& o) {
  if (o.require_terminal_punctuation) {
    const bool ends = !line.empty() && std::string_view(".?!\"'").find(line.back()) != std::string_view::npos;
    if (!ends || line.ends_with("...")) return LineVerdict::kDropLine;
  }
  if (words < o.min_words_per_line) return LineVerdict::kDropLine;
  if (contains_fold(line, "lorem ipsum")) return LineVerdict::kLoremIpsum;
  if (contains_fold(line, "javascript")) return LineVerdict::kDropLine;
  if (line.find('{') != std::string_view::npos) return LineVerdict::kCurlyBracket;
  return has_policy_phrase(line) ? LineVerdict::kDropLine : LineVerdict::kKeep;
}

}  // namespace

std::optional<Reason> apply_c4(std::string& text, WordStyle style, const C4Options& o, Trace* trace) {
  detail::Rules rules(trace);
  std::string kept, buffer;
  kept.reserve(text.size());
  int64_t sentences = 0, lorem = 0, curly = 0;
  bool stop = false;
  for_each_line(text, [&](std::string_view raw) {
    if (stop) return;
    const std::string_view line = strip(raw);
    int64_t words = 0;
    bool too_long = false;
    for_each_run(line, [&](std::string_view word) {
      ++words;
      too_long |=
          static_cast<int64_t>(word.size()) > o.max_word_chars && count_code_points(word) > o.max_word_chars;
    });
    if (too_long && o.max_word_chars >= 0) return;
    const std::string_view clean = without_citations(line, buffer);
    const LineVerdict verdict = judge(clean, words, o);
    lorem += verdict == LineVerdict::kLoremIpsum ? 1 : 0;
    curly += verdict == LineVerdict::kCurlyBracket ? 1 : 0;
    stop = (lorem > 0 || curly > 0) && trace == nullptr;
    if (verdict != LineVerdict::kKeep) return;
    if (o.min_sentences >= 0) sentences += count_sentences(clean, style);
    if (!kept.empty()) kept += '\n';
    kept += clean;
  });
  // The first line that condemns the page names the reason.
  if (lorem > 0 && rules.above("lorem_ipsum", static_cast<double>(lorem), 0))
    return std::move(rules).reason();
  if (curly > 0 && rules.above("curly_bracket", static_cast<double>(curly), 0))
    return std::move(rules).reason();
  if (o.min_sentences >= 0)
    rules.below("too_few_sentences", static_cast<double>(sentences), static_cast<double>(o.min_sentences));
  std::optional<Reason> reason = std::move(rules).reason();
  if (!reason) text = std::string(strip(kept));
  return reason;
}

}  // namespace tumbler::text
