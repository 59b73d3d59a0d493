#include "chat/jinja/text.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <fmt/format.h>
#include <unicode/locid.h>
#include <unicode/uchar.h>
#include <unicode/unistr.h>

namespace tumbler::jinja {

Text::Text(std::string s, bool from_outside) : bytes(std::move(s)) {
  if (from_outside && !bytes.empty()) input.push_back({0, bytes.size()});
}

void Text::append(const Text& other) {
  const size_t shift = bytes.size();
  bytes += other.bytes;
  for (const Range& r : other.input) {
    if (!input.empty() && input.back().end == r.begin + shift)
      input.back().end = r.end + shift;
    else
      input.push_back({r.begin + shift, r.end + shift});
  }
}

Text Text::sub(size_t begin, size_t end) const {
  Text out;
  out.bytes = bytes.substr(begin, end - begin);
  for (const Range& r : input) {
    const size_t b = std::max(r.begin, begin), e = std::min(r.end, end);
    if (b < e) out.input.push_back({b - begin, e - begin});
  }
  return out;
}

uint32_t code_point_at(std::string_view s, size_t i, size_t& length) noexcept {
  const auto byte = [&](size_t k) { return static_cast<uint32_t>(static_cast<unsigned char>(s[i + k])); };
  const uint32_t a = byte(0);
  length = a < 0x80 ? 1 : a < 0xE0 ? 2 : a < 0xF0 ? 3 : 4;
  length = std::min(length, s.size() - i);
  if (length == 1) return a;
  uint32_t c = a & (0xFFu >> (length + 1));
  for (size_t k = 1; k < length; ++k) c = c << 6 | (byte(k) & 0x3F);
  return c;
}

bool is_utf8(std::string_view s) noexcept {
  for (size_t i = 0; i < s.size();) {
    const auto a = static_cast<unsigned char>(s[i]);
    const size_t n = a < 0x80 ? 1 : a < 0xC2 ? 0 : a < 0xE0 ? 2 : a < 0xF0 ? 3 : a < 0xF5 ? 4 : 0;
    if (n == 0 || n > s.size() - i) return false;
    for (size_t k = 1; k < n; ++k)
      if ((static_cast<unsigned char>(s[i + k]) & 0xC0) != 0x80) return false;
    size_t length = 0;
    const uint32_t c = code_point_at(s, i, length);
    if ((n == 3 && (c < 0x800 || (c >= 0xD800 && c < 0xE000))) || (n == 4 && (c < 0x10000 || c > 0x10FFFF)))
      return false;
    i += n;
  }
  return true;
}

void append_utf8(std::string& out, uint32_t c) {
  const auto put = [&](uint32_t b) { out += static_cast<char>(b); };
  if (c > 0x10FFFF || (c >= 0xD800 && c < 0xE000)) c = 0xFFFD;
  if (c < 0x80) return put(c);
  if (c < 0x800) {
    put(0xC0 | c >> 6);
  } else {
    if (c < 0x10000) {
      put(0xE0 | c >> 12);
    } else {
      put(0xF0 | c >> 18);
      put(0x80 | (c >> 12 & 0x3F));
    }
    put(0x80 | (c >> 6 & 0x3F));
  }
  put(0x80 | (c & 0x3F));
}

size_t count_code_points(std::string_view s) noexcept {
  size_t n = 0;
  for (const char c : s) n += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return n;
}

std::vector<size_t> code_point_offsets(std::string_view s) {
  std::vector<size_t> out;
  out.reserve(s.size() + 1);
  for (size_t i = 0; i < s.size(); ++i)
    if ((static_cast<unsigned char>(s[i]) & 0xC0) != 0x80) out.push_back(i);
  out.push_back(s.size());
  return out;
}

bool is_space(uint32_t c) noexcept {
  return (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

namespace {

bool is_ascii(std::string_view s) {
  return std::all_of(s.begin(), s.end(), [](char c) { return static_cast<signed char>(c) >= 0; });
}

std::string from_icu(const icu::UnicodeString& s) {
  std::string out;
  s.toUTF8String(out);
  return out;
}

icu::UnicodeString to_icu(std::string_view s) {
  return icu::UnicodeString::fromUTF8({s.data(), static_cast<int32_t>(s.size())});
}

char ascii_upper(char c) {
  return c >= 'a' && c <= 'z' ? static_cast<char>(c - 32) : c;
}
char ascii_lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
}

// One code point as title case: "ß" is "Ss".
std::string title_character(std::string_view c) {
  icu::UnicodeString s = to_icu(c);
  s.toTitle(nullptr, icu::Locale::getRoot(), U_TITLECASE_NO_LOWERCASE);
  return from_icu(s);
}

// Does the white space in front of or behind s[begin, end) go?
template <class F>
Text strip_where(const Text& text, Side side, F goes) {
  const std::string_view s = text.bytes;
  size_t begin = 0, end = s.size(), length = 0;
  while (side != Side::kRight && begin < end && goes(code_point_at(s, begin, length))) begin += length;
  while (side != Side::kLeft && end > begin) {
    size_t last = end - 1;
    while (last > begin && (static_cast<unsigned char>(s[last]) & 0xC0) == 0x80) --last;
    if (!goes(code_point_at(s, last, length))) break;
    end = last;
  }
  return text.sub(begin, end);
}

}  // namespace

std::string to_upper(std::string_view s) {
  std::string out(s);
  if (!is_ascii(s)) return from_icu(to_icu(s).toUpper(icu::Locale::getRoot()));
  std::transform(out.begin(), out.end(), out.begin(), ascii_upper);
  return out;
}

std::string to_lower(std::string_view s) {
  std::string out(s);
  if (!is_ascii(s)) return from_icu(to_icu(s).toLower(icu::Locale::getRoot()));
  std::transform(out.begin(), out.end(), out.begin(), ascii_lower);
  return out;
}

std::string capitalize(std::string_view s) {
  if (s.empty()) return {};
  size_t length = 0;
  code_point_at(s, 0, length);
  // Lower case of the whole, so that a final sigma knows what stands before it.
  const std::string lower = to_lower(s);
  size_t skip = to_lower(s.substr(0, length)).size();
  return title_character(s.substr(0, length)) + lower.substr(std::min(skip, lower.size()));
}

std::string title(std::string_view s) {
  std::string out;
  bool inside = false;  // a cased letter stands before
  for (size_t i = 0, length = 0; i < s.size(); i += length) {
    const uint32_t c = code_point_at(s, i, length);
    const std::string_view one = s.substr(i, length);
    out += inside ? to_lower(one) : title_character(one);
    inside = u_hasBinaryProperty(static_cast<UChar32>(c), UCHAR_CASED) != 0;
  }
  return out;
}

Text strip(const Text& text, Side side) {
  return strip_where(text, side, is_space);
}

Text strip(const Text& text, Side side, std::string_view characters) {
  std::vector<uint32_t> set;
  for (size_t i = 0, length = 0; i < characters.size(); i += length)
    set.push_back(code_point_at(characters, i, length));
  return strip_where(text, side,
                     [&](uint32_t c) { return std::find(set.begin(), set.end(), c) != set.end(); });
}

std::vector<Text> split_lines(const Text& text, bool keep_ends) {
  const std::string_view s = text.bytes;
  std::vector<Text> lines;
  size_t begin = 0;
  for (size_t i = 0, length = 0; i < s.size(); i += length) {
    const uint32_t c = code_point_at(s, i, length);
    if (!((c >= 10 && c <= 13) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 || c == 0x2029))
      continue;
    const size_t stop = i;
    if (c == '\r' && i + 1 < s.size() && s[i + 1] == '\n') ++length;
    lines.push_back(text.sub(begin, keep_ends ? i + length : stop));
    begin = i + length;
  }
  if (begin < s.size()) lines.push_back(text.sub(begin, s.size()));
  return lines;
}

std::vector<Text> split_space(const Text& text, int64_t limit) {
  const std::string_view s = text.bytes;
  std::vector<Text> words;
  size_t i = 0, length = 0;
  const auto skip = [&](bool space) {
    while (i < s.size() && is_space(code_point_at(s, i, length)) == space) i += length;
  };
  for (skip(true); i < s.size(); skip(true)) {
    if (limit >= 0 && static_cast<int64_t>(words.size()) >= limit) {
      words.push_back(strip(text.sub(i, s.size()), Side::kRight));
      break;
    }
    const size_t begin = i;
    skip(false);
    words.push_back(text.sub(begin, i));
  }
  return words;
}

std::vector<Text> split(const Text& text, std::string_view separator, int64_t limit) {
  std::vector<Text> parts;
  size_t begin = 0;
  while (limit < 0 || static_cast<int64_t>(parts.size()) < limit) {
    const size_t at = text.bytes.find(separator, begin);
    if (at == std::string::npos) break;
    parts.push_back(text.sub(begin, at));
    begin = at + separator.size();
  }
  parts.push_back(text.sub(begin, text.bytes.size()));
  return parts;
}

std::vector<Text> split_right(const Text& text, std::string_view separator, int64_t limit) {
  std::vector<Text> parts;
  size_t end = text.bytes.size();
  while (limit < 0 || static_cast<int64_t>(parts.size()) < limit) {
    if (end < separator.size()) break;
    const size_t at = text.bytes.rfind(separator, end - separator.size());
    if (at == std::string::npos) break;
    parts.push_back(text.sub(at + separator.size(), end));
    end = at;
  }
  parts.push_back(text.sub(0, end));
  std::reverse(parts.begin(), parts.end());
  return parts;
}

namespace {

// Places where `old` stands, left to right; an empty one stands before each code point and at the end.
template <class F>
void each_match(const Text& text, std::string_view old, int64_t limit, F f) {
  const std::string_view s = text.bytes;
  for (size_t at = 0; limit != 0 && at <= s.size(); --limit) {
    const size_t found = s.find(old, at);
    if (found == std::string_view::npos) return;
    f(found);
    if (!old.empty()) {
      at = found + old.size();
    } else if (found < s.size()) {
      size_t length = 0;
      code_point_at(s, found, length);
      at = found + length;
    } else {
      return;
    }
  }
}

}  // namespace

size_t replaced_size(const Text& text, std::string_view old, size_t fresh, int64_t limit) {
  size_t matches = 0;
  each_match(text, old, limit, [&](size_t) { ++matches; });
  return text.bytes.size() - matches * old.size() + matches * fresh;
}

Text replace(const Text& text, std::string_view old, const Text& fresh, int64_t limit) {
  Text out;
  size_t begin = 0;
  each_match(text, old, limit, [&](size_t at) {
    out.append(text.sub(begin, at));
    out.append(fresh);
    begin = at + old.size();
  });
  out.append(text.sub(begin, text.bytes.size()));
  return out;
}

std::string quote(std::string_view s) {
  const char mark =
      s.find('\'') != std::string_view::npos && s.find('"') == std::string_view::npos ? '"' : '\'';
  std::string out(1, mark);
  for (size_t i = 0, length = 0; i < s.size(); i += length) {
    const uint32_t c = code_point_at(s, i, length);
    const int8_t category = u_charType(static_cast<UChar32>(c));
    const bool printable = c == ' ' || !(category == U_UNASSIGNED || category == U_CONTROL_CHAR ||
                                         category == U_FORMAT_CHAR || category == U_SURROGATE ||
                                         category == U_PRIVATE_USE_CHAR || category == U_SPACE_SEPARATOR ||
                                         category == U_LINE_SEPARATOR || category == U_PARAGRAPH_SEPARATOR);
    if (c == '\n')
      out += "\\n";
    else if (c == '\r')
      out += "\\r";
    else if (c == '\t')
      out += "\\t";
    else if (c == '\\' || c == static_cast<uint32_t>(mark))
      (out += '\\') += static_cast<char>(c);
    else if (printable)
      out += s.substr(i, length);
    else if (c < 0x100)
      out += fmt::format("\\x{:02x}", c);
    else if (c < 0x10000)
      out += fmt::format("\\u{:04x}", c);
    else
      out += fmt::format("\\U{:08x}", c);
  }
  return out + mark;
}

std::string float_text(double x) {
  if (std::isnan(x)) return "nan";
  if (std::isinf(x)) return x > 0 ? "inf" : "-inf";
  const double size = std::fabs(x);
  char buffer[400];
  const bool exponent = size != 0 && (size < 1e-4 || size >= 1e16);
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), x,
                                 exponent ? std::chars_format::scientific : std::chars_format::fixed)
                       .ptr;
  std::string out(buffer, end);
  if (!exponent && out.find('.') == std::string::npos) out += ".0";
  return out;
}

}  // namespace tumbler::jinja
