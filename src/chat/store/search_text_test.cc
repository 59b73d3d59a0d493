#include "chat/store/search_text.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/rng.h"

namespace tumbler::chat {
namespace {

std::string folded(std::string_view text) {
  std::string out;
  append_chars(fold_text(text).chars, out);
  return out;
}

bool finds(std::string_view query, std::string_view text) {
  return SearchQuery(query).find(fold_text(text)).has_value();
}

TEST(SearchText, FoldsWhatPeopleDoNotTypeTheSameWay) {
  EXPECT_EQ(folded("  Ein \t\n  Wort "), "ein wort");
  EXPECT_EQ(folded("Café CAFE\xCC\x81 ÅNGSTRÖM"), "cafe cafe angstrom");
  EXPECT_EQ(folded("ΏΡΑ Ёж ЙОД"), "ωρα ёж йод") << "letters of their own in Russian";
  EXPECT_EQ(folded("ＡＢＣ　１２"), "abc 12");
  EXPECT_EQ(folded("“it’s”"), "\"it's\"");
  EXPECT_EQ(folded("soft\xC2\xADhyphen"), "softhyphen");
  EXPECT_EQ(folded(std::string_view("a\0b\xFF", 4)), "a b\xEF\xBF\xBD");
  EXPECT_EQ(folded(""), "");
  EXPECT_EQ(folded(" \n"), "");
}

TEST(SearchText, EveryWordHasToBeThere) {
  EXPECT_TRUE(finds("fox brown", "The quick brown fox"));
  EXPECT_FALSE(finds("fox green", "The quick brown fox"));
  EXPECT_TRUE(finds("uic", "The quick brown fox")) << "within a word";
  EXPECT_TRUE(finds("qu", "The quick brown fox")) << "shorter ones where a word begins";
  EXPECT_FALSE(finds("ui", "The quick brown fox"));
  EXPECT_TRUE(finds("\"quick brown\"", "The quick\n brown fox"));
  EXPECT_FALSE(finds("\"brown quick\"", "The quick brown fox"));
  EXPECT_TRUE(finds("print(\"x\")", "print(\"x\");")) << "quotes within a word are characters";
  EXPECT_TRUE(finds("\"unclosed", "an \"unclosed one"));
  EXPECT_TRUE(finds("C++", "in C++ and"));
  EXPECT_TRUE(finds("::", "std::vector"));
  EXPECT_TRUE(finds("北京", "我住在北京市"));
  EXPECT_TRUE(finds("京", "我住在北京市"));
  EXPECT_TRUE(finds("ที่", "อยู่ที่นี่")) << "Thai has no blanks";
  EXPECT_TRUE(SearchQuery(" \n").empty());
  EXPECT_TRUE(SearchQuery("\xCC\x81").empty());
}

// Whatever find() finds has all the grams that the index is asked for.
TEST(SearchText, TheIndexHasAllThatIsFound) {
  const std::vector<std::string> parts = {
      "a", "b", "C", "é", " ", "\n", "\"", ".", "::", "石", "头", "の", "ย", "1", "ab", "foo", "ПР"};
  Rng rng(5, 0);
  const auto random_text = [&](uint64_t most) {
    std::string out;
    for (uint64_t n = rng.below(most); n > 0; --n) out += parts[rng.below(parts.size())];
    return out;
  };
  int found = 0;
  for (int round = 0; round < 20'000; ++round) {
    const std::string text = random_text(40);
    const SearchQuery query(random_text(7));
    if (query.empty() || !query.find(fold_text(text))) continue;
    ++found;
    std::string grams;
    for_grams(fold_text(text), [&](std::string_view gram) { grams += fmt::format("<{}>", gram); });
    // "\"foo\" AND \"b\"\"\"": the strings of the query.
    const std::string asked = query.fts5();
    for (size_t at = 1; at < asked.size();) {
      std::string gram;
      for (; asked[at] != '"' || asked[at + 1] == '"'; ++at) {
        at += asked[at] == '"' ? 1 : 0;
        gram += asked[at];
      }
      EXPECT_NE(grams.find(fmt::format("<{}>", gram)), std::string::npos) << asked << " in " << text;
      at += std::string_view("\" AND \"").size();
    }
  }
  EXPECT_GT(found, 1000);
}

TEST(SearchText, ASnippetIsALineAroundTheWord) {
  const std::string text = std::string(100, 'x') + " é\n\n石头 needle " + std::string(200, 'y');
  const FoldedText folded_text = fold_text(text);
  const size_t at = *SearchQuery("NEEDLE").find(folded_text);
  const std::string out = snippet(text, folded_text, at);
  EXPECT_NE(out.find("x é 石头 needle y"), std::string::npos) << out;
  EXPECT_TRUE(out.starts_with("…x") && out.ends_with("y…")) << out;
  EXPECT_EQ(snippet("short one", fold_text("short one"), 6), "short one");
}

}  // namespace
}  // namespace tumbler::chat
