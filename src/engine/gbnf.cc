// The parser of GBNF.
#include <algorithm>
#include <unordered_map>

#include "base/error.h"
#include "engine/grammar.h"

namespace tumbler::engine {
namespace {

constexpr size_t kMaxText = 4 << 20, kMaxDepth = 200;
constexpr int64_t kMaxRepeats = 100'000;
constexpr char32_t kLastCharacter = 0x10ffff;

bool is_name(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

int hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {
    if (text.size() > kMaxText)
      throw Error("grammar", "got {} bytes, expected at most {}; shorten it", text.size(), kMaxText);
    rule_number("root", 0);
  }

  std::vector<GrammarRule> run() {
    skip_blank(/*lines=*/true);
    while (at_ < text_.size()) rule();
    for (size_t i = 0; i < rules_.size(); ++i)
      if (!defined_[i]) {
        at_ = first_use_[i];
        if (i == 0) throw Error("grammar", "got no rule 'root', expected one: it is where texts begin");
        fail("rule '" + rules_[i].name + "'", "its definition (" + rules_[i].name + " ::= ...)");
      }
    return std::move(rules_);
  }

 private:
  [[noreturn]] void fail(const std::string& got, const std::string& expected) const {
    const std::string_view before = text_.substr(0, std::min(at_, text_.size()));
    const auto line = 1 + std::ranges::count(before, '\n');
    const size_t column = before.size() - (before.rfind('\n') + 1) + 1;  // npos + 1 is 0
    throw Error("grammar", "line {}, column {}: got {}, expected {}; correct the grammar", line, column, got,
                expected);
  }
  [[noreturn]] void fail_here(const std::string& expected) const {
    fail(at_ < text_.size() ? "'" + std::string(1, text_[at_]) + "'" : "the end", expected);
  }
  char peek() const noexcept { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool take(std::string_view what) noexcept {
    if (!text_.substr(at_).starts_with(what)) return false;
    at_ += what.size();
    return true;
  }

  void skip_blank(bool lines) {
    for (; at_ < text_.size(); ++at_) {
      if (text_[at_] == '#') {
        while (at_ < text_.size() && text_[at_] != '\n') ++at_;
        --at_;
      } else if (text_[at_] != ' ' && text_[at_] != '\t' &&
                 !(lines && (text_[at_] == '\n' || text_[at_] == '\r'))) {
        return;
      }
    }
  }

  size_t rule_number(const std::string& name, size_t where) {
    const auto [found, is_new] = numbers_.try_emplace(name, rules_.size());
    if (is_new) {
      rules_.push_back({name, {}});
      defined_.push_back(false);
      first_use_.push_back(where);
    }
    return found->second;
  }

  std::string name() {
    const size_t begin = at_;
    while (at_ < text_.size() && is_name(text_[at_])) ++at_;
    if (at_ == begin) fail_here("a rule's name (letters, digits, - and _)");
    return std::string(text_.substr(begin, at_ - begin));
  }

  void rule() {
    const size_t begin = at_;
    const size_t number = rule_number(name(), begin);
    if (defined_[number]) {
      at_ = begin;
      fail("rule '" + rules_[number].name + "' again", "one definition of each");
    }
    skip_blank(false);
    if (!take("::=")) fail_here("'::='");
    skip_blank(true);
    GrammarNode body = alternatives(/*lines=*/false, 0);
    rules_[number].body = std::move(body);
    defined_[number] = true;
    if (at_ < text_.size() && peek() != '\n' && peek() != '\r') fail_here("the end of the line");
    skip_blank(true);
  }

  // Is the next thing that is no blank and no line's end a '|'?
  bool bar_follows() {
    const size_t before = at_;
    skip_blank(true);
    if (peek() == '|') return true;
    at_ = before;
    return false;
  }

  GrammarNode alternatives(bool lines, size_t depth) {
    if (depth > kMaxDepth) fail("groups in groups", fmt::format("at most {} deep", kMaxDepth));
    GrammarNode all{.kind = GrammarNode::Kind::alternatives};
    all.parts.push_back(sequence(lines, depth));
    while (bar_follows()) {
      ++at_;
      skip_blank(true);
      all.parts.push_back(sequence(lines, depth));
    }
    return all.parts.size() == 1 ? std::move(all.parts[0]) : all;
  }

  GrammarNode sequence(bool lines, size_t depth) {
    GrammarNode all;
    for (;;) {
      skip_blank(lines);
      const char c = peek();
      GrammarNode item;
      if (c == '"') {
        item = literal();
      } else if (c == '[') {
        item = characters();
      } else if (c == '.') {
        ++at_;
        item = {.kind = GrammarNode::Kind::characters, .ranges = {{0, kLastCharacter}}};
      } else if (c == '(') {
        ++at_;
        skip_blank(true);
        item = alternatives(true, depth + 1);
        skip_blank(true);
        if (!take(")")) fail_here("')'");
      } else if (is_name(c)) {
        const size_t where = at_;
        item = {.kind = GrammarNode::Kind::rule};
        item.rule = rule_number(name(), where);
      } else {
        return all;
      }
      all.parts.push_back(repeats(std::move(item)));
    }
  }

  GrammarNode repeats(GrammarNode item) {
    for (int times = 0;; ++times) {
      int64_t least = 0, most = GrammarNode::kNoLimit;
      if (take("*")) {
      } else if (take("+")) {
        least = 1;
      } else if (take("?")) {
        most = 1;
      } else if (take("{")) {
        read_bounds(least, most);
      } else {
        return item;
      }
      if (times == 8) fail("repetitions of repetitions", "at most 8");
      GrammarNode repeat{.kind = GrammarNode::Kind::repeat, .least = least, .most = most};
      repeat.parts.push_back(std::move(item));
      item = std::move(repeat);
    }
  }

  int64_t number() {
    int64_t value = 0;
    if (peek() < '0' || peek() > '9') fail_here("a number");
    for (; peek() >= '0' && peek() <= '9'; ++at_) {
      value = value * 10 + (peek() - '0');
      if (value > kMaxRepeats) fail("more repetitions", fmt::format("at most {}", kMaxRepeats));
    }
    return value;
  }

  void read_bounds(int64_t& least, int64_t& most) {
    skip_blank(false);
    least = peek() == ',' ? 0 : number();
    skip_blank(false);
    most = least;
    if (take(",")) {
      skip_blank(false);
      most = peek() == '}' ? GrammarNode::kNoLimit : number();
      skip_blank(false);
    }
    if (!take("}")) fail_here("'}'");
    if (most != GrammarNode::kNoLimit && most < least)
      fail(fmt::format("{{{},{}}}", least, most), "least first");
  }

  // A character of UTF-8, or an escape.
  char32_t character() {
    if (peek() == '\\') return escape();
    const auto byte = static_cast<unsigned char>(text_[at_]);
    const int size = byte < 0x80                   ? 1
                     : byte >= 0xc2 && byte < 0xe0 ? 2
                     : byte >= 0xe0 && byte < 0xf0 ? 3
                     : byte >= 0xf0 && byte < 0xf5 ? 4
                                                   : 0;
    if (size == 0 || at_ + static_cast<size_t>(size) > text_.size()) fail("a byte that is no UTF-8", "UTF-8");
    char32_t c = size == 1 ? byte : byte & (0x7f >> size);
    for (int i = 1; i < size; ++i) {
      const auto next = static_cast<unsigned char>(text_[at_ + static_cast<size_t>(i)]);
      if ((next & 0xc0) != 0x80) fail("a byte that is no UTF-8", "UTF-8");
      c = c << 6 | (next & 0x3f);
    }
    at_ += static_cast<size_t>(size);
    return c;
  }

  char32_t escape() {
    ++at_;
    const char c = peek();
    if (at_ < text_.size()) ++at_;
    switch (c) {
      case 'n':
        return '\n';
      case 'r':
        return '\r';
      case 't':
        return '\t';
      case 'x':
        return hex(2);
      case 'u':
        return hex(4);
      case 'U':
        return hex(8);
      default:
        if (c != '\0' && std::string_view("\\\"[]-^'/.").find(c) != std::string_view::npos)
          return static_cast<char32_t>(c);
    }
    --at_;
    fail_here("an escape (\\n \\r \\t \\\\ \\\" \\[ \\] \\- \\^ \\xHH \\uHHHH \\UHHHHHHHH)");
  }

  char32_t hex(int digits) {
    char32_t value = 0;
    for (int i = 0; i < digits; ++i, ++at_) {
      const int digit = hex_digit(peek());
      if (digit < 0) fail_here(fmt::format("{} hexadecimal digits", digits));
      value = value << 4 | static_cast<char32_t>(digit);
    }
    if (value > kLastCharacter) fail("a number beyond Unicode", "at most 10FFFF");
    return value;
  }

  GrammarNode literal() {
    GrammarNode all;
    ++at_;
    while (peek() != '"') {
      if (at_ >= text_.size() || peek() == '\n') fail_here("'\"' at the literal's end");
      const char32_t c = character();
      all.parts.push_back({.kind = GrammarNode::Kind::characters, .ranges = {{c, c}}});
    }
    ++at_;
    return all;
  }

  GrammarNode characters() {
    GrammarNode all{.kind = GrammarNode::Kind::characters};
    ++at_;
    const bool negated = take("^");
    while (peek() != ']') {
      if (at_ >= text_.size() || peek() == '\n') fail_here("']' at the end of the characters");
      const char32_t first = character();
      char32_t last = first;
      if (peek() == '-' && at_ + 1 < text_.size() && text_[at_ + 1] != ']') {
        ++at_;
        last = character();
        if (last < first) fail("a range that ends before it begins", "the smaller character first");
      }
      all.ranges.emplace_back(first, last);
    }
    ++at_;
    merge(all.ranges, negated);
    if (all.ranges.empty()) fail("no characters", "at least one between [ and ]");
    return all;
  }

  static void merge(std::vector<std::pair<char32_t, char32_t>>& ranges, bool negated) {
    std::ranges::sort(ranges);
    std::vector<std::pair<char32_t, char32_t>> out;
    for (const auto& range : ranges)
      if (!out.empty() && range.first <= out.back().second + 1)
        out.back().second = std::max(out.back().second, range.second);
      else
        out.push_back(range);
    ranges.swap(out);
    if (!negated) return;
    out.clear();
    char32_t next = 0;
    for (const auto& range : ranges) {
      if (range.first > next) out.emplace_back(next, range.first - 1);
      next = range.second + 1;
    }
    if (next <= kLastCharacter) out.emplace_back(next, kLastCharacter);
    ranges.swap(out);
  }

  std::string_view text_;
  size_t at_ = 0;
  std::vector<GrammarRule> rules_;
  std::vector<bool> defined_;
  std::vector<size_t> first_use_;
  std::unordered_map<std::string, size_t> numbers_;
};

}  // namespace

std::vector<GrammarRule> parse_gbnf(std::string_view text) {
  return Parser(text).run();
}

}  // namespace tumbler::engine
