#include "text/filters.h"

#include <gtest/gtest.h>

#include "base/config.h"
#include "base/error.h"
#include "text/document.h"
#include "text/pii.h"

namespace tumbler::text {
namespace {

std::string repeated(std::string_view piece, int64_t n) {
  std::string out;
  for (int64_t i = 0; i < n; ++i) out += piece;
  return out;
}

std::string reason_of(const std::optional<Reason>& reason) {
  return reason ? reason->code : "";
}

std::vector<Word> words_of(std::string_view text) {
  std::vector<Word> words;
  split_words(text, WordStyle::kNltk, words);
  return words;
}

std::string repetition(std::string_view text) {
  FilterScratch scratch;
  return reason_of(check_gopher_repetition(text, words_of(text), {}, scratch));
}
std::string quality(std::string_view text) {
  return reason_of(check_gopher_quality(text, words_of(text), {}));
}
std::string fineweb(std::string_view text, FinewebQualityOptions options = {}) {
  FilterScratch scratch;
  return reason_of(check_fineweb_quality(text, words_of(text), options, scratch));
}

// n different words of the given length, in sentences of ten.
std::string distinct_words(int n, int length = 5) {
  std::string out;
  for (int i = 0; i < n; ++i) {
    std::string word(static_cast<size_t>(length), 'a');
    for (int k = 0, left = i; k < length && left > 0; ++k, left /= 26)
      word[static_cast<size_t>(k)] = static_cast<char>('a' + left % 26);
    out += (i == 0 ? "" : " ") + word;
  }
  return out;
}

TEST(GopherRepetition, LinesAtTheThreshold) {
  // 6 lines without a word in common, then x again and again: n of 6 + n + 1 lines were there before.
  std::string lines = distinct_words(180);
  for (size_t at = 0, words = 0; (at = lines.find(' ', at)) != std::string::npos; ++at)
    if (++words % 30 == 0) lines[at] = '\n';
  EXPECT_EQ(repetition(lines + repeated("\nx", 4)), "");  // 3 of 10
  EXPECT_EQ(repetition(lines + repeated("\nx", 5)), "dup_line_frac");
  EXPECT_EQ(repetition(lines + repeated("\n\nx", 3)), "dup_para_frac");
  const std::string head =
      lines.substr(0, lines.find('\n'));  // 179 of 1259 characters are there twice, thrice
  EXPECT_NE(repetition(lines + "\n" + head), "dup_line_char_frac");
  EXPECT_EQ(repetition(lines + "\n" + head + "\n" + head), "dup_line_char_frac");
}

TEST(GopherRepetition, NGrams) {
  EXPECT_EQ(repetition("a b c"), "top_2_gram");  // "a b" is 3 of 5 characters
  EXPECT_EQ(repetition(distinct_words(200)), "");
  EXPECT_EQ(repetition(distinct_words(100) + " " + repeated("of the ", 60)), "top_2_gram");
  const std::string once = distinct_words(100);
  EXPECT_EQ(repetition(once + " " + once), "duplicated_5_n_grams");
  EXPECT_EQ(repetition(""), "");
  EXPECT_EQ(repetition("\n\n"), "dup_line_frac");
}

TEST(GopherRepetition, ManyOccurrencesOfOneLongLine) {
  EXPECT_EQ(repetition(repeated("word ", 400'000)), "top_2_gram");
}

TEST(GopherQuality, WordCounts) {
  EXPECT_EQ(quality("the and " + distinct_words(47)), "gopher_short_doc");
  EXPECT_EQ(quality("the and " + distinct_words(48)), "");
  EXPECT_EQ(quality(""), "gopher_short_doc");
  EXPECT_EQ(quality("the and " + repeated("word ", 99'998)), "");
  EXPECT_EQ(quality("the and " + repeated("word ", 99'999)), "gopher_long_doc");
}

TEST(GopherQuality, MeanLength) {
  EXPECT_EQ(quality(repeated("the ", 100)), "");  // mean 3: kept
  EXPECT_EQ(quality(repeated("the ", 100) + "of"), "gopher_below_avg_threshold");
  EXPECT_EQ(quality(repeated("abcdefghij ", 98) + "the" + " abcdefghijklmnopq the abcdefghijklmnopq"),
            "");  // exactly 10
  EXPECT_EQ(quality(repeated("abcdefghijk ", 98) + "the of"), "gopher_above_avg_threshold");
}

TEST(GopherQuality, SymbolsBulletsEllipsesLetters) {
  const std::string ten = "the and " + distinct_words(8);
  EXPECT_EQ(quality(repeated(ten + " ", 9) + repeated("# ", 10)), "");  // 10 of 100 words
  EXPECT_EQ(quality(repeated(ten + " ", 9) + repeated("# ", 11)), "gopher_too_many_hashes");
  EXPECT_EQ(quality(repeated("- " + ten + "\n", 9) + ten), "");  // 0.9
  EXPECT_EQ(quality(repeated("- " + ten + "\n", 10)), "gopher_too_many_bullets");
  EXPECT_EQ(quality(repeated(ten + "\n", 7) + repeated(ten + "...\n", 3)), "");
  EXPECT_EQ(quality(repeated(ten + "\n", 6) + repeated(ten + "\xe2\x80\xa6\n", 4)),
            "gopher_too_many_end_ellipsis");
  EXPECT_EQ(quality(repeated(ten + " ", 8) + repeated("12345 ", 20)), "");  // 0.8 have a letter
  EXPECT_EQ(quality(repeated(ten + " ", 8) + repeated("12345 ", 21)), "gopher_below_alpha_threshold");
  EXPECT_EQ(quality(distinct_words(100)), "gopher_enough_stop_words");
}

TEST(C4, LinesAndPages) {
  const C4Options options;
  const auto c4 = [&](std::string text) { return reason_of(apply_c4(text, WordStyle::kNltk, options)); };
  const auto kept = [&](std::string text) {
    EXPECT_FALSE(apply_c4(text, WordStyle::kNltk, options));
    return text;
  };
  const std::string five = "One is here. Two is here. Three is here. Four is here. Five is here.";
  EXPECT_EQ(kept(five), five);
  EXPECT_EQ(c4("One is here. Two is here. Three is here. Four is here."), "too_few_sentences");
  EXPECT_EQ(c4(""), "too_few_sentences");
  EXPECT_EQ(kept(five + "\ntwo words\nthree words here\n"), five + "\nthree words here");
  EXPECT_EQ(kept(five + "\nplease enable JavaScript now\nour Privacy Policy is here\n"), five);
  EXPECT_EQ(c4(five + "\nhere is Lorem Ipsum dolor"), "lorem_ipsum");
  EXPECT_EQ(c4(five + "\nif (x) { y }"), "curly_bracket");
  EXPECT_EQ(kept(five + "\nhe said so[12] and so[] on[edit]"), five + "\nhe said so and so on");
  EXPECT_EQ(kept(five + "\na b " + std::string(1000, 'x')), five + "\na b " + std::string(1000, 'x'));
  EXPECT_EQ(kept(five + "\na b " + std::string(1001, 'x')), five);
}

TEST(FinewebQuality, Thresholds) {
  std::string lines;
  for (int i = 0; i < 25; ++i) lines += fmt::format("this is line {} and it is a rather long one\n", i);
  lines.pop_back();
  const auto with_marks = [&](int n) {
    std::string out = lines;
    for (int i = 0; i < n; ++i) out.replace(out.find(" one\n"), 5, " one.\n");
    return out;
  };
  EXPECT_EQ(fineweb(with_marks(3)), "line_punct_ratio");  // 3 of 25: 0.12 drops in 2024
  EXPECT_EQ(fineweb(with_marks(4)), "");
  EXPECT_EQ(fineweb(with_marks(3), named_recipe("datatrove-0.10").fineweb_quality), "");
  EXPECT_EQ(fineweb("short one.\nand two.\nthree is here."), "short_line_ratio");
  EXPECT_EQ(
      fineweb(
          "this is a line of more than thirty characters.\nthis is a line of more than thirty characters."),
      "char_dup_ratio");
  EXPECT_EQ(fineweb("\n\n\n", named_recipe("datatrove-0.10").fineweb_quality), "empty");
  EXPECT_EQ(fineweb(""), "line_punct_ratio");
}

TEST(Filters, ATraceHasEveryRule) {
  FilterScratch scratch;
  Trace trace;
  const std::string text = "of the of the of the";
  EXPECT_EQ(check_gopher_repetition(text, words_of(text), {}, scratch, &trace)->code, "top_2_gram");
  EXPECT_GE(trace.size(), 8u);
  trace.clear();
  EXPECT_TRUE(check_gopher_quality(text, words_of(text), {}, &trace));
  EXPECT_EQ(trace.size(), 10u);
}

TEST(Pii, EmailsAndPublicAddresses) {
  const PiiReplacer replacer({});
  const auto replaced = [&](std::string text) {
    replacer.replace(text, "id");
    return text;
  };
  EXPECT_EQ(replaced("write to joe.smith@mail.example.net today").find("joe"), std::string::npos);
  EXPECT_EQ(replaced("no address @ all, and 10.0.0.1 or 192.168.1.1 or 1.2.3"),
            "no address @ all, and 10.0.0.1 or 192.168.1.1 or 1.2.3");
  EXPECT_EQ(replaced("ask 8.8.8.8 now").find("8.8.8.8"), std::string::npos);
  std::string twice = "a@b.com c@d.com", again = twice;
  replacer.replace(twice, "same"), replacer.replace(again, "same");
  EXPECT_EQ(twice, again);
  EXPECT_NE(twice.substr(0, twice.find(' ')), twice.substr(twice.find(' ') + 1));  // they take turns
  for (const char* local :
       {"0.1.2.3", "127.0.0.1", "100.64.0.1", "172.31.255.255", "169.254.0.1", "198.18.0.1",
        "255.255.255.255", "1.2.3", "1.2.3.4.5", "01.2.3.4", "256.1.1.1", ""})
    EXPECT_FALSE(is_public_ipv4(local)) << local;
  for (const char* open : {"1.1.1.1", "172.32.0.1", "223.255.255.254", "192.0.0.9"})
    EXPECT_TRUE(is_public_ipv4(open)) << open;
}

TEST(Document, RoundTrip) {
  Document document{.text = "line\n\"quote\" \\ tab\t \x01 caf\xc3\xa9",
                    .id = "<id>",
                    .dump = "d",
                    .url = "http://a/?b=\"c\"",
                    .date = "2024",
                    .file_path = "f",
                    .language = "en",
                    .language_score = 0.98765,
                    .token_count = 7};
  const Result<Document> back = from_json_line(to_json_line(document));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->text, document.text);
  EXPECT_EQ(back->url, document.url);
  EXPECT_EQ(back->language_score, document.language_score);
  EXPECT_EQ(back->token_count, 7);
  for (const char* bad :
       {"", "{", "[]", "{\"id\":\"x\"}", "{\"text\":1}", "{\"text\":\"a\",\"token_count\":\"x\"}"})
    EXPECT_FALSE(from_json_line(bad)) << bad;
}

TEST(Recipe, NamesAndChoices) {
  EXPECT_THROW(named_recipe("fineweb"), Error);
  FilterOptions options = named_recipe("datatrove-0.10");
  EXPECT_EQ(options.words, "spacy");
  config::set(options, "gopher_quality.min_words=30");
  EXPECT_EQ(options.gopher_quality.min_words, 30);
  EXPECT_THROW(config::set(options, "gopher_quality.min_word=30"), Error);
  options.minhash.hash = "md5";
  EXPECT_THROW(check_options(options), Error);
}

}  // namespace
}  // namespace tumbler::text
