#include "tokens/bpe_trainer.h"

#include <map>

#include <gtest/gtest.h>

#include "base/error.h"
#include "io/file.h"
#include "io/lines.h"
#include "tokens/byte_level.h"
#include "tokens/splitter.h"
#include "tokens/test_data.h"
#include "tokens/tokenizer_json.h"

namespace tumbler::tokens {
namespace {

namespace fs = std::filesystem;
using testing_data::TemporaryDirectory;

// The definition, with plain loops: count all pairs of the whole text again before each merge.
MergeRules train_by_definition(const std::vector<std::string>& texts, Pattern pattern, int64_t vocab_size,
                               int64_t min_frequency) {
  MergeRules rules;
  std::map<std::string, TokenId> ids;
  for (const uint8_t byte : byte_level_order()) {
    ids[std::string(1, static_cast<char>(byte))] = static_cast<TokenId>(rules.tokens.size());
    rules.tokens.emplace_back(1, static_cast<char>(byte));
  }
  std::vector<std::vector<TokenId>> pieces;
  for (const std::string& text : texts)
    for (const std::string_view piece : split(pattern, text)) {
      pieces.emplace_back();
      for (const char c : piece) pieces.back().push_back(ids.at(std::string(1, c)));
    }
  while (static_cast<int64_t>(rules.tokens.size()) < vocab_size) {
    std::map<std::pair<TokenId, TokenId>, int64_t> counts;
    for (const auto& piece : pieces)
      for (size_t i = 0; i + 1 < piece.size(); ++i) ++counts[{piece[i], piece[i + 1]}];
    std::pair<TokenId, TokenId> best;
    int64_t most = 0;
    for (const auto& [pair, count] : counts)  // ascending ids: the first of equals stays
      if (count > most) most = count, best = pair;
    if (most < min_frequency) break;
    const std::string bytes =
        rules.tokens[static_cast<size_t>(best.first)] + rules.tokens[static_cast<size_t>(best.second)];
    if (ids.emplace(bytes, static_cast<TokenId>(rules.tokens.size())).second) rules.tokens.push_back(bytes);
    rules.merges.push_back(best);
    for (auto& piece : pieces) {
      std::vector<TokenId> merged;
      for (size_t i = 0; i < piece.size(); ++i) {
        if (i + 1 < piece.size() && piece[i] == best.first && piece[i + 1] == best.second) {
          merged.push_back(ids.at(bytes));
          ++i;
        } else {
          merged.push_back(piece[i]);
        }
      }
      piece = std::move(merged);
    }
  }
  return rules;
}

MergeRules train_fast(const std::vector<std::string>& texts, Pattern pattern, int64_t vocab_size,
                      int64_t min_frequency, int threads = 1, int64_t memory = int64_t{1} << 30) {
  PieceCounter counter(pattern, threads, memory);
  for (size_t i = 0; i < texts.size(); ++i) counter.add(static_cast<int>(i) % threads, texts[i]);
  Progress none;
  return train_merges(counter.take(), vocab_size, min_frequency, 0, none);
}

std::string random_words(Rng& rng, int words, int letters) {
  std::string text;
  for (int i = 0; i < words; ++i) {
    for (uint64_t n = 1 + rng.below(9); n-- > 0;)
      text += static_cast<char>('a' + rng.below(static_cast<uint64_t>(letters)));
    text += i % 7 ? " " : "\n";
  }
  return text;
}

TEST(BpeTrainer, MergesAsTheDefinitionDoes) {
  Rng rng(21);
  for (int round = 0; round < 12; ++round) {
    std::vector<std::string> texts;
    for (int i = 0; i < 4; ++i) texts.push_back(random_words(rng, 150, 1 + round % 5));
    const MergeRules want = train_by_definition(texts, Pattern::kQwen2, 256 + 120, 2),
                     got = train_fast(texts, Pattern::kQwen2, 256 + 120, 2);
    ASSERT_EQ(got.merges, want.merges) << round;
    ASSERT_EQ(got.tokens, want.tokens);
  }
}

TEST(BpeTrainer, RunsOfOneLetter) {  // overlapping pairs: "aaaa" holds aa three times, and merges it twice
  for (const std::string text : {"aaaa", "aaaaa aaa", "aaaaaaaaaaaaaaaaa aaaaaaaaaaaaaaa aaa aaaa"})
    EXPECT_EQ(train_fast({text}, Pattern::kGpt2, 300, 1).merges,
              train_by_definition({text}, Pattern::kGpt2, 300, 1).merges)
        << text;
}

TEST(SlowBpeTrainer, MergesRealTextAsTheDefinitionDoes) {
  const fs::path file = testing_data::root() / "text-tinyshakespeare" / "input.txt";
  if (!fs::exists(file)) GTEST_SKIP() << "no " << file << " (set TUMBLER_TEST_DATA)";
  const std::string text = io::read_file(file).substr(0, 200000);
  EXPECT_EQ(train_fast({text}, Pattern::kQwen2, 256 + 300, 2).merges,
            train_by_definition({text}, Pattern::kQwen2, 256 + 300, 2).merges);
}

TEST(BpeTrainer, ThreadsOrderAndMemoryDoNotMatter) {
  Rng rng(4);
  std::vector<std::string> texts;
  for (int i = 0; i < 60; ++i) texts.push_back(random_words(rng, 2000, 26));
  const MergeRules one = train_fast(texts, Pattern::kQwen2, 1000, 2);
  EXPECT_EQ(train_fast(texts, Pattern::kQwen2, 1000, 2, 3).merges, one.merges);
  std::reverse(texts.begin(), texts.end());
  EXPECT_EQ(train_fast(texts, Pattern::kQwen2, 1000, 2, 2).merges, one.merges);
}

std::map<std::string, int64_t> counted(PieceCounter& counter) {
  std::map<std::string, int64_t> counts;
  for (const CountedPiece& piece : counter.take()) counts[piece.bytes] = piece.count;
  return counts;
}

TEST(PieceCounter, SpillsToFilesAndStaysExact) {
  Rng rng(8);
  PieceCounter small(Pattern::kGpt2, 2, int64_t{8} << 20), large(Pattern::kGpt2, 1, int64_t{1} << 30);
  for (int i = 0; i < 50; ++i) {
    const std::string text = random_words(rng, 3000, 26) + " Then " + std::string(40, 'x');
    small.add(i % 2, text);
    large.add(0, text);
  }
  auto all = counted(large), kept = counted(small);
  EXPECT_EQ(large.dropped_up_to(), 0);
  EXPECT_GT(small.dropped_up_to(), 0);  // 8 MiB do not hold them all: the rare ones go, by count alone
  std::erase_if(all, [&](const auto& item) { return item.second <= small.dropped_up_to(); });
  EXPECT_EQ(kept, all);
  EXPECT_EQ(kept.at(" Then"), 50);
  EXPECT_EQ(kept.at(" " + std::string(40, 'x')), 50);
}

TEST(PieceCounter, CutsLongPieces) {
  PieceCounter counter(Pattern::kQwen2, 1, int64_t{1} << 30);
  counter.add(0, std::string(1000, 'a'));
  EXPECT_EQ(counted(counter),
            (std::map<std::string, int64_t>{{std::string(256, 'a'), 3}, {std::string(232, 'a'), 1}}));
}

TEST(BpeTrainer, CountsPast32Bits) {  // "the" overflowed 32-bit counters elsewhere and was split into letters
  const std::vector<CountedPiece> pieces = {{"the", int64_t{5} << 31}, {"and", int64_t{3} << 31}, {"of", 7}};
  Progress none;
  const MergeRules rules = train_merges(pieces, 256 + 5, 1, 0, none);
  ASSERT_EQ(rules.tokens.size(), 261u);
  EXPECT_EQ(rules.tokens[256], "he");
  EXPECT_EQ(rules.tokens[257], "the");
  EXPECT_EQ(rules.tokens[260], "of");
}

TEST(BpeTrainer, MaxTokenBytesAndMinFrequency) {
  Progress none;
  const std::vector<CountedPiece> pieces = {{"abcdef", 100}, {"xy", 1}};
  for (const std::string& token : train_merges(pieces, 300, 2, 3, none).tokens) {
    EXPECT_LE(token.size(), 3u);
    EXPECT_NE(token, "xy");
  }
}

fs::path write_documents(const TemporaryDirectory& directory, const char* name, int documents,
                         uint64_t seed) {
  Rng rng(seed);
  io::LineWriter writer(directory / name);
  for (int i = 0; i < documents; ++i) {
    std::string text = random_words(rng, 200, 26);
    for (size_t at = 0; (at = text.find('\n', at)) != std::string::npos;) text.replace(at, 1, "\\n");
    writer.write_line("{\"text\":\"" + text + "\",\"id\":\"" + name + std::to_string(i) + "\"}");
  }
  writer.write_line("this is not JSON");
  writer.commit();
  return directory / name;
}

TEST(TrainTokenizer, SameVocabularyForAnyThreadsAndFiles) {
  const TemporaryDirectory directory;
  const std::vector<fs::path> files = {write_documents(directory, "a.jsonl.zst", 40, 1),
                                       write_documents(directory, "b.jsonl", 30, 2)};
  const std::vector<fs::path> reversed = {files[1], files[0]};
  TrainOptions options;
  options.vocab_size = 640;
  options.threads = 1;
  Progress none;
  TrainReport report, other;
  const Tokenizer one = train_tokenizer(files, options, none, report);
  options.threads = 3;
  const Tokenizer two = train_tokenizer(reversed, options, none, other);
  EXPECT_EQ(to_tokenizer_json(one), to_tokenizer_json(two));
  EXPECT_EQ(report.documents, 70);
  EXPECT_EQ(one.vocab_size(), 640);
  EXPECT_EQ(one.token_bytes(*one.eos_id()), "<|endoftext|>");
  EXPECT_EQ(one.token_bytes(0), "!");
  EXPECT_TRUE(one.find_added("<tool_response>") && one.find_added("</think>") &&
              one.find_added("<|reserved_0|>"));
}

TEST(TrainTokenizer, LittleTextGivesFewerIdsButAMultipleOf64) {
  const TemporaryDirectory directory;
  io::write_file(directory / "little.txt", "a b a b ab ab ab");
  const std::vector<fs::path> files = {directory / "little.txt"};
  Progress none;
  TrainReport report;
  const Tokenizer t = train_tokenizer(files, {}, none, report);
  EXPECT_EQ(t.vocab_size() % 64, 0);
  EXPECT_LT(t.vocab_size(), 8192);
}

TEST(TrainTokenizer, BadOptionsAndEmptyInputAreErrors) {
  const TemporaryDirectory directory;
  io::write_file(directory / "empty.txt", "");
  io::write_file(directory / "bad.jsonl", "{}\nnull\n[1]\n{\"text\":1}\n");
  Progress none;
  TrainReport report;
  for (const char* name : {"empty.txt", "bad.jsonl"}) {
    const std::vector<fs::path> files = {directory / name};
    EXPECT_THROW((void)train_tokenizer(files, {}, none, report), Error);
  }
  const std::vector<fs::path> files = {directory / "empty.txt"};
  for (const int64_t size : {0, 256, 8193, 65600, -64})
    EXPECT_THROW((void)train_tokenizer(files, {.vocab_size = size}, none, report), Error);
}

}  // namespace
}  // namespace tumbler::tokens
