// The state machines against PCRE2 (JIT, UTF and UCP) running the very regular expressions that tokenizer
// files spell out.
#include "tokens/splitter.h"

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/rng.h"
#include "io/file.h"
#include "tokens/unicode_tables.h"

namespace tumbler::tokens {
namespace {

constexpr Pattern kAll[] = {Pattern::kGpt2,  Pattern::kDigits, Pattern::kCl100k, Pattern::kLlama3,
                            Pattern::kQwen2, Pattern::kQwen35, Pattern::kO200k,  Pattern::kTekken};

class Oracle {
 public:
  explicit Oracle(Pattern pattern) {
    const std::string_view regex = pattern_regex(pattern);
    int error = 0;
    size_t where = 0;
    code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(regex.data()), regex.size(), PCRE2_UTF | PCRE2_UCP,
                              &error, &where, nullptr));
    if (!code_) throw std::runtime_error("pcre2 does not compile the pattern");
    pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE);
    match_.reset(pcre2_match_data_create_from_pattern(code_.get(), nullptr));
  }
  std::vector<std::string_view> split(std::string_view text) {
    std::vector<std::string_view> pieces;
    for (size_t at = 0; at < text.size();) {
      const int rc = pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), at,
                                 PCRE2_NO_UTF_CHECK, match_.get(), nullptr);
      const size_t* span = pcre2_get_ovector_pointer(match_.get());
      if (rc < 1 || span[0] != at || span[1] <= at)
        throw std::runtime_error("pcre2 left text between pieces");
      pieces.push_back(text.substr(at, span[1] - at));
      at = span[1];
    }
    return pieces;
  }

 private:
  struct Free {
    void operator()(pcre2_code* c) const { pcre2_code_free(c); }
    void operator()(pcre2_match_data* m) const { pcre2_match_data_free(m); }
  };
  std::unique_ptr<pcre2_code, Free> code_;
  std::unique_ptr<pcre2_match_data, Free> match_;
};

void append(std::string& s, uint32_t c) {
  if (c < 0x80) {
    s += static_cast<char>(c);
    return;
  }
  if (c >= 0x10000) {
    s += static_cast<char>(0xF0 | c >> 18);
    s += static_cast<char>(0x80 | (c >> 12 & 63));
  } else if (c >= 0x800) {
    s += static_cast<char>(0xE0 | c >> 12);
  } else {
    s += static_cast<char>(0xC0 | c >> 6);
  }
  if (c >= 0x800) s += static_cast<char>(0x80 | (c >> 6 & 63));
  s += static_cast<char>(0x80 | (c & 63));
}

// The class PCRE2 itself gives a code point, by the properties that the patterns use.
class PcreClass {
 public:
  CharClass operator()(uint32_t c) {
    std::string s;
    append(s, c);
    for (const auto& [regex, value] : kProperties) {
      auto& code = codes_[static_cast<size_t>(value)];
      if (!code) {
        int error = 0;
        size_t where = 0;
        code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(regex), PCRE2_ZERO_TERMINATED,
                             PCRE2_UTF | PCRE2_UCP, &error, &where, nullptr);
        match_ = match_ ? match_ : pcre2_match_data_create(4, nullptr);
      }
      if (pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(s.data()), s.size(), 0, PCRE2_ANCHORED, match_,
                      nullptr) > 0)
        return value;
    }
    return CharClass::kOther;
  }
  ~PcreClass() {
    for (pcre2_code* code : codes_) pcre2_code_free(code);
    pcre2_match_data_free(match_);
  }

 private:
  static constexpr std::pair<const char*, CharClass> kProperties[] = {
      {"[\\r\\n]", CharClass::kNewline},       {"\\s", CharClass::kSpace},
      {"[\\p{Lu}\\p{Lt}]", CharClass::kUpper}, {"\\p{Ll}", CharClass::kLower},
      {"\\p{L}", CharClass::kLetter},          {"\\p{M}", CharClass::kMark},
      {"\\p{N}", CharClass::kNumber}};
  pcre2_code* codes_[8] = {};
  pcre2_match_data* match_ = nullptr;
};

