// Code points of UTF-8 views: decoding, classes, white space and lines, with the definitions that Python's
// str methods have, since FineWeb's thresholds were measured with those. Nothing is copied; bytes that are
// not UTF-8 count as U+FFFD each.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace tumbler::text {

enum CodePointClass : uint8_t {
  kAlpha = 1,         // general category L* (str.isalpha)
  kSpace = 2,         // str.isspace
  kDigit = 4,         // general category Nd (\d of a Unicode pattern)
  kPunctuation = 8,   // FineWeb's list of 129 marks and controls
  kTerminal = 16,     // ends a sentence in some script (Unicode's Sentence_Terminal and Khmer's five)
  kUpper = 32,        // Lu, Lt
  kLower = 64,        // Ll
  kNonspacing = 128,  // Mn: accents, which dedup ignores
};

// Classes of a code point, as a set of bits.
uint8_t classes_of(char32_t c);
// Classes of the 128 ASCII characters, for loops over bytes.
constexpr uint8_t ascii_classes(unsigned char c) {
  if (c >= '0' && c <= '9') return kDigit;
  if (c >= 'a' && c <= 'z') return kAlpha | kLower;
  if (c >= 'A' && c <= 'Z') return kAlpha | kUpper;
  uint8_t out = c == '\t' || c == '\n' || c == ' ' ? 0 : kPunctuation;
  if ((c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20)) out |= kSpace;
  if (c == '.' || c == '!' || c == '?') out |= kTerminal;
  return out;
}
inline constexpr std::array<uint8_t, 128> kAsciiClasses = [] {
  std::array<uint8_t, 128> table{};
  for (unsigned char c = 0; c < 128; ++c) table[c] = ascii_classes(c);
  return table;
}();

// The code point at text[i]; moves i behind it. i < text.size().
char32_t next_code_point(std::string_view text, size_t& i);
// The last code point of a text that is not empty; `start` becomes its first byte.
char32_t last_code_point(std::string_view text, size_t& start);
void append_utf8(std::string& out, char32_t c);

// Code points in valid UTF-8 (str's len).
int64_t count_code_points(std::string_view text);
bool is_ascii(std::string_view text);

std::string_view strip_left(std::string_view text);
std::string_view strip_right(std::string_view text);
std::string_view strip(std::string_view text);

// str.splitlines: calls visit(line) for each line, without its end. \n, \r\n, \r, \v, \f, U+001C-1E, U+0085,
// U+2028, U+2029 end lines; an end at the very end of the text opens no further line.
template <class Visit>
void for_each_line(std::string_view text, Visit&& visit);
// str.split(separator) for one byte: n separators give n + 1 pieces.
template <class Visit>
void for_each_piece(std::string_view text, char separator, Visit&& visit);
// str.split(): the runs between white space.
template <class Visit>
void for_each_run(std::string_view text, Visit&& visit);

// ----------------------------------------------------------------------------------------------------------------------------

namespace detail {
// Bytes of the line end that starts at text[i], or 0.
size_t line_end_bytes(std::string_view text, size_t i);
constexpr bool may_end_line(unsigned char c) {
  return (c >= 0x0a && c <= 0x0d) || (c >= 0x1c && c <= 0x1e) || c == 0xc2 || c == 0xe2;
}
}  // namespace detail

template <class Visit>
void for_each_line(std::string_view text, Visit&& visit) {
  size_t begin = 0;
  for (size_t i = 0; i < text.size();) {
    size_t end = 0;
    if (detail::may_end_line(static_cast<unsigned char>(text[i]))) end = detail::line_end_bytes(text, i);
    if (end == 0) {
      ++i;
      continue;
    }
    visit(text.substr(begin, i - begin));
    begin = i += end;
  }
  if (begin < text.size()) visit(text.substr(begin));
}

template <class Visit>
void for_each_piece(std::string_view text, char separator, Visit&& visit) {
  size_t begin = 0;
  for (size_t at; (at = text.find(separator, begin)) != std::string_view::npos; begin = at + 1)
    visit(text.substr(begin, at - begin));
  visit(text.substr(begin));
}

template <class Visit>
void for_each_run(std::string_view text, Visit&& visit) {
  size_t begin = std::string_view::npos;
  for (size_t i = 0; i < text.size();) {
    const size_t at = i;
    const auto byte = static_cast<unsigned char>(text[i]);
    const bool space = byte < 0x80 ? (++i, (kAsciiClasses[byte] & kSpace) != 0)
                                   : (classes_of(next_code_point(text, i)) & kSpace) != 0;
    if (space) {
      if (begin != std::string_view::npos) visit(text.substr(begin, at - begin));
      begin = std::string_view::npos;
    } else if (begin == std::string_view::npos) {
      begin = at;
    }
  }
  if (begin != std::string_view::npos) visit(text.substr(begin));
}

}  // namespace tumbler::text
