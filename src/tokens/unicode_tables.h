// Classes of code points, as the split patterns tell them apart; one fixed Unicode version on every machine.
#pragma once

#include <cstddef>
#include <cstdint>

namespace tumbler::tokens {

enum class CharClass : uint8_t {
  kOther,    // punctuation, symbols, controls, unassigned, and bytes that are not UTF-8
  kUpper,    // \p{Lu} \p{Lt}
  kLower,    // \p{Ll}
  kLetter,   // \p{Lm} \p{Lo}
  kMark,     // \p{M}
  kNumber,   // \p{N}
  kSpace,    // \p{White_Space} but \r and \n
  kNewline,  // \r \n
};

constexpr int kUnicodeBlock = 128;
constexpr int kUnicodeBlocks = 0x110000 / kUnicodeBlock;

extern const char kUnicodeVersion[];
extern const uint8_t kUnicodeStage1[kUnicodeBlocks];
extern const char kUnicodeStage2[];

// `code_point` < 0x110000.
inline CharClass char_class(uint32_t code_point) noexcept {
  const uint32_t block = kUnicodeStage1[code_point / kUnicodeBlock];
  return static_cast<CharClass>(kUnicodeStage2[block * kUnicodeBlock + code_point % kUnicodeBlock] & 7);
}

// A character at text[begin], begin < size: its code point and length. Bytes that are not the start of
// well-formed UTF-8 give kInvalid and length 1.
struct CodePoint {
  static constexpr uint32_t kInvalid = 0xFFFFFFFF;
  uint32_t value;
  uint32_t length;
};

// Well-formed sequences are those of Unicode 15, table 3-7: no overlong forms, no surrogates, nothing above
// 10FFFF.
inline CodePoint decode_utf8(const char* text, size_t size, size_t begin) noexcept {
  const auto* s = reinterpret_cast<const unsigned char*>(text) + begin;
  const size_t left = size - begin;
  const uint32_t a = s[0];
  if (a < 0x80) return {a, 1};
  const auto tail = [&](size_t i) { return (s[i] & 0xC0u) == 0x80u; };
  if (a >= 0xC2 && a <= 0xDF) {
    if (left >= 2 && tail(1)) return {(a & 0x1Fu) << 6 | (s[1] & 0x3Fu), 2};
  } else if ((a & 0xF0) == 0xE0) {
    if (left >= 3 && tail(1) && tail(2)) {
      const uint32_t c = (a & 0xFu) << 12 | (s[1] & 0x3Fu) << 6 | (s[2] & 0x3Fu);
      if (c >= 0x800 && (c < 0xD800 || c > 0xDFFF)) return {c, 3};
    }
  } else if (a >= 0xF0 && a <= 0xF4) {
    if (left >= 4 && tail(1) && tail(2) && tail(3)) {
      const uint32_t c = (a & 0x7u) << 18 | (s[1] & 0x3Fu) << 12 | (s[2] & 0x3Fu) << 6 | (s[3] & 0x3Fu);
      if (c >= 0x10000 && c <= 0x10FFFF) return {c, 4};
    }
  }
  return {CodePoint::kInvalid, 1};
}

}  // namespace tumbler::tokens
