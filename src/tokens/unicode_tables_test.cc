#include "tokens/unicode_tables.h"

#include <string>

#include <gtest/gtest.h>
#include <unicode/uchar.h>
#include <unicode/uversion.h>

namespace tumbler::tokens {
namespace {

CharClass icu_class(UChar32 c) {
  if (c == '\r' || c == '\n') return CharClass::kNewline;
  if (u_isUWhiteSpace(c)) return CharClass::kSpace;
  const uint32_t mask = U_GET_GC_MASK(c);
  if (mask & (U_GC_LU_MASK | U_GC_LT_MASK)) return CharClass::kUpper;
  if (mask & U_GC_LL_MASK) return CharClass::kLower;
  if (mask & (U_GC_LM_MASK | U_GC_LO_MASK)) return CharClass::kLetter;
  if (mask & U_GC_M_MASK) return CharClass::kMark;
  return mask & U_GC_N_MASK ? CharClass::kNumber : CharClass::kOther;
}

TEST(UnicodeTables, EveryAssignedCodePointHasIcusClass) {
  if (std::string(U_UNICODE_VERSION) != kUnicodeVersion)
    GTEST_SKIP() << "ICU has Unicode " << U_UNICODE_VERSION << ", the tables " << kUnicodeVersion;
  for (UChar32 c = 0; c < 0x110000; ++c)
    ASSERT_EQ(icu_class(c), char_class(static_cast<uint32_t>(c))) << std::hex << c;
}

TEST(UnicodeTables, KnownCharacters) {
  EXPECT_EQ(char_class(0x00BD), CharClass::kNumber);  // one half, No
  EXPECT_EQ(char_class(0x2167), CharClass::kNumber);  // roman eight, Nl
  EXPECT_EQ(char_class(0x0301), CharClass::kMark);    // combining acute
  EXPECT_EQ(char_class(0x00A0), CharClass::kSpace);   // no-break space
  EXPECT_EQ(char_class(0x0085), CharClass::kSpace);   // next line
  EXPECT_EQ(char_class(0x180E),
            CharClass::kOther);  // Mongolian vowel separator: no white space since Unicode 6.3
  EXPECT_EQ(char_class(0x001C), CharClass::kOther);   // white space for Python, not for Unicode
  EXPECT_EQ(char_class(0x01C5), CharClass::kUpper);   // Dž, title case
  EXPECT_EQ(char_class(0x4E2D), CharClass::kLetter);  // CJK
  EXPECT_EQ(char_class(0x10FFFF), CharClass::kOther);
}

TEST(DecodeUtf8, RefusesWhatIsNotWellFormed) {
  for (const std::string bad :
       {"\x80", "\xC0\x80", "\xC1\xBF", "\xC3", "\xE0\x80\x80", "\xED\xA0\x80", "\xE2\x82",
        "\xF0\x80\x80\x80", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF",
        "\xC3"
        "a"}) {
    const CodePoint c = decode_utf8(bad.data(), bad.size(), 0);
    EXPECT_EQ(c.value, CodePoint::kInvalid);
    EXPECT_EQ(c.length, 1u);
  }
}

TEST(DecodeUtf8, ReadsEveryScalarValue) {
  for (uint32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xD800 && c < 0xE000) continue;
    std::string s;
    if (c < 0x80)
      s = {static_cast<char>(c)};
    else if (c < 0x800)
      s = {static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 63))};
    else if (c < 0x10000)
      s = {static_cast<char>(0xE0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 63)),
           static_cast<char>(0x80 | (c & 63))};
    else
      s = {static_cast<char>(0xF0 | c >> 18), static_cast<char>(0x80 | (c >> 12 & 63)),
           static_cast<char>(0x80 | (c >> 6 & 63)), static_cast<char>(0x80 | (c & 63))};
    const CodePoint got = decode_utf8(s.data(), s.size(), 0);
    ASSERT_EQ(got.value, c);
    ASSERT_EQ(got.length, s.size());
  }
}

}  // namespace
}  // namespace tumbler::tokens
