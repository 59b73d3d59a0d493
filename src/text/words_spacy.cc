// spaCy's blank English rules: strip prefixes and suffixes of a run of non-space characters, then cut it at
// infixes.
#include <algorithm>
#include <array>
#include <string>

#include <unicode/uchar.h>

#include "text/code_points.h"
#include "text/words.h"

namespace tumbler::text {
namespace {

// Marks that are cut off on both sides, beyond ASCII: punctuation, quotes, dashes and currency.
constexpr char32_t kMarks[] = {0xa1,   0xa7,   0xab,   0xb4,   0xb7,   0xbb,   0xbf,   0x60c,  0x61b,
                               0x61f,  0x66a,  0x6d4,  0x964,  0x2013, 0x2014, 0x2018, 0x2019, 0x201a,
                               0x201c, 0x201d, 0x201e, 0x2026, 0x3001, 0x3002, 0x3008, 0x3009, 0x300a,
                               0x300b, 0x300c, 0x300d, 0x300e, 0x300f, 0x3010, 0x3011, 0x3014, 0x3015,
                               0xff01, 0xff08, 0xff09, 0xff0c, 0xff1a, 0xff1b, 0xff1f, 0xff5e};

bool is_mark(char32_t c) {
  if (c < 0x80)
    return c != 0 &&
           std::string_view(",:;!?()[]{}<>_#*&'\"`").find(static_cast<char>(c)) != std::string_view::npos;
  if (std::binary_search(std::begin(kMarks), std::end(kMarks), c)) return true;
  return u_charType(static_cast<UChar32>(c)) == U_OTHER_SYMBOL;
}

bool is_currency(char32_t c) {
  return c == '$' || (c >= 0x80 && u_charType(static_cast<UChar32>(c)) == U_CURRENCY_SYMBOL);
}
bool is_prefix(char32_t c) {
  return is_mark(c) || is_currency(c) || c == '%' || c == '=';
}
bool is_letter(char32_t c) {
  return (classes_of(c) & kAlpha) != 0;
}
bool is_digit(char32_t c) {
  return c >= '0' && c <= '9';
}

// Whole words with a period or a mark inside.
bool is_exception(std::string_view s) {
  static constexpr auto kWords = std::to_array<std::string_view>(
      {"'Cause", "'bout",   "'cause", "'re",     "'s",    "Adm.",  "Ala.",   "Apr.", "Ariz.",   "Ark.",
       "Aug.",   "Bros.",   "Calif.", "Co.",     "Colo.", "Conn.", "Corp.",  "D.C.", "Dec.",    "Del.",
       "Dr.",    "E.g.",    "Feb.",   "Fla.",    "Ga.",   "Gen.",  "Gov.",   "I.e.", "Ill.",    "Inc.",
       "Ind.",   "Jan.",    "Jr.",    "Jul.",    "Jun.",  "Kan.",  "Ky.",    "La.",  "Ltd.",    "Ma'am",
       "Mar.",   "Mass.",   "Md.",    "Messrs.", "Mich.", "Minn.", "Miss.",  "Mo.",  "Mont.",   "Mr.",
       "Mrs.",   "Ms.",     "Mt.",    "N.C.",    "N.J.",  "N.Y.",  "Nev.",   "Nov.", "O'clock", "Oct.",
       "Okla.",  "Ore.",    "Pa.",    "Ph.D.",   "Prof.", "Rep.",  "Rev.",   "Sen.", "Sep.",    "Sept.",
       "St.",    "Tenn.",   "Va.",    "Wash.",   "Wis.",  "a.m.",  "and/or", "co.",  "e.g.",    "i.e.",
       "ma'am",  "o'clock", "p.m.",   "v.s.",    "vs.",   "w/o"});
  if (s.size() == 2 && s[1] == '.' && s[0] >= 'a' && s[0] <= 'z') return true;
  return std::binary_search(kWords.begin(), kWords.end(), s);
}

// Of don't, I'm, they'll…: bytes of the part that is cut off the end, or 0.
size_t contraction_bytes(std::string_view s) {
  const auto at = s.find('\'');
  const size_t curly = at == std::string_view::npos ? s.find("\xe2\x80\x99") : std::string_view::npos;
  const size_t mark = at != std::string_view::npos ? at : curly;
  if (mark == std::string_view::npos || mark == 0) return 0;
  std::string_view tail = s.substr(mark + (at != std::string_view::npos ? 1 : 3));
  if (tail == "t" && mark >= 2 && (s[mark - 1] | 0x20) == 'n') return s.size() - mark + 1;
  if (tail == "m" || tail == "ll" || tail == "ve" || tail == "re" || tail == "d" || tail == "s")
    return s.size() - mark;
  return 0;
}

class Splitter {
 public:
  explicit Splitter(std::vector<Word>& out) : out_(out) {}