// Code points on which PCRE2's Unicode (14 in 10.42) and our tables agree; the others are explained in the
// first test.
const std::vector<bool>& agreed() {
  static const std::vector<bool> table = [] {
    std::vector<bool> same(0x110000);
    PcreClass pcre;
    for (uint32_t c = 0; c < 0x110000; ++c)
      same[c] = !(c >= 0xD800 && c < 0xE000) && pcre(c) == char_class(c);
    return same;
  }();
  return table;
}

std::string show(const std::vector<std::string_view>& pieces) {
  std::string out;
  for (const std::string_view piece : pieces) out += "[" + std::string(piece) + "]";
  return out;
}

void expect_same(Pattern pattern, Oracle& oracle, const std::string& text) {
  const auto got = split(pattern, text), want = oracle.split(text);
  if (got == want) return;
  size_t i = 0;  // the first piece that differs, and the one before it
  while (i < got.size() && i < want.size() && got[i] == want[i]) ++i;
  const auto part = [&](const auto& v) {
    return show({v.begin() + static_cast<ptrdiff_t>(std::min(i, v.size())),
                 v.begin() + static_cast<ptrdiff_t>(std::min(i + 4, v.size()))});
  };
  FAIL() << pattern_name(pattern) << ": got " << part(got) << ", expected " << part(want);
}

// PCRE2 10.42 has Unicode 14, the tables Unicode 15: what differs must have been unassigned in 14. The one
// other difference is U+180E, which PCRE2's \s takes as white space although Unicode 6.3 removed it.
TEST(SplitterOracle, DiffersFromPcre2OnlyWhereUnicode15AddedCharacters) {
  std::vector<uint32_t> different;
  for (uint32_t c = 0; c < 0x110000; ++c)
    if (!(c >= 0xD800 && c < 0xE000) && !agreed()[c]) different.push_back(c);
  PcreClass pcre;
  for (const uint32_t c : different) {
    if (c == 0x180E) continue;
    EXPECT_EQ(pcre(c), CharClass::kOther) << std::hex << c;  // \p{Cn} in Unicode 14
    EXPECT_NE(char_class(c), CharClass::kOther) << std::hex << c;
  }
  int error = 0;
  size_t where = 0;
  pcre2_code* unassigned = pcre2_compile(reinterpret_cast<PCRE2_SPTR>("\\p{Cn}"), PCRE2_ZERO_TERMINATED,
                                         PCRE2_UTF, &error, &where, nullptr);
  pcre2_match_data* match = pcre2_match_data_create(4, nullptr);
  for (const uint32_t c : different) {
    std::string s;
    append(s, c);
    if (c == 0x180E) continue;
    EXPECT_GT(pcre2_match(unassigned, reinterpret_cast<PCRE2_SPTR>(s.data()), s.size(), 0, 0, match, nullptr),
              0)
        << std::hex << c;
  }
  pcre2_match_data_free(match);
  pcre2_code_free(unassigned);
}

