#include "text/language.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "base/error.h"
#include "io/file.h"
#include "io/lines.h"

namespace tumbler::text {
namespace {

std::filesystem::path test_data() {
  const char* path = std::getenv("TUMBLER_TEST_DATA");
  return path != nullptr ? path : std::filesystem::path(TUMBLER_SOURCE_DIR) / "../shared/data";
}

constexpr std::string_view kEnglish =
    "This is a plain paragraph of English text that anyone would recognise as such, and it goes on for a "
    "while.";
constexpr std::string_view kGerman =
    "Dies ist ein einfacher Absatz auf Deutsch, den jeder als solchen erkennen würde, und er geht noch ein "
    "wenig weiter.";

TEST(Language, BuiltIn) {
  const auto identifier = make_language_identifier({});
  EXPECT_EQ(identifier->name(), "cld2");
  EXPECT_EQ(identifier->identify(kEnglish).language, "en");
  EXPECT_EQ(identifier->identify(kGerman).language, "de");
  EXPECT_EQ(identifier->identify("").language, "un");
  EXPECT_EQ(identifier->identify("\xff\xfe 12 34").score, 0);
}

TEST(Language, Thresholds) {
  LanguageOptions options;
  EXPECT_FALSE(check_language({"en", 0.66}, options));
  EXPECT_EQ(check_language({"en", 0.65}, options)->code, "unsure_language");
  EXPECT_EQ(check_language({"de", 0.99}, options)->code, "other_language");
  options.languages = {};
  EXPECT_FALSE(check_language({"de", 0.99}, options));
}

TEST(Language, ADamagedModelIsAnError) {
  const auto path = std::filesystem::temp_directory_path() / "tumbler-language-test.ftz";
  LanguageOptions options;
  options.model = path.string();
  for (const std::string& bytes :
       {std::string(), std::string("nonsense"), std::string("\xba\x16\x4f\x2f\x0c\0\0\0", 8)}) {
    io::write_file(path, bytes);
    EXPECT_THROW(make_language_identifier(options), Error);
  }
  std::filesystem::remove(path);
}

struct Score {
  int64_t right = 0, all = 0;
};

Score score_on_tatoeba(const LanguageIdentifier& identifier) {
  Score score;
  io::LineReader lines(test_data() / "langid-tatoeba/tatoeba_long.txt");
  lines.next();
  while (const auto line = lines.next()) {
    const size_t text = line->rfind('\t');
    const std::string_view code = line->substr(0, line->find('\t'));
    ++score.all;
    score.right += identifier.identify(line->substr(text + 1)).language == code ? 1 : 0;
  }
  return score;
}

TEST(Language, FasttextModelOnSentences) {
  const auto model = test_data() / "langid-lid176/lid.176.ftz";
  if (!std::filesystem::exists(model)) GTEST_SKIP() << model << " is absent";
  LanguageOptions options;
  options.model = model.string();
  const auto identifier = make_language_identifier(options);
  // The same numbers as the fastText library gives for this model.
  const LanguageGuess english = identifier->identify(kEnglish), german = identifier->identify(kGerman);
  EXPECT_EQ(english.language, "en");
  EXPECT_EQ(german.language, "de");
  EXPECT_GT(german.score, 0.9);
  const Score score = score_on_tatoeba(*identifier);
  fmt::print("fasttext {}/{}, cld2 {}/{}\n", score.right, score.all,
             score_on_tatoeba(*make_language_identifier({})).right, score.all);
  EXPECT_GT(score.right * 100, score.all * 75);
  // Every cut of the file is told, none crashes.
  const std::string bytes = io::read_file(model);
  const auto cut = std::filesystem::temp_directory_path() / "tumbler-language-cut.ftz";
  options.model = cut.string();
  for (size_t size = 1; size < bytes.size(); size += bytes.size() / 40) {
    io::write_file(cut, std::string_view(bytes).substr(0, size));
    EXPECT_THROW(make_language_identifier(options), Error);
  }
  std::filesystem::remove(cut);
}

}  // namespace
}  // namespace tumbler::text