  void split(std::string_view s) {
    suffixes_.clear();
    for (size_t before = s.size() + 1; !s.empty() && s.size() < before;) {
      before = s.size();
      if (is_exception(s)) break;
      if (const size_t n = prefix_bytes(s); n > 0) {
        push(s.substr(0, n));
        s.remove_prefix(n);
        if (s.empty() || is_exception(s)) break;
      }
      if (const size_t n = suffix_bytes(s); n > 0 && n < s.size() + 1) {
        suffixes_.push_back(s.substr(s.size() - n));
        s.remove_suffix(n);
      }
    }
    if (!s.empty()) is_exception(s) || is_url(s) ? push(s) : infixes(s);
    for (auto it = suffixes_.rbegin(); it != suffixes_.rend(); ++it) push(*it);
  }

 private:
  static bool is_url(std::string_view s) {
    if (s.starts_with("http://") || s.starts_with("https://") || s.starts_with("www.") ||
        s.starts_with("ftp://"))
      return true;
    const size_t at = s.find('@');
    return at != std::string_view::npos && at > 0 && s.find('.', at) != std::string_view::npos;
  }

  static size_t prefix_bytes(std::string_view s) {
    if (s.starts_with("..")) return std::min(s.find_first_not_of('.'), s.size());
    size_t i = 0;
    const char32_t c = next_code_point(s, i);
    if (c == '+') return s.size() > 1 && is_digit(static_cast<unsigned char>(s[1])) ? 0 : 1;
    return is_prefix(c) ? i : 0;
  }

  static size_t suffix_bytes(std::string_view s) {
    for (const std::string_view tail : {"'s", "'S", "\xe2\x80\x99s", "\xe2\x80\x99S"})
      if (s.size() > tail.size() && s.ends_with(tail)) return tail.size();
    size_t start = 0;
    const char32_t c = last_code_point(s, start);
    if (is_mark(c)) return s.size() - start;
    size_t before = 0;
    const char32_t previous = start > 0 ? last_code_point(s.substr(0, start), before) : 0;
    if (c == '.') return period_bytes(s.substr(0, start), previous);
    if (is_digit(previous) && (c == '+' || c == '%' || is_currency(c))) return s.size() - start;
    return unit_bytes(s);
  }

  static size_t period_bytes(std::string_view head, char32_t previous) {
    if (previous == '.') {
      size_t n = 1;
      while (!head.empty() && head.back() == '.') head.remove_suffix(1), ++n;
      return n;
    }
    const uint8_t classes = classes_of(previous);
    if ((classes & (kLower | kDigit)) != 0 || is_mark(previous) || previous == '%' || previous == '-' ||
        previous == '+')
      return 1;
    if ((classes & kUpper) == 0 || head.size() < 2) return 0;
    size_t start = 0;
    last_code_point(head, start);
    return start > 0 && (classes_of(last_code_point(head.substr(0, start), start)) & kUpper) != 0 ? 1 : 0;
  }

  // "5km", "30GB": the unit behind a digit.
  static size_t unit_bytes(std::string_view s) {
    size_t digits = s.size();
    while (digits > 0 && is_letter(static_cast<unsigned char>(s[digits - 1])) && s.size() - digits < 4)
      --digits;
    if (digits == 0 || digits == s.size() || !is_digit(static_cast<unsigned char>(s[digits - 1]))) return 0;
    for (const std::string_view unit : {"km", "m",  "dm", "cm", "mm", "ha",  "nm",  "yd",  "in", "ft",   "kg",
                                        "g",  "mg", "t",  "lb", "oz", "kmh", "mph", "hPa", "Pa", "mbar", "mb",
                                        "MB", "kb", "KB", "gb", "GB", "tb",  "TB",  "T",   "G",  "M",    "K"})
      if (s.substr(digits) == unit) return unit.size();
    return 0;
  }

