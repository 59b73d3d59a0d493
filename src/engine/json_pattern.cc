#include "engine/json_pattern.h"

#include <algorithm>
#include <map>

#include "base/error.h"

namespace tumbler::engine {
namespace {

constexpr char32_t kLast = 0x10ffff;
constexpr int64_t kNoLimit = -1;

void tidy(CharacterSet& set) {
  std::ranges::sort(set);
  CharacterSet out;
  for (const auto& range : set)
    if (!out.empty() && range.first <= out.back().second + 1)
      out.back().second = std::max(out.back().second, range.second);
    else
      out.push_back(range);
  set.swap(out);
}

CharacterSet complement(const CharacterSet& set) {
  CharacterSet out;
  char32_t next = 0;
  for (const auto& [low, high] : set) {
    if (low > next) out.emplace_back(next, low - 1);
    next = high + 1;
  }
  if (next <= kLast) out.emplace_back(next, kLast);
  return out;
}

bool contains(const CharacterSet& set, char32_t c) {
  return std::ranges::any_of(set, [c](const auto& range) { return range.first <= c && c <= range.second; });
}

CharacterSet without(const CharacterSet& set, const CharacterSet& taken) {
  CharacterSet outside = complement(set);
  outside.insert(outside.end(), taken.begin(), taken.end());
  tidy(outside);
  return complement(outside);
}

// Those that JSON writes as they are; DEL too, but no model means it.
const CharacterSet& plain_characters() {
  static const CharacterSet plain = {
      {0x20, 0x21}, {0x23, 0x5b}, {0x5d, 0x7e}, {0x80, 0xd7ff}, {0xe000, kLast}};
  return plain;
}

std::string gbnf_character(char32_t c) {
  return fmt::format("\\U{:08X}", static_cast<uint32_t>(c));
}

std::string gbnf_class(const CharacterSet& set) {
  std::string out = "[";
  for (const auto& [low, high] : set) {
    out += gbnf_character(low);
    if (high != low) out += "-" + gbnf_character(high);
  }
  return out + "]";
}

// The characters of UTF-8 text; bytes that are none become U+FFFD.
std::vector<char32_t> characters_of(std::string_view text) {
  std::vector<char32_t> out;
  for (size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const size_t size = byte < 0x80 ? 1 : byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc2 ? 2 : 0;
    if (size == 0 || i + size > text.size()) {
      out.push_back(0xfffd);
      ++i;
      continue;
    }
    char32_t c = size == 1 ? byte : byte & (0x7fu >> size);
    for (size_t k = 1; k < size; ++k) c = c << 6 | (static_cast<unsigned char>(text[i + k]) & 0x3fu);
    out.push_back(std::min(c, kLast));
    i += size;
  }
  return out;
}

class Pattern {
 public:
  explicit Pattern(std::string_view regex) : regex_(regex), text_(characters_of(regex)) {}

