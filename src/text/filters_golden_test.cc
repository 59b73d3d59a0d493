// Verdicts against datatrove's own (tests/golden/filters.py). TUMBLER_FILTER_GOLDEN=DIR with texts.jsonl,
// big_2024.jsonl and big_0.10.jsonl prints the agreement on a set of one's own.
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>

#include <gtest/gtest.h>

#include "io/lines.h"
#include "text/filters.h"
#include "text/minhash.h"
#include "text/pii.h"

namespace tumbler::text {
namespace {

using nlohmann::json;

struct Tally {
  int64_t same = 0, all = 0, same_decision = 0;
  std::vector<std::string> examples;
};

std::string code(const std::optional<Reason>& reason) {
  return reason ? reason->code : "";
}

class Comparison {
 public:
  explicit Comparison(const std::string& recipe)
      : options_(named_recipe(recipe)),
        minhash_(options_.minhash, options_.word_style()),
        pii_(options_.pii) {}

  void add(const std::string& text, const json& expected) {
    const WordStyle style = options_.word_style();
    split_words(text, style, words_);
    compare("gopher_repetition",
            code(check_gopher_repetition(text, words_, options_.gopher_repetition, scratch_)), expected);
    compare("gopher_quality", code(check_gopher_quality(text, words_, options_.gopher_quality)), expected);
    compare("fineweb_quality", code(check_fineweb_quality(text, words_, options_.fineweb_quality, scratch_)),
            expected);
    std::string shortened = text;
    compare("c4", code(apply_c4(shortened, style, options_.c4)), expected);
    compare("words", std::to_string(words_.size()),
            json{{"words", std::to_string(expected["words"].get<int64_t>())}});
    std::string changed = text;
    const PiiReplacer::Counts counts = pii_.replace(changed, "id");
    compare("pii", counts.emails + counts.ips > 0 ? "changed" : "",
            json{{"pii", expected["pii_changed"].get<bool>() ? "changed" : ""}});
    uint64_t sum = 0;
    const auto signature = minhash_.signature(text);
    for (const uint64_t h : signature) sum += h;
    compare("minhash", signature.empty() ? "" : fmt::format("{:016x}", sum), expected);
  }

  const std::map<std::string, Tally>& tallies() const { return tallies_; }

 private:
  void compare(const std::string& what, const std::string& got, const json& expected) {
    const std::string want = expected.at(what).get<std::string>();
    if (want == "error") return;  // the original stops on empty texts
    Tally& tally = tallies_[what];
    ++tally.all;
    tally.same += got == want ? 1 : 0;
    tally.same_decision += got.empty() == want.empty() ? 1 : 0;
    if (got != want && tally.examples.size() < 5)
      tally.examples.push_back(fmt::format("text {}: got '{}', expected '{}'", tally.all - 1, got, want));
  }

  FilterOptions options_;
  Minhash minhash_;
  PiiReplacer pii_;
  FilterScratch scratch_;
  std::vector<Word> words_;
  std::map<std::string, Tally> tallies_;
};

std::map<std::string, Tally> compare_files(const std::string& recipe, const std::string& inputs,
                                           const std::string& expected) {
  Comparison comparison(recipe);
  io::LineReader texts(inputs), results(expected);
  while (const auto line = texts.next())
    comparison.add(json::parse(*line)["text"], json::parse(*results.next()));
  return comparison.tallies();
}

void expect_all_same(const std::string& recipe, const std::string& file) {
  const std::string golden = TUMBLER_SOURCE_DIR "/tests/golden/";
  for (const auto& [what, tally] : compare_files(recipe, golden + "filters_inputs.jsonl", golden + file)) {
    EXPECT_GT(tally.all, 100);
    // Words may differ where Punkt's trained tables know an abbreviation better ('U.S."' at a line's end).
    EXPECT_GE(tally.same, what == "words" ? tally.all - tally.all / 50 : tally.all)
        << what << ": " << fmt::format("{}", fmt::join(tally.examples, "\n"));
  }
}

TEST(FiltersGolden, Fineweb2024) {
  expect_all_same("fineweb-2024", "filters_2024.jsonl");
}
TEST(FiltersGolden, Datatrove010) {
  expect_all_same("datatrove-0.10", "filters_0.10.jsonl");
}

TEST(SlowFiltersGolden, OwnSet) {
  const char* folder = std::getenv("TUMBLER_FILTER_GOLDEN");
  if (folder == nullptr) GTEST_SKIP() << "TUMBLER_FILTER_GOLDEN names no folder";
  const std::string root = std::string(folder) + "/";
  for (const auto& [recipe, file] :
       {std::pair{"fineweb-2024", "big_2024.jsonl"}, std::pair{"datatrove-0.10", "big_0.10.jsonl"}})
    for (const auto& [what, tally] : compare_files(recipe, root + "texts.jsonl", root + file)) {
      fmt::print("{:15} {:18} same {:6}/{} ({:.2f} %)  same decision {:.2f} %\n", recipe, what, tally.same,
                 tally.all, 100.0 * static_cast<double>(tally.same) / static_cast<double>(tally.all),
                 100.0 * static_cast<double>(tally.same_decision) / static_cast<double>(tally.all));
      for (const std::string& example : tally.examples) fmt::print("    {}\n", example);
    }
}

}  // namespace
}  // namespace tumbler::text