  void infixes(std::string_view s) {
    if (const size_t n = contraction_bytes(s); n > 0 && n < s.size()) {
      infixes(s.substr(0, s.size() - n));
      return push(s.substr(s.size() - n));
    }
    if (s == "cannot" || s == "Cannot") {
      push(s.substr(0, 3));
      return push(s.substr(3));
    }
    size_t begin = 0;
    char32_t previous = 0;
    for (size_t i = 0; i < s.size();) {
      const size_t at = i;
      const char32_t c = next_code_point(s, i);
      const size_t n = is_plain(c) ? 0 : infix_bytes(s, at, i, previous, c);
      if (n > 0 && at > begin) {
        push(s.substr(begin, at - begin));
        push(s.substr(at, n));
        begin = i = at + n;
      }
      previous = c;
    }
    if (begin < s.size()) push(s.substr(begin));
  }

  static bool is_plain(char32_t c) { return c < 0x80 && (kAsciiClasses[c] & (kAlpha | kDigit)) != 0; }

  static size_t infix_bytes(std::string_view s, size_t at, size_t after, char32_t previous, char32_t c) {
    size_t i = after;
    const char32_t next = i < s.size() ? next_code_point(s, i) : 0;
    const bool letters = is_letter(previous) && is_letter(next);
    switch (c) {
      case '.': {
        const size_t end = std::min(s.find_first_not_of('.', at), s.size());
        if (end - at >= 2) return end - at;
        return (classes_of(previous) & kLower) != 0 && (classes_of(next) & kUpper) != 0 ? 1 : 0;
      }
      case '+':
      case '*':
      case '^':
        return is_digit(previous) && (is_digit(next) || next == '-') ? 1 : 0;
      case '-':
        if (is_digit(previous) && (is_digit(next) || next == '-')) return 1;
        if (next == '-') {
          const size_t end = std::min(s.find_first_not_of('-', at), s.size());
          return is_letter(previous) && end < s.size() ? end - at : 0;
        }
        return letters ? 1 : 0;
      case ',':
      case '~':
      case 0x2013:
      case 0x2014:
        return letters ? after - at : 0;
      case ':':
      case '<':
      case '>':
      case '=':
      case '/':
        return (is_letter(previous) || is_digit(previous)) && is_letter(next) ? 1 : 0;
      case 0x2026:
        return after - at;
      default:
        return c >= 0x80 && u_charType(static_cast<UChar32>(c)) == U_OTHER_SYMBOL ? after - at : 0;
    }
  }

  void push(std::string_view word) { out_.push_back({word, static_cast<uint32_t>(count_code_points(word))}); }

  std::vector<Word>& out_;
  std::vector<std::string_view> suffixes_;
};

}  // namespace

void detail::split_words_spacy(std::string_view text, std::vector<Word>& out) {
  Splitter splitter(out);
  for_each_run(text, [&](std::string_view run) {
    // The common case: letters alone.
    const bool plain = std::all_of(run.begin(), run.end(), [](char c) {
      return static_cast<signed char>(c) > 0 && (kAsciiClasses[static_cast<size_t>(c)] & kAlpha) != 0;
    });
    if (plain && run.size() != 6)
      out.push_back({run, static_cast<uint32_t>(run.size())});
    else
      splitter.split(run);
  });
}

// spaCy's sentencizer: a sentence begins at the first word that is no punctuation behind one that ends a
// sentence.
int64_t detail::count_sentences_spacy(std::string_view line) {
  std::vector<Word> words;
  split_words_spacy(line, words);
  int64_t sentences = words.empty() ? 0 : 1;
  bool seen_end = false;
  for (const Word& word : words) {
    size_t i = 0;
    const char32_t c = next_code_point(word.text, i);
    const bool one = i == word.text.size();
    const bool end = one && (classes_of(c) & kTerminal) != 0;
    const bool punctuation = one ? u_ispunct(static_cast<UChar32>(c)) != 0
                                 : word.text.find_first_not_of(".-") == std::string_view::npos;
    if (end) {
      seen_end = true;
    } else if (seen_end && !punctuation) {
      ++sentences;
      seen_end = false;
    }
  }
  return sentences;
}

}  // namespace tumbler::text