const char* const kTraps[] = {
    "",
    " ",
    "a",
    "\n",
    "  a",
    "   a",
    "\t\ta",
    " \xC2\xA0 a",
    "a  ",
    "a \n",
    "a\n  ",
    "\n  ",
    "  \n \n x",
    "  \n \n",
    "\r\n\r\n  x",
    "x\r\n\ty",
    "don't",
    "DON'T",
    "'start",
    "'S",
    "'ll'LL've'Ve're",
    "it'\xC5\xBF",
    "'\xC5\xBF x",
    "we'd'ja",
    "''s",
    " 's",
    "x's's",
    "'",
    "a'",
    "'l",
    "'v ",
    "123456",
    "1 2",
    " 12",
    "a1b22",
    "\xC2\xBD\xE2\x85\xA7 3",
    "1,234.56",
    "  123",
    "\t1",
    "x  1",
    "x \n 1",
    "a  1",
    "e\xCC\x81t\xC3\xA9",
    "\xCC\x81"
    "abc",
    "\xCC\x81"
    "ABC",
    "\xCC\x81\xCC\x81"
    "ABC",
    " \xCC\x81"
    "A",
    "\xCC\x81",
    "\xCC\x81's",
    "A\xCC\x81"
    "BC",
    "\xE0\xA4\xB9\xE0\xA4\xBF\xE0\xA4\xA8\xE0\xA5\x8D\xE0\xA4\xA6\xE0\xA5\x80",
    "\xE0\xB8\xA0\xE0\xB8\xB2\xE0\xB8\xA9\xE0\xB8\xB2",
    "HTMLParser",
    "fooBar",
    "FooBAR's",
    "XMLHttp",
    "ABC",
    "aBC",
    "\xC7\x85x",
    "A\xE4\xB8\xAD"
    "B",
    "\xE4\xB8\xAD"
    "AB",
    "A\xE4\xB8\xAD"
    "BC\xE4\xB8\xAD",
    "\xE4\xB8\xAD\xE6\x96\x87x",
    "!!!\n\n",
    "!\n/\n",
    " //\n",
    "a/b/c",
    "///",
    "!?\r\n x",
    " .",
    " .\n",
    "$x",
    "(a)",
    "\ta",
    "\t a",
    "\xC2\xA0"
    "a",
    "\xE2\x80\xA8"
    "a",
    "\xF0\x9F\x98\x80 \xF0\x9F\x87\xAB\xF0\x9F\x87\xB7",
    "\x1C"
    "a",
    "\x0B"
    "a",
    "\x85",
    "  \xE3\x80\x80  x",
    "for (int i = 0; i < 10; ++i) {\n    f(i);\n}\n",
    "\xEF\xBB\xBF"
    "bom",
    "a\xE2\x80\x8D"
    "b",
};

TEST(SplitterOracle, Traps) {
  for (const Pattern pattern : kAll) {
    Oracle oracle(pattern);
    for (const std::string text : kTraps) {
      if (text == "\x85") continue;  // not UTF-8: SplitterBytes
      expect_same(pattern, oracle, text);
      expect_same(pattern, oracle, "x" + text);
      expect_same(pattern, oracle, text + " y");
      expect_same(pattern, oracle, text + text);
    }
  }
}

std::string random_text(Rng& rng, size_t characters) {
  static constexpr uint32_t kPool[] = {
      ' ',   ' ',   ' ',    '\n', '\r',   '\t',   '\'',   '\'',    's',    'S',    't',   'l',  'L',
      'v',   'e',   'r',    'd',  'm',    'A',    'Z',    'a',     'z',    '0',    '9',   '/',  '.',
      '@',   '[',   '`',    '{',  '\x7F', 0xA0,   0x2028, 0x3000,  0x301,  0x20DD, 0x17F, 0xE9, 0xC9,
      0x1C5, 0x2B0, 0x4E2D, 0xAA, 0xBD,   0x2167, 0x663,  0x1F600, 0x200D, 0x85};
  std::string text;
  for (size_t i = 0; i < characters; ++i) {
    uint32_t c = kPool[rng.below(std::size(kPool))];
    if (rng.below(16) == 0) c = static_cast<uint32_t>(rng.below(rng.below(2) ? 0x3000 : 0x110000));
    if (!agreed()[c]) continue;
    for (uint64_t n = rng.below(8) == 0 ? rng.below(12) : 1; n-- > 0;) append(text, c);
  }
  return text;
}

TEST(SplitterOracle, RandomText) {
  for (const Pattern pattern : kAll) {
    Oracle oracle(pattern);
    Rng rng(7, static_cast<uint64_t>(pattern));
    for (int i = 0; i < 20000 && !testing::Test::HasFatalFailure(); ++i)
      expect_same(pattern, oracle, random_text(rng, 1 + rng.below(24)));
  }
}

std::string valid_part(const std::string& text) {  // what PCRE2 may be given, and agrees about
  std::string out;
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = decode_utf8(text.data(), text.size(), i);
    if (c.value != CodePoint::kInvalid && agreed()[c.value]) out.append(text, i, c.length);
    i += c.length;
  }
  return out;
}

