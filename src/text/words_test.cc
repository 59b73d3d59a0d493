#include "text/words.h"

#include <string>

#include <gtest/gtest.h>

namespace tumbler::text {
namespace {

std::string joined(std::string_view text, WordStyle style) {
  std::vector<Word> words;
  split_words(text, style, words);
  std::string out;
  for (const Word& word : words) out += (out.empty() ? "" : "|") + std::string(word.text);
  return out;
}

// Expected values: nltk 3.9.1 word_tokenize.
TEST(Words, NltkRules) {
  const auto nltk = [](std::string_view text) { return joined(text, WordStyle::kNltk); };
  EXPECT_EQ(nltk("Mr. Smith said \"hello\" to Dr. Jones. It can't be 3.5%... cannot. (Well-known) "
                 "http://a.b/c?d=e. The U.S. is."),
            "Mr.|Smith|said|``|hello|''|to|Dr.|Jones|.|It|ca|n't|be|3.5|%|...|can|not|.|(|Well-known|)|http|:"
            "|//a.b/c|?|d=e|.|The|U.S.|is|.");
  EXPECT_EQ(nltk("The dogs' owner's 'quoted' words -- and a---dash, 1,000:30"),
            "The|dogs|'|owner|'s|'quoted|'|words|--|and|a|--|-dash|,|1,000:30");
  EXPECT_EQ(nltk("don\xe2\x80\x99t \xe2\x80\x9cstop\xe2\x80\x9d"),
            "don|\xe2\x80\x99|t|\xe2\x80\x9c|stop|\xe2\x80\x9d");
  EXPECT_EQ(nltk("I'm gonna go; they'll see we've won"), "I|'m|gon|na|go|;|they|'ll|see|we|'ve|won");
}

TEST(Words, EdgesAndSizes) {
  for (const WordStyle style : {WordStyle::kNltk, WordStyle::kSpacy}) {
    EXPECT_EQ(joined("", style), "");
    EXPECT_EQ(joined(" \n\t\xc2\xa0\xe3\x80\x80 ", style), "");
    EXPECT_EQ(joined("word", style), "word");
    EXPECT_EQ(joined(std::string(1'000'000, 'a'), style).size(), 1'000'000u);
    EXPECT_EQ(count_sentences("", style), 0);
    EXPECT_EQ(count_sentences("no mark at the end", style), 1);
    EXPECT_EQ(count_sentences("One. Two! Three? Four", style), 4);
    std::vector<Word> words;
    split_words(std::string(100'000, '.') + std::string(100'000, '\'') + std::string(100'000, ')'), style,
                words);
    EXPECT_GT(words.size(), 0u);
    split_words("caf\xc3\xa9", style, words);
    ASSERT_EQ(words.size(), 1u);
    EXPECT_EQ(words[0].chars, 4u);
    split_words("\xff\xfe\xe2\x80", style, words);  // no UTF-8: no crash
  }
}

TEST(Words, SentencesOfNltk) {
  const auto n = [](std::string_view line) { return count_sentences(line, WordStyle::kNltk); };
  EXPECT_EQ(n("Mr. Smith met Dr. Jones in St. Louis."), 1);
  EXPECT_EQ(n("He saw the U.S. flag."), 1);
  EXPECT_EQ(n("It ended (at last.) Then it began."), 2);
  EXPECT_EQ(n("It was 5. then 6."), 1);
  EXPECT_EQ(n("Well... maybe so."), 1);
}

// Expected values: spaCy 3.8 blank("en").
TEST(Words, SpacyRules) {
  const auto spacy = [](std::string_view text) { return joined(text, WordStyle::kSpacy); };
  EXPECT_EQ(spacy("Hello, well-known (world)."), "Hello|,|well|-|known|(|world|)|.");
  EXPECT_EQ(spacy("don't I'm 5km $10 U.S. e.g. http://example.com/page"),
            "do|n't|I|'m|5|km|$|10|U.S.|e.g.|http://example.com/page");
}

}  // namespace
}  // namespace tumbler::text
