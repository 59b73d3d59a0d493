// Writes src/tokens/unicode_tables.cc from ICU's property data. Run by hand when the Unicode version is to
// change, never by the build: the tables decide what a tokenizer gives, so they must not depend on the
// machine that builds.
//
//   g++ -std=c++20 -Isrc tools/make_unicode_tables.cc -o /tmp/make_unicode_tables $(pkg-config --libs icu-uc)
//   /tmp/make_unicode_tables > src/tokens/unicode_tables.cc
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include <unicode/uchar.h>
#include <unicode/uversion.h>

#include "tokens/unicode_tables.h"

namespace {

using tumbler::tokens::CharClass;

CharClass class_of(UChar32 c) {
  if (c == '\r' || c == '\n') return CharClass::kNewline;
  if (u_hasBinaryProperty(c, UCHAR_WHITE_SPACE)) return CharClass::kSpace;
  switch (u_charType(c)) {
    case U_UPPERCASE_LETTER:
    case U_TITLECASE_LETTER:
      return CharClass::kUpper;
    case U_LOWERCASE_LETTER:
      return CharClass::kLower;
    case U_MODIFIER_LETTER:
    case U_OTHER_LETTER:
      return CharClass::kLetter;
    case U_NON_SPACING_MARK:
    case U_ENCLOSING_MARK:
    case U_COMBINING_SPACING_MARK:
      return CharClass::kMark;
    case U_DECIMAL_DIGIT_NUMBER:
    case U_LETTER_NUMBER:
    case U_OTHER_NUMBER:
      return CharClass::kNumber;
    default:
      return CharClass::kOther;
  }
}

}  // namespace

int main() {
  std::map<std::string, int> known;
  std::vector<std::string> blocks;
  std::vector<int> stage1;
  for (UChar32 first = 0; first < 0x110000; first += tumbler::tokens::kUnicodeBlock) {
    std::string block;
    for (int i = 0; i < tumbler::tokens::kUnicodeBlock; ++i)
      block += static_cast<char>('0' + static_cast<int>(class_of(first + i)));
    const auto [found, added] = known.try_emplace(block, static_cast<int>(blocks.size()));
    if (added) blocks.push_back(block);
    stage1.push_back(found->second);
  }
  if (blocks.size() > 256) return std::fprintf(stderr, "%zu blocks do not fit uint8_t\n", blocks.size()), 1;

  std::puts(
      "// Made by tools/make_unicode_tables.cc from ICU's data; do not edit.\n// clang-format off\n"
      "#include \"tokens/unicode_tables.h\"\n\nnamespace tumbler::tokens {\n");
  std::printf("const char kUnicodeVersion[] = \"%s\";\n\n", U_UNICODE_VERSION);
  std::printf("const uint8_t kUnicodeStage1[kUnicodeBlocks] = {");
  for (size_t i = 0; i < stage1.size(); ++i) std::printf("%s%d,", i % 64 == 0 ? "\n" : "", stage1[i]);
  std::puts(
      "\n};\n\n// One line a block: a digit, the CharClass, for each code point.\nconst char "
      "kUnicodeStage2[] =");
  for (const std::string& block : blocks) std::printf("\"%s\"\n", block.c_str());
  std::puts(";\n\n}  // namespace tumbler::tokens");
}
