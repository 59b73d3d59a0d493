#include "text/code_points.h"

#include <array>
#include <memory>

#include <unicode/uchar.h>

namespace tumbler::text {
namespace {

// datatrove's PUNCTUATION beyond ASCII, where it is all of !"#$%&'()*+,-./:;<=>?@[\]^_`{|}~ and the controls
// except \n.
constexpr char32_t kPunctuationMarks[] = {
    0xab,   0xb4,   0xbb,   0x2013, 0x2014, 0x2019, 0x201c, 0x201d, 0x201e, 0x2026, 0x2236, 0x2501,
    0x25ba, 0x3001, 0x3002, 0x3008, 0x3009, 0x300a, 0x300b, 0x300c, 0x300d, 0x3010, 0x3011, 0xff01,
    0xff05, 0xff08, 0xff09, 0xff0c, 0xff0e, 0xff11, 0xff1a, 0xff1b, 0xff1f, 0xff5e};

bool python_space(char32_t c) {
  return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
         c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

bool in_punctuation(char32_t c) {
  if (c < 0xa0) return true;
  for (const char32_t mark : kPunctuationMarks)
    if (mark == c) return true;
  return false;
}

uint8_t compute_classes(char32_t c) {
  if (c < 0x80) return ascii_classes(static_cast<unsigned char>(c));
  const auto u = static_cast<UChar32>(c);
  uint8_t out = 0;
  switch (u_charType(u)) {
    case U_UPPERCASE_LETTER:
    case U_TITLECASE_LETTER:
      out |= kAlpha | kUpper;
      break;
    case U_LOWERCASE_LETTER:
      out |= kAlpha | kLower;
      break;
    case U_MODIFIER_LETTER:
    case U_OTHER_LETTER:
      out |= kAlpha;
      break;
    case U_DECIMAL_DIGIT_NUMBER:
      out |= kDigit;
      break;
    case U_NON_SPACING_MARK:
      out |= kNonspacing;
      break;
    default:
      break;
  }
  if (python_space(c)) out |= kSpace;
  if (in_punctuation(c)) out |= kPunctuation;
  if (u_hasBinaryProperty(u, UCHAR_S_TERM) || (c >= 0x17d4 && c <= 0x17d6) || c == 0x17d9 || c == 0x17da)
    out |= kTerminal;
  return out;
}

using Table = std::array<uint8_t, 0x10000>;

// The Basic Multilingual Plane, filled once (about 10 ms); the other planes are rare and asked of ICU each
// time.
const Table& bmp() {
  static const std::unique_ptr<const Table> table = [] {
    auto made = std::make_unique<Table>();
    for (char32_t c = 0; c < 0x10000; ++c) (*made)[c] = compute_classes(c);
    return made;
  }();
  return *table;
}

}  // namespace

uint8_t classes_of(char32_t c) {
  if (c < 0x80) return kAsciiClasses[c];
  if (c < 0x10000) return bmp()[c];
  return c < 0x110000 ? compute_classes(c) : uint8_t{0};
}

char32_t next_code_point(std::string_view text, size_t& i) {
  const auto* s = reinterpret_cast<const unsigned char*>(text.data());
  const size_t left = text.size() - i;
  const unsigned char lead = s[i];
  if (lead < 0x80) return s[i++];
  const auto tail = [&](size_t k) { return static_cast<char32_t>(s[i + k] & 0x3f); };
  const auto is_tail = [&](size_t k) { return (s[i + k] & 0xc0) == 0x80; };
  char32_t c = 0xfffd;
  size_t size = 1;
  if (lead >= 0xc2 && lead < 0xe0 && left >= 2 && is_tail(1)) {
    c = static_cast<char32_t>(lead & 0x1f) << 6 | tail(1);
    size = 2;
  } else if (lead >= 0xe0 && lead < 0xf0 && left >= 3 && is_tail(1) && is_tail(2)) {
    const char32_t got = static_cast<char32_t>(lead & 0x0f) << 12 | tail(1) << 6 | tail(2);
    if (got >= 0x800 && (got < 0xd800 || got > 0xdfff)) c = got, size = 3;
  } else if (lead >= 0xf0 && lead < 0xf5 && left >= 4 && is_tail(1) && is_tail(2) && is_tail(3)) {
    const char32_t got = static_cast<char32_t>(lead & 0x07) << 18 | tail(1) << 12 | tail(2) << 6 | tail(3);
    if (got >= 0x10000 && got < 0x110000) c = got, size = 4;
  }
  i += size;
  return c;
}

char32_t last_code_point(std::string_view text, size_t& start) {
  start = text.size() - 1;
  for (int back = 0; back < 3 && start > 0 && (static_cast<unsigned char>(text[start]) & 0xc0) == 0x80;
       ++back)
    --start;
  size_t end = start;
  const char32_t c = next_code_point(text, end);
  if (end == text.size()) return c;
  start = text.size() - 1;
  return 0xfffd;
}

void append_utf8(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xc0 | c >> 6);
    out += static_cast<char>(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xe0 | c >> 12);
    out += static_cast<char>(0x80 | (c >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (c & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | c >> 18);
    out += static_cast<char>(0x80 | (c >> 12 & 0x3f));
    out += static_cast<char>(0x80 | (c >> 6 & 0x3f));
    out += static_cast<char>(0x80 | (c & 0x3f));
  }
}

int64_t count_code_points(std::string_view text) {
  int64_t count = 0;
  for (const char c : text) count += static_cast<signed char>(c) > static_cast<signed char>(0xbf);
  return count;
}

bool is_ascii(std::string_view text) {
  unsigned char all = 0;
  for (const char c : text) all |= static_cast<unsigned char>(c);
  return all < 0x80;
}

std::string_view strip_left(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    size_t next = i;
    if ((classes_of(next_code_point(text, next)) & kSpace) == 0) break;
    i = next;
  }
  return text.substr(i);
}

std::string_view strip_right(std::string_view text) {
  while (!text.empty()) {
    size_t start = 0;
    if ((classes_of(last_code_point(text, start)) & kSpace) == 0) break;
    text = text.substr(0, start);
  }
  return text;
}

std::string_view strip(std::string_view text) {
  return strip_right(strip_left(text));
}

size_t detail::line_end_bytes(std::string_view text, size_t i) {
  const auto c = static_cast<unsigned char>(text[i]);
  if (c == '\r') return i + 1 < text.size() && text[i + 1] == '\n' ? 2 : 1;
  if (c < 0x80) return 1;
  const std::string_view rest = text.substr(i);
  if (rest.starts_with("\xc2\x85")) return 2;
  if (rest.starts_with("\xe2\x80\xa8") || rest.starts_with("\xe2\x80\xa9")) return 3;
  return 0;
}

}  // namespace tumbler::text