  std::string run() {
    const std::string body = alternatives(0, /*top=*/true);
    if (at_ < text_.size()) fail("')' without '('");
    return body;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(
        "json-schema",
        "pattern '{}', character {}: got {}, expected characters, classes, groups, alternatives, * + ? "
        "{{m,n}}, ^ at the beginning and $ at the end; write it with these",
        regex_, at_ + 1, what);
  }
  bool at_end() const noexcept { return at_ >= text_.size(); }
  char32_t peek(size_t ahead = 0) const noexcept {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : char32_t{0};
  }
  bool take(char32_t c) noexcept {
    if (at_end() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  // At the top, an alternative without ^ or $ may stand anywhere in the text.
  std::string alternatives(int depth, bool top) {
    if (depth > 100) fail("groups in groups, more than 100 deep");
    const std::string anything = json_characters(0, kNoLimit);
    std::string out;
    do {
      if (!out.empty()) out += " | ";
      const bool from_begin = top && take('^');
      std::string items = from_begin || !top ? "" : anything;
      while (!at_end() && peek() != '|' && peek() != ')' && peek() != '$') items += " " + item(depth);
      const bool to_end = take('$');
      if (to_end && (!top || (!at_end() && peek() != '|'))) fail("'$' before the end");
      if (top && !to_end) items += " " + anything;
      out += items.empty() ? "\"\"" : items;
    } while (take('|'));
    return "(" + out + ")";
  }

  std::string item(int depth) {
    std::string one;
    if (take('(')) {
      if (take('?') && !take(':')) fail("'(?', a look-around or a name");
      one = alternatives(depth + 1, false);
      if (!take(')')) fail("no ')' at the end of a group");
    } else {
      CharacterSet set = take('[') ? char_class() : single();
      one = json_character(set);
      if (one.empty()) fail("no character that JSON could write");
    }
    return one + repeats();
  }

  CharacterSet single() {
    if (take('.')) return complement({{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}});
    const char32_t c = peek();
    if (c == '\\') return escape();
    if (c == '*' || c == '+' || c == '?' || c == '{' || c == '^' || c == ']' || c == '}')
      fail("'" + std::string(1, static_cast<char>(c)) + "' where a character should be");
    ++at_;
    return {{c, c}};
  }

  CharacterSet escape() {
    ++at_;
    if (at_end()) fail("'\\' at the end");
    const char32_t c = text_[at_++];
    static const std::map<char32_t, CharacterSet> classes = {
        {'d', {{'0', '9'}}},
        {'w', {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}},
        {'s',
         {{9, 13},
          {' ', ' '},
          {0xa0, 0xa0},
          {0x1680, 0x1680},
          {0x2000, 0x200a},
          {0x2028, 0x2029},
          {0x202f, 0x202f},
          {0x205f, 0x205f},
          {0x3000, 0x3000},
          {0xfeff, 0xfeff}}}};
    if (const auto found = classes.find(c); found != classes.end()) return found->second;
    if (const auto found = classes.find(c + 32); c <= 'Z' && found != classes.end())
      return complement(found->second);
    static const std::map<char32_t, char32_t> controls = {
        {'n', '\n'}, {'r', '\r'}, {'t', '\t'}, {'f', '\f'}, {'v', '\v'}};
    if (const auto found = controls.find(c); found != controls.end()) return {{found->second, found->second}};
    if (c == 'u' || c == 'x') return hex(c == 'u' ? 4 : 2);
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9')) {
      --at_;
      fail("an escape that is not known here");
    }
    return {{c, c}};
  }

  CharacterSet hex(int digits) {
    char32_t value = 0;
    for (int i = 0; i < digits; ++i) {
      const char32_t c = peek();
      const bool digit = c >= '0' && c <= '9';
      const char32_t lower = c | 0x20;
      if (!digit && (lower < 'a' || lower > 'f')) fail("no hexadecimal digit");
      value = value << 4 | (digit ? c - '0' : lower - 'a' + 10);
      ++at_;
    }
    return {{value, value}};
  }

  CharacterSet char_class() {
    const bool negated = take('^');
    CharacterSet set;
    while (!take(']')) {
      if (at_end()) fail("no ']' at the end of a class");
      CharacterSet part = class_part();
      if (peek() == '-' && at_ + 1 < text_.size() && peek(1) != ']') {
        ++at_;
        const CharacterSet last = class_part();
        if (part.size() != 1 || last.size() != 1 || part[0].first != part[0].second ||
            last[0].first != last[0].second || last[0].first < part[0].first)
          fail("a range that has no two ends in order");
        part[0].second = last[0].first;
      }
      set.insert(set.end(), part.begin(), part.end());
    }
    tidy(set);
    return negated ? complement(set) : set;
  }

  CharacterSet class_part() {
    if (peek() == '\\') {
      if (peek(1) == 'b') {
        at_ += 2;
        return {{'\b', '\b'}};
      }
      return escape();
    }
    const char32_t c = peek();
    ++at_;
    return {{c, c}};
  }

  std::string repeats() {
    std::string out;
    if (take('*')) {
      out = "*";
    } else if (take('+')) {
      out = "+";
    } else if (take('?')) {
      out = "?";
    } else if (peek() == '{') {
      do out += static_cast<char>(std::min<char32_t>(peek(), 0x7f));
      while (text_[at_++] != '}' && !at_end());
      if (out.size() < 3 || out.back() != '}' || out[1] == ',' ||
          out.find_first_not_of("0123456789,", 1) != out.size() - 1)
        fail("'" + out + "' as a number of repetitions");
    } else {
      return out;
    }
    take('?');  // lazy or not: the same texts
    return out;
  }

  std::string_view regex_;
  std::vector<char32_t> text_;
  size_t at_ = 0;
};

std::string other_than(const std::vector<std::vector<char32_t>>& names, size_t depth) {
  // Which characters go on towards a name, and is one complete here?
  std::map<char32_t, std::vector<std::vector<char32_t>>> next;
  bool complete = false;
  for (const auto& name : names)
    if (name.size() == depth)
      complete = true;
    else
      next[name[depth]].push_back(name);
  CharacterSet taken;
  for (const auto& [c, rest] : next) taken.emplace_back(c, c);
  tidy(taken);
  const std::string any = gbnf_class(plain_characters());
  std::string out = "(" + gbnf_class(without(plain_characters(), taken)) + " " + any + "*";
  for (const auto& [c, rest] : next)
    if (contains(plain_characters(), c))
      out += " | " + gbnf_class({{c, c}}) + " " + other_than(rest, depth + 1);
  out += ")";
  return complete ? out : out + "?";
}

}  // namespace

std::string gbnf_literal(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20)
          out += fmt::format("\\x{:02X}", static_cast<unsigned>(static_cast<unsigned char>(c)));
        else
          out += c;
    }
  return out + "\"";
}

std::string json_character(const CharacterSet& set) {
  std::vector<std::string> ways;
  const CharacterSet plain = without(set, complement(plain_characters()));
  if (!plain.empty()) ways.push_back(gbnf_class(plain));
  static const std::pair<char32_t, const char*> escapes[] = {
      {'"', "\""}, {'\\', "\\"}, {'\n', "n"}, {'\r', "r"}, {'\t', "t"}, {'\b', "b"}, {'\f', "f"}};
  for (const auto& [c, name] : escapes)
    if (contains(set, c)) ways.push_back(gbnf_literal(std::string("\\") + name));
  if (ways.empty()) return "";
  if (ways.size() == 1) return ways[0];
  std::string out = "(" + ways[0];
  for (size_t i = 1; i < ways.size(); ++i) out += " | " + ways[i];
  return out + ")";
}

std::string json_text(std::string_view text) {
  std::string out;
  for (const char32_t c : characters_of(text)) {
    const std::string one = json_character({{c, c}});
    // A control character without a short escape.
    out += (one.empty() ? gbnf_literal(fmt::format("\\u{:04x}", static_cast<uint32_t>(c))) : one) + " ";
  }
  return out.empty() ? "\"\"" : out;
}

std::string json_characters(int64_t least, int64_t most) {
  const std::string one = "json-character";
  if (most == kNoLimit) return least == 0 ? one + "*" : fmt::format("{}{{{},}}", one, least);
  return fmt::format("{}{{{},{}}}", one, least, most);
}

std::string json_pattern(std::string_view regex) {
  return Pattern(regex).run();
}

std::string json_text_other_than(const std::vector<std::string>& names) {
  std::vector<std::vector<char32_t>> texts;
  for (const std::string& name : names) texts.push_back(characters_of(name));
  return other_than(texts, 0);
}

}  // namespace tumbler::engine
