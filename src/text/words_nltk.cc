// The Treebank word rules, one run of non-space characters at a time.
#include <array>

#include "text/code_points.h"
#include "text/words.h"

namespace tumbler::text {
namespace {

enum Kind : uint8_t { kPlain, kSingle, kPeriod, kColon, kDouble, kQuote, kBacktick, kDash, kWide };

// What each byte may start. kWide: a byte of a multi-byte character that may be a quote or dash (E2, C2).
constexpr std::array<Kind, 256> kKinds = [] {
  std::array<Kind, 256> table{};
  for (const char c : {';', '@', '#', '$', '%', '&', '?', '!', '*', '[', ']', '(', ')', '{', '}', '<', '>'})
    table[static_cast<unsigned char>(c)] = kSingle;
  table['.'] = kPeriod;
  table[':'] = table[','] = kColon;
  table['"'] = kDouble;
  table['\''] = kQuote;
  table['`'] = kBacktick;
  table['-'] = kDash;
  table[0xe2] = table[0xc2] = kWide;
  return table;
}();

bool is_letter(unsigned char c) {
  return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}
bool is_word(unsigned char c) {
  return c >= 0x80 || is_letter(c) || (c >= '0' && c <= '9') || c == '_';
}
bool is_open(unsigned char c) {
  return c == '(' || c == '[' || c == '{' || c == '<';
}

// «»“”„‘’: bytes of the mark at text[i], or 0.
size_t mark_bytes(std::string_view text, size_t i) {
  const std::string_view rest = text.substr(i, 3);
  if (rest.starts_with("\xc2\xab") || rest.starts_with("\xc2\xbb")) return 2;
  if (rest.size() < 3 || rest[0] != '\xe2' || rest[1] != '\x80') return 0;
  const auto last = static_cast<unsigned char>(rest[2]);
  const bool mark = last == 0x98 || last == 0x99 || (last >= 0x9c && last <= 0x9e);
  return mark ? 3 : 0;
}

bool equals_fold(std::string_view a, std::string_view lower) {
  if (a.size() != lower.size()) return false;
  for (size_t i = 0; i < a.size(); ++i)
    if ((is_letter(static_cast<unsigned char>(a[i])) ? a[i] | 0x20 : a[i]) != lower[i]) return false;
  return true;
}

// One run of non-space characters at a time: `run_` with `last_` telling whether a sentence ends with it.
class Splitter {
 public:
  explicit Splitter(std::vector<Word>& out) : out_(out) {}

  // A double quote in front opens where the sentence starts with it or a blank is before it.
  void split(std::string_view run, bool opens, bool sentence_end) {
    opens_ = opens;
    run_ = run;
    begin_ = 0;
    const size_t final_period = sentence_end ? find_final_period(run) : std::string_view::npos;
    for (size_t i = 0; i < run.size();) i = step(i, final_period);
    flush(run.size());
  }

 private:
  // The period that ends the sentence: last, but for closing brackets and quotes, and not after another
  // period.
  static size_t find_final_period(std::string_view run) {
    size_t end = run.size();
    while (end > 0) {
      const char c = run[end - 1];
      if (c == ']' || c == ')' || c == '}' || c == '>' || c == '"' || c == '\'')
        --end;
      else if (end >= 3 && mark_bytes(run, end - 3) == 3)
        end -= 3;
      else if (end >= 2 && run.substr(end - 2, 2) == "\xc2\xbb")
        end -= 2;
      else
        break;
    }
    if (end < 2 || run[end - 1] != '.' || run[end - 2] == '.') return std::string_view::npos;
    return end - 1;
  }

  size_t step(size_t i, size_t final_period) {
    const auto c = static_cast<unsigned char>(run_[i]);
    switch (kKinds[c]) {
      case kPlain:
        return i + 1;
      case kSingle:
        return emit(i, i + 1);
      case kWide: {
        const size_t size = mark_bytes(run_, i);
        return size == 0 ? i + 1 : emit(i, i + size);
      }
      case kBacktick:
        return emit(i, same_run(i, '`'));
      case kDash:
        return i + 1 < run_.size() && run_[i + 1] == '-' ? emit(i, i + 2) : i + 1;
      case kColon:
        return colon(i);
      case kPeriod: {
        const size_t end = same_run(i, '.');
        if (end - i >= 2) return emit(i, end);
        return i == final_period ? emit(i, end) : end;
      }
      case kDouble:
        return quotes(i, i + 1);
      case kQuote:
        return quote(i);
    }
    return i + 1;
  }

  size_t same_run(size_t i, char c) const {
    while (i < run_.size() && run_[i] == c) ++i;
    return i;
  }

  // A colon or comma stands alone unless a digit follows; the rule takes the next character with it, so that
  // a second mark right behind the first stays with what follows.
  size_t colon(size_t i) {
    if (i + 1 < run_.size() && run_[i + 1] >= '0' && run_[i + 1] <= '9') return i + 1;
    emit(i, i + 1);
    const bool again = i + 1 < run_.size() && kKinds[static_cast<unsigned char>(run_[i + 1])] == kColon;
    return again ? i + 2 : i + 1;
  }