TEST(SlowSplitterOracle, RealText) {
  const char* data = std::getenv("TUMBLER_TEST_DATA");
  const std::filesystem::path root =
      data ? std::filesystem::path(data) : std::filesystem::path(TUMBLER_SOURCE_DIR) / "../shared/data";
  std::vector<std::filesystem::path> files;
  for (const char* pattern : {"text-*/*", "langid-tatoeba/*", "html-trafilatura-eval/*", "qa-factbook/*"})
    for (const auto& path : io::glob((root / pattern).string())) files.push_back(path);
  if (files.empty()) GTEST_SKIP() << "no test data in " << root << " (set TUMBLER_TEST_DATA)";
  for (const auto& path : files) {
    if (!std::filesystem::is_regular_file(path)) continue;
    std::string text = valid_part(io::read_file(path));
    text.resize(std::min(text.size(), find_safe_cut(text, 3 << 20)));
    for (const Pattern pattern : kAll) {
      Oracle oracle(pattern);
      expect_same(pattern, oracle, text);
    }
  }
}

TEST(SplitterBytes, PiecesCoverAnyBytes) {
  Rng rng(11);
  for (int i = 0; i < 2000; ++i) {
    std::string text(rng.below(64), '\0');
    for (char& c : text) c = static_cast<char>(rng.below(256));
    for (const Pattern pattern : kAll) {
      std::string joined;
      for (const std::string_view piece : split(pattern, text)) {
        EXPECT_FALSE(piece.empty());
        joined += piece;
      }
      EXPECT_EQ(joined, text);
    }
  }
}

TEST(SplitterBytes, BadByteIsPunctuation) {
  EXPECT_EQ(show(split(Pattern::kQwen2,
                       "ab\xFF"
                       "cd")),
            "[ab][\xFF"
            "cd]");
  EXPECT_EQ(show(split(Pattern::kGpt2, "ab\xFF\xFE!cd")), "[ab][\xFF\xFE!][cd]");
  EXPECT_EQ(show(split(Pattern::kGpt2, "a\xE4\xB8")), "[a][\xE4\xB8]");
}

TEST(SplitterPatterns, NamesAndRegexesComeBack) {
  for (const Pattern pattern : kAll) {
    EXPECT_EQ(find_pattern(pattern_name(pattern)), pattern);
    EXPECT_EQ(find_pattern_by_regex(pattern_regex(pattern)), pattern);
  }
  EXPECT_EQ(find_pattern("none"), std::nullopt);
  EXPECT_EQ(find_pattern_by_regex("\\s+"), std::nullopt);
}

// Long runs of one class must not be quadratic: a quadratic splitter takes minutes on these and meets the
// test's time limit.
TEST(SplitterSpeed, LongRuns) {
  for (const std::string unit :
       {"a", "A", " ", "\n", "1", "!", "\xCC\x81", "\xE4\xB8\xAD", "A\xE4\xB8\xAD", " \n", "'s", "\xFF"}) {
    std::string text;
    while (text.size() < 1000000) text += unit;
    for (const Pattern pattern : kAll) {
      size_t bytes = 0;
      for (const std::string_view piece : split(pattern, text + "x")) bytes += piece.size();
      EXPECT_EQ(bytes, text.size() + 1);
    }
  }
}

TEST(SafeCut, PartsGiveTheSamePiecesAsTheWhole) {
  Rng rng(5);
  int cuts = 0;
  for (int i = 0; i < 5000; ++i) {
    const std::string text = random_text(rng, 40) + (i % 2 ? "y\nx" : "!\nx") + random_text(rng, 40);
    const size_t cut = find_safe_cut(text, rng.below(text.size()));
    if (cut == text.size()) continue;
    ++cuts;
    for (const Pattern pattern : kAll) {
      auto parts = split(pattern, std::string_view(text).substr(0, cut));
      for (const std::string_view piece : split(pattern, std::string_view(text).substr(cut)))
        parts.push_back(piece);
      ASSERT_EQ(parts, split(pattern, text)) << pattern_name(pattern);
    }
  }
  EXPECT_GT(cuts, 1000);
}

}  // namespace
}  // namespace tumbler::tokens
