#include "chat/jinja/lexer.h"

#include <algorithm>
#include <charconv>

#include <unicode/uchar.h>

#include "base/error.h"
#include "chat/jinja/text.h"

namespace tumbler::jinja {
namespace {

constexpr size_t kMaxSource = size_t{1} << 20;  // templates of large models with tools have some 20 kB

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

// Line ends as "\n"; one at the end goes, as Jinja's keep_trailing_newline = False has it.
std::string normalize_lines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
    } else {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    }
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)), s_(source_) {}

  std::vector<Token> run() {
    while (at_ < s_.size()) read_data();
    push(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void fail(const std::string& message) const {
    throw Error("chat_template", "line {}: {}", line_, message);
  }

  bool starts(std::string_view what) const { return s_.substr(at_).starts_with(what); }

  // Goes on to `to`, counting lines.
  void advance(size_t to) {
    line_ += static_cast<int>(
        std::count(s_.begin() + static_cast<ptrdiff_t>(at_), s_.begin() + static_cast<ptrdiff_t>(to), '\n'));
    if (to > at_) line_starting_ = s_[to - 1] == '\n';
    at_ = to;
  }

  void push(TokenKind kind, std::string text) {
    Token token;
    token.kind = kind;
    token.line = line_;
    token.text = std::move(text);
    tokens_.push_back(std::move(token));
  }

  size_t skip_space(size_t i) const {
    size_t length = 0;
    while (i < s_.size() && is_space(code_point_at(s_, i, length))) i += length;
    return i;
  }

  // The next "{{", "{%" or "{#".
  size_t next_tag(size_t from) const {
    for (size_t i = from; i + 1 < s_.size(); ++i)
      if (s_[i] == '{' && (s_[i + 1] == '{' || s_[i + 1] == '%' || s_[i + 1] == '#')) return i;
    return std::string_view::npos;
  }

  // Text in front of a tag whose sign is '-', '+' or 0.
  void push_data(size_t begin, size_t end, char sign, bool variable, bool starts_line) {
    std::string_view data = s_.substr(begin, end - begin);
    std::string stripped;
    if (sign == '-') {
      stripped = strip(Text(std::string(data)), Side::kRight).bytes;
      data = stripped;
    } else if (sign != '+' && !variable) {  // lstrip_blocks
      const size_t line = data.rfind('\n') + 1;
      if ((line > 0 || starts_line) && skip_space(begin + line) >= end) data = data.substr(0, line);
    }
    if (!data.empty()) push(TokenKind::kData, std::string(data));
  }

  // Behind a tag that ends at `end`: what trim_blocks or the mark '-' takes.
  size_t trim_after(size_t end, char sign, bool trim) const {
    if (sign == '-') return skip_space(end);
    return trim && sign != '+' && end < s_.size() && s_[end] == '\n' ? end + 1 : end;
  }

  char sign_at(size_t i) const { return i < s_.size() && (s_[i] == '-' || s_[i] == '+') ? s_[i] : '\0'; }

  void read_data() {
    const size_t begin = at_, tag = next_tag(at_);
    if (tag == std::string_view::npos) {
      push(TokenKind::kData, std::string(s_.substr(begin)));
      advance(s_.size());
      return;
    }
    const char type = s_[tag + 1], sign = sign_at(tag + 2);
    push_data(begin, tag, sign, type == '{', line_starting_);
    advance(tag + 2 + (sign != '\0'));
    if (type == '#') {
      read_comment();
    } else if (type == '%' && !read_raw()) {
      push(TokenKind::kBlockBegin, "{%");
      read_tag('%');
    } else if (type == '{') {
      push(TokenKind::kVariableBegin, "{{");
      read_tag('}');
    }
  }

  void read_comment() {
    const size_t end = s_.find("#}", at_);
    if (end == std::string_view::npos) fail("a comment without end, expected '#}'");
    const char sign = end > at_ && (s_[end - 1] == '-' || s_[end - 1] == '+') ? s_[end - 1] : '\0';
    advance(trim_after(end + 2, sign, true));
  }

  // Behind "{%": "raw %}" and all up to "endraw %}" as text.
  bool read_raw() {
    size_t i = skip_space(at_);
    if (s_.substr(i, 3) != "raw") return false;
    i = skip_space(i + 3);
    const bool strips = s_.substr(i, 3) == "-%}";
    if (!strips && s_.substr(i, 2) != "%}") return false;
    advance(strips ? skip_space(i + 3) : i + 2);
    const size_t begin = at_;
    for (size_t tag = s_.find("{%", at_); tag != std::string_view::npos; tag = s_.find("{%", tag + 2)) {
      const char sign = sign_at(tag + 2);
      size_t end = skip_space(tag + 2 + (sign != '\0'));
      if (s_.substr(end, 6) != "endraw") continue;
      end = skip_space(end + 6);
      const char last = sign_at(end);
      if (s_.substr(end + (last != '\0'), 2) != "%}") continue;
      push_data(begin, tag, sign, false, line_starting_);
      advance(trim_after(end + (last != '\0') + 2, last, true));
      return true;
    }
    fail("raw without endraw, expected '{% endraw %}'");
  }

  // Tokens up to "%}" or "}}" outside all brackets.
  void read_tag(char close) {
    std::string open;
    for (;;) {
      advance(skip_space(at_));
      if (at_ >= s_.size()) fail(std::string("a tag without end, expected '") + close + "}'");
      if (open.empty() && read_tag_end(close)) return;
      const char c = s_[at_];
      if (is_digit(c))
        read_number();
      else if (c == '"' || c == '\'')
        read_string(c);
      else if (!read_name())
        read_operator(open);
    }
  }

  bool read_tag_end(char close) {
    const char sign = sign_at(at_);
    if (sign == '+' && close == '}') return false;
    const size_t i = at_ + (sign != '\0');
    if (i + 1 >= s_.size() || s_[i] != close || s_[i + 1] != '}') return false;
    push(close == '%' ? TokenKind::kBlockEnd : TokenKind::kVariableEnd, std::string{close, '}'});
    advance(trim_after(i + 2, sign, close == '%'));
    return true;
  }

  // Digits with single underscores between them, from i on.
  size_t skip_digits(size_t i) const {
    while (i < s_.size() && (is_digit(s_[i]) || (s_[i] == '_' && i + 1 < s_.size() && is_digit(s_[i + 1]))))
      ++i;
    return i;
  }

  void read_number() {
    const bool after_dot = at_ > 0 && s_[at_ - 1] == '.';
    if (!after_dot && s_[at_] == '0' && at_ + 1 < s_.size() && read_based_integer()) return;
    size_t end = skip_digits(at_);
    bool is_float = false;
    if (!after_dot && end + 1 < s_.size() && s_[end] == '.' && is_digit(s_[end + 1])) {
      end = skip_digits(end + 1);
      is_float = true;
    }
    if (!after_dot && end < s_.size() && (s_[end] == 'e' || s_[end] == 'E')) {
      const size_t digits = end + 1 + (sign_at(end + 1) != '\0');
      if (digits < s_.size() && is_digit(s_[digits])) {
        end = skip_digits(digits);
        is_float = true;
      }
    }
    std::string digits(s_.substr(at_, end - at_));
    std::erase(digits, '_');
    Token token;
    token.kind = is_float ? TokenKind::kFloat : TokenKind::kInteger;
    token.line = line_;
    const char *first = digits.data(), *last = first + digits.size();
    const auto error = is_float ? std::from_chars(first, last, token.number).ec
                                : std::from_chars(first, last, token.integer).ec;
    if (error != std::errc()) fail("the number " + digits.substr(0, 40) + ", expected one of 64 bits");
    if (!is_float && digits.size() > 1 && digits[0] == '0' &&
        digits.find_first_not_of('0') != std::string::npos)
      fail("the number " + digits.substr(0, 40) + ", expected no leading zero");
    tokens_.push_back(std::move(token));
    advance(end);
  }

  // 0x1F, 0o17, 0b11.
  bool read_based_integer() {
    const char letter = static_cast<char>(s_[at_ + 1] | 0x20);
    const int base = letter == 'x' ? 16 : letter == 'o' ? 8 : letter == 'b' ? 2 : 0;
    if (base == 0) return false;
    std::string digits;
    size_t end = at_ + 2;
    for (; end < s_.size() && (isalnum(static_cast<unsigned char>(s_[end])) || s_[end] == '_'); ++end)
      if (s_[end] != '_') digits += s_[end];
    Token token;
    token.kind = TokenKind::kInteger;
    token.line = line_;
    const auto [stop, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), token.integer, base);
    if (digits.empty() || error != std::errc() || stop != digits.data() + digits.size())
      fail("the number " + std::string(s_.substr(at_, 40)) + ", expected one of 64 bits");
    tokens_.push_back(std::move(token));
    advance(end);
    return true;
  }

  bool read_name() {
    size_t i = at_, length = 0;
    for (; i < s_.size(); i += length) {
      const uint32_t c = code_point_at(s_, i, length);
      const bool word = c == '_' || (c < 0x80 ? isalnum(static_cast<int>(c)) != 0
                                              : u_isUAlphabetic(static_cast<UChar32>(c)) != 0);
      if (!word) break;
    }
    if (i == at_) return false;
    push(TokenKind::kName, std::string(s_.substr(at_, i - at_)));
    advance(i);
    return true;
  }

  void read_operator(std::string& open) {
    static constexpr std::string_view kTwo[] = {"//", "**", "==", "!=", ">=", "<="};
    for (const std::string_view op : kTwo)
      if (starts(op)) {
        push(TokenKind::kOperator, std::string(op));
        return advance(at_ + 2);
      }
    const char c = s_[at_];
    if (std::string_view("+-/*%~[](){}><=.:|,;").find(c) == std::string_view::npos)
      fail("got '" + std::string(s_.substr(at_, 1)) + "', expected an expression");
    if (c == '(' || c == '[' || c == '{') open += c == '(' ? ')' : c == '[' ? ']' : '}';
    if (c == ')' || c == ']' || c == '}') {
      if (open.empty() || open.back() != c) fail(std::string("got '") + c + "' without its opening bracket");
      open.pop_back();
    }
    push(TokenKind::kOperator, std::string(1, c));
    advance(at_ + 1);
  }

  void read_string(char mark) {
    size_t end = at_ + 1;
    while (end < s_.size() && s_[end] != mark) end += s_[end] == '\\' ? 2 : 1;
    if (end >= s_.size()) fail("a string without end, expected " + std::string(1, mark));
    push(TokenKind::kString, unescape(s_.substr(at_ + 1, end - at_ - 1)));
    advance(end + 1);
  }

  // `count` hexadecimal digits at s[i].
  uint32_t hex(std::string_view s, size_t i, size_t count) const {
    uint32_t value = 0;
    const std::string_view digits = s.substr(std::min(i, s.size()), count);
    const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    if (digits.size() != count || error != std::errc() || stop != digits.data() + digits.size())
      fail("an escape in a string, expected " + std::to_string(count) + " hexadecimal digits");
    return value;
  }

  std::string unescape(std::string_view s) const {
    static constexpr std::string_view kFrom = "ntrabfv\\'\"", kTo = "\n\t\r\a\b\f\v\\'\"";
    std::string out;
    for (size_t i = 0; i < s.size(); ++i) {
      if (s[i] != '\\' || i + 1 >= s.size()) {
        out += s[i];
        continue;
      }
      const char c = s[++i];
      if (const size_t k = kFrom.find(c); k != std::string_view::npos) {
        out += kTo[k];
      } else if (c == 'x' || c == 'u' || c == 'U') {
        const size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        append_utf8(out, hex(s, i + 1, digits));
        i += digits;
      } else if (c >= '0' && c <= '7') {
        uint32_t value = 0;
        size_t n = 0;
        for (; n < 3 && i + n < s.size() && s[i + n] >= '0' && s[i + n] <= '7'; ++n)
          value = value * 8 + static_cast<uint32_t>(s[i + n] - '0');
        append_utf8(out, value);
        i += n - 1;
      } else if (c != '\n') {  // a line end behind a backslash goes
        (out += '\\') += c;
      }
    }
    return out;
  }

  std::string source_;
  std::string_view s_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) {
  if (source.size() > kMaxSource)
    throw Error("chat_template", "got {} bytes of template, expected at most {}", source.size(), kMaxSource);
  if (!is_utf8(source)) throw Error("chat_template", "the template is not UTF-8; save it as UTF-8");
  return Lexer(normalize_lines(source)).run();
}

}  // namespace tumbler::jinja