  size_t quotes(size_t i, size_t end) {
    flush(i);
    const bool opens = i == 0 ? opens_ : is_open(static_cast<unsigned char>(run_[i - 1]));
    push(opens ? "``" : "''", 2);
    begin_ = end;
    return end;
  }

  size_t quote(size_t i) {
    if (i + 1 < run_.size() && run_[i + 1] == '\'') return quotes(i, i + 2);
    // A quote before a lone letter that is no clitic ("'n" is, "'a" is not) is parted from it.
    const bool lone = i + 1 < run_.size() && is_word(static_cast<unsigned char>(run_[i + 1])) &&
                      (i + 2 == run_.size() || !is_word(static_cast<unsigned char>(run_[i + 2])));
    if (lone && std::string_view("mMtTsSdDnN").find(run_[i + 1]) == std::string_view::npos) flush(i + 1);
    return i + 1;
  }

  size_t emit(size_t from, size_t to) {
    flush(from);
    const std::string_view piece = run_.substr(from, to - from);
    push(piece, static_cast<uint32_t>(count_code_points(piece)));
    begin_ = to;
    return to;
  }

  void push(std::string_view word, uint32_t chars) { out_.push_back({word, chars}); }
  void push(std::string_view word) { push(word, static_cast<uint32_t>(count_code_points(word))); }

  // Ends the word that began at begin_: takes its clitic off, and parts the handful of words that the rules
  // part.
  void flush(size_t end) {
    if (begin_ >= end) return;
    std::string_view word = run_.substr(begin_, end - begin_);
    begin_ = end;
    std::string_view tail;
    const size_t n = word.size();
    if (n > 1 && word[n - 1] == '\'')
      tail = word.substr(n - 1);
    else if (n > 2 && word[n - 2] == '\'' &&
             std::string_view("sSmMdD").find(word[n - 1]) != std::string_view::npos)
      tail = word.substr(n - 2);
    else if (n > 3 && is_clitic(word.substr(n - 3)))
      tail = word.substr(n - 3);
    if (!tail.empty()) word.remove_suffix(tail.size());
    part(word);
    if (!tail.empty()) push(tail);
  }

  static bool is_clitic(std::string_view s) {
    for (const std::string_view clitic : {"'ll", "'LL", "'re", "'RE", "'ve", "'VE", "n't", "N'T"})
      if (s == clitic) return true;
    return false;
  }

  // can|not, gim|me, gon|na, got|ta, lem|me, wan|na, 't|is, 't|was.
  void part(std::string_view word) {
    size_t at = 0;
    const char last = word.empty() ? ' ' : static_cast<char>(word.back() | 0x20);
    if (word.size() == 6 && last == 't' && equals_fold(word, "cannot"))
      at = 3;
    else if (word.size() == 5 && (last == 'a' || last == 'e') &&
             (equals_fold(word, "gimme") || equals_fold(word, "gonna") || equals_fold(word, "gotta") ||
              equals_fold(word, "lemme") || equals_fold(word, "wanna")))
      at = 3;
    else if (word.size() >= 4 && word[0] == '\'' && (equals_fold(word, "'tis") || equals_fold(word, "'twas")))
      at = 2;
    if (at > 0) push(word.substr(0, at));
    push(word.substr(at));
  }

  std::vector<Word>& out_;
  std::string_view run_;
  bool opens_ = true;
  size_t begin_ = 0;  // of the word that is being read
};

// Closing marks that may stand between a sentence's last mark and the space behind it.
std::string_view without_closers(std::string_view run) {
  while (!run.empty()) {
    const char c = run.back();
    if (c == ')' || c == '"' || c == '\'' || c == ']' || c == '}' || c == ';' || c == ':' || c == '*' ||
        c == '@')
      run.remove_suffix(1);
    else
      break;
  }
  return run;
}

// Whether a sentence ends with this run, the next run being `next`.
bool ends_sentence(std::string_view run, std::string_view next) {
  const std::string_view core = without_closers(run);
  if (core.empty()) return false;
  const char c = core.back();
  if (c == '?' || c == '!') return true;
  if (c != '.') return false;
  if (core.size() >= 2 && core[core.size() - 2] == '.') return false;  // an ellipsis
  return detail::period_ends_sentence(core, next);
}

template <class Visit>
void for_each_run_with_next(std::string_view text, Visit&& visit) {
  std::string_view before;
  for_each_run(text, [&](std::string_view run) {
    if (!before.empty()) visit(before, run);
    before = run;
  });
  if (!before.empty()) visit(before, std::string_view());
}

}  // namespace

void detail::split_words_nltk(std::string_view text, std::vector<Word>& out) {
  Splitter splitter(out);
  bool starts = true;
  for_each_run_with_next(text, [&](std::string_view run, std::string_view next) {
    const bool after_blank = run.data() > text.data() && run.data()[-1] == ' ';
    const bool ends = next.empty() || ends_sentence(run, next);
    splitter.split(run, starts || after_blank, ends);
    starts = ends;
  });
}

int64_t detail::count_sentences_nltk(std::string_view line) {
  int64_t sentences = 0;
  bool open = false;
  for_each_run_with_next(line, [&](std::string_view run, std::string_view next) {
    open = !ends_sentence(run, next);
    sentences += open ? 0 : 1;
  });
  return sentences + (open ? 1 : 0);
}

}  // namespace tumbler::text
