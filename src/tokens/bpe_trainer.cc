#include "tokens/bpe_trainer.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <queue>
#include <unordered_map>

#include <omp.h>

#include "base/error.h"
#include "tokens/byte_level.h"
#include "tokens/documents.h"

namespace tumbler::tokens {
namespace {

struct Pair {
  TokenId left, right;
  auto operator<=>(const Pair&) const = default;
};

struct PairHash {
  size_t operator()(const Pair& p) const noexcept {
    const uint64_t k =
        static_cast<uint64_t>(static_cast<uint32_t>(p.left)) << 32 | static_cast<uint32_t>(p.right);
    return (k ^ k >> 29) * 0x9e3779b97f4a7c15ull;
  }
};

class MergeLearner {
 public:
  MergeLearner(std::span<const CountedPiece> pieces, int64_t min_frequency, int64_t max_token_bytes)
      : min_frequency_(std::max<int64_t>(min_frequency, 1)), max_token_bytes_(max_token_bytes) {
    TokenId of_byte[256];
    for (const uint8_t byte : byte_level_order()) {
      of_byte[byte] = static_cast<TokenId>(rules_.tokens.size());
      rules_.tokens.emplace_back(1, static_cast<char>(byte));
      ids_.emplace(rules_.tokens.back(), of_byte[byte]);
    }
    size_t bytes = 0;
    for (const CountedPiece& piece : pieces) bytes += piece.bytes.size();
    symbols_.reserve(bytes);
    words_.reserve(pieces.size());
    for (const CountedPiece& piece : pieces) {
      words_.push_back({symbols_.size(), static_cast<uint32_t>(piece.bytes.size()), piece.count});
      for (const char c : piece.bytes) symbols_.push_back(of_byte[static_cast<unsigned char>(c)]);
    }
    for (uint32_t w = 0; w < words_.size(); ++w) {
      const TokenId* s = &symbols_[words_[w].begin];
      for (uint32_t i = 0; i + 1 < words_[w].length; ++i) change({s[i], s[i + 1]}, words_[w].count, w);
    }
    push_grown();
  }

  MergeRules run(int64_t vocab_size, Progress& progress) {
    progress.start("merges", vocab_size, "tokens");
    while (static_cast<int64_t>(rules_.tokens.size()) < vocab_size && !heap_.empty()) {
      const Candidate top = heap_.top();
      heap_.pop();
      PairState& state = pairs_.at(top.pair);
      if (state.count != top.count) {  // it lost some since it was pushed
        if (state.count > 0) heap_.push({state.count, top.pair});
        continue;
      }
      if (state.count < min_frequency_) break;
      merge(top.pair, state);
      if (rules_.merges.size() % 64 == 0) progress.update(static_cast<int64_t>(rules_.tokens.size()), {});
    }
    progress.update(static_cast<int64_t>(rules_.tokens.size()), {});
    progress.finish();
    return std::move(rules_);
  }

 private:
  struct Word {
    size_t begin;  // in symbols_
    uint32_t length;
    int64_t count;
  };
  struct PairState {
    int64_t count = 0;
    std::vector<uint32_t> words;  // that hold it, or once did
    bool grown = false;
  };
  struct Candidate {
    int64_t count;
    Pair pair;
    bool operator<(const Candidate& other) const {
      return count != other.count ? count < other.count : pair > other.pair;
    }
  };

  void change(Pair pair, int64_t delta, uint32_t word) {
    PairState& state = pairs_[pair];
    state.count += delta;
    if (delta < 0) return;
    if (state.words.empty() || state.words.back() != word) state.words.push_back(word);
    if (state.grown) return;
    state.grown = true;
    grown_.push_back(pair);
  }

  void push_grown() {
    for (const Pair& pair : grown_) {
      PairState& state = pairs_.at(pair);
      state.grown = false;
      if (state.count > 0) heap_.push({state.count, pair});
    }
    grown_.clear();
  }

  void merge(Pair pair, PairState& state) {
    std::string bytes =
        rules_.tokens[static_cast<size_t>(pair.left)] + rules_.tokens[static_cast<size_t>(pair.right)];
    if (max_token_bytes_ > 0 && static_cast<int64_t>(bytes.size()) > max_token_bytes_) return;
    // Two merges may lead to the same bytes ("ab"+"c", "a"+"bc"): that is one token.
    const auto [known, fresh] = ids_.try_emplace(bytes, static_cast<TokenId>(rules_.tokens.size()));
    if (fresh) rules_.tokens.push_back(std::move(bytes));
    rules_.merges.emplace_back(pair.left, pair.right);
    const std::vector<uint32_t> words = std::move(state.words);
    state.words = {};
    for (const uint32_t w : words) merge_in_word(pair, known->second, w);
    PairState& after = pairs_.at(pair);
    after.count = 0;
    after.words = {};
    push_grown();
  }

  void merge_in_word(Pair pair, TokenId merged, uint32_t w) {
    Word& word = words_[w];
    TokenId* s = &symbols_[word.begin];
    uint32_t out = 0;
    for (uint32_t i = 0; i < word.length;) {
      if (i + 1 == word.length || s[i] != pair.left || s[i + 1] != pair.right) {
        s[out++] = s[i++];
        continue;
      }
      if (out > 0) {
        change({s[out - 1], pair.left}, -word.count, w);
        change({s[out - 1], merged}, word.count, w);
      }
      if (i + 2 < word.length) {
        change({pair.right, s[i + 2]}, -word.count, w);
        change({merged, s[i + 2]}, word.count, w);
      }
      s[out++] = merged;
      i += 2;
    }
    word.length = out;
  }

  int64_t min_frequency_, max_token_bytes_;
  MergeRules rules_;
  std::unordered_map<std::string, TokenId> ids_;
  std::vector<TokenId> symbols_;
  std::vector<Word> words_;
  std::unordered_map<Pair, PairState, PairHash> pairs_;
  std::vector<Pair> grown_;
  std::priority_queue<Candidate> heap_;
};

struct NamedToken {
  const char* text;
  bool special;  // not special: shown when text is decoded for a reader, as Qwen3 has it
};
constexpr NamedToken kNamedTokens[] = {
    {"<|endoftext|>", true},     {"<|im_start|>", true},  {"<|im_end|>", true},
    {"<tool_call>", false},      {"</tool_call>", false}, {"<tool_response>", false},
    {"</tool_response>", false}, {"<think>", false},      {"</think>", false},
};
constexpr int64_t kMinReserved = 7;  // for what later stages need, without a new vocabulary
constexpr int64_t kMultiple = 64;
constexpr auto kNamed = static_cast<int64_t>(std::size(kNamedTokens));

void check_options(const TrainOptions& options) {
  const int64_t least = (256 + kNamed + kMinReserved + kMultiple - 1) / kMultiple * kMultiple;
  if (options.vocab_size < least || options.vocab_size > 65536 || options.vocab_size % kMultiple != 0)
    throw Error(
        "tokenizer.train",
        "vocab_size: got {}, expected a multiple of {} from {} to 65536 (ids of 16 bits in token shards)",
        options.vocab_size, kMultiple, least);
  if (options.min_frequency < 1)
    throw Error("tokenizer.train", "min_frequency: got {}, expected at least 1", options.min_frequency);
  if (options.memory_bytes < 1 << 24)
    throw Error("tokenizer.train", "memory: got {} bytes, expected at least 16 MiB", options.memory_bytes);
}

void count_batch(PieceCounter& counter, std::span<InputDocument> documents, int threads) {
  std::vector<std::string_view> parts;
  for (const InputDocument& document : documents)
    for (const std::string_view part : safe_parts(document.text, size_t{1} << 18)) parts.push_back(part);
  const auto n = static_cast<int64_t>(parts.size());
  std::exception_ptr failure;  // an exception may not leave a parallel region
#pragma omp parallel for schedule(dynamic, 16) num_threads(threads)
  for (int64_t i = 0; i < n; ++i) {
    try {
      counter.add(omp_get_thread_num(), parts[static_cast<size_t>(i)]);
    } catch (...) {
#pragma omp critical
      failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

MergeRules train_merges(std::span<const CountedPiece> pieces, int64_t vocab_size, int64_t min_frequency,
                        int64_t max_token_bytes, Progress& progress) {
  return MergeLearner(pieces, min_frequency, max_token_bytes).run(vocab_size, progress);
}

Tokenizer make_tokenizer(MergeRules rules, Pattern pattern) {
  TokenizerParts parts;
  parts.pattern = pattern;
  parts.tokens = std::move(rules.tokens);
  parts.merges = std::move(rules.merges);
  auto next = static_cast<TokenId>(parts.tokens.size());
  for (const NamedToken& named : kNamedTokens)
    parts.added.push_back({.text = named.text, .id = next++, .special = named.special});
  for (int64_t i = 0; i < kMinReserved || next % kMultiple != 0; ++i)
    parts.added.push_back({.text = "<|reserved_" + std::to_string(i) + "|>", .id = next++});
  parts.bos = parts.eos = parts.pad = parts.added[0].id;
  // In training a document stands behind the end of another one.
  parts.prefix = {parts.added[0].id};
  parts.name = std::string(pattern_name(pattern)) + "-" + std::to_string(next);
  return Tokenizer::from_parts(std::move(parts));
}

Tokenizer train_tokenizer(std::span<const std::filesystem::path> inputs, const TrainOptions& options,
                          Progress& progress, TrainReport& report) {
  check_options(options);
  const int threads = options.threads > 0 ? options.threads : omp_get_max_threads();
  const auto start = std::chrono::steady_clock::now();
  PieceCounter counter(options.pattern, threads, options.memory_bytes);
  progress.start("count", 0, "MB");
  for (const auto& input : inputs) {
    const DocumentCounts counts =
        for_each_batch(input, int64_t{16} << 20, threads, [&](std::span<InputDocument> documents) {
          count_batch(counter, documents, threads);
          for (const InputDocument& document : documents)
            report.text_bytes += static_cast<int64_t>(document.text.size());
          progress.update(report.text_bytes >> 20, {});
        });
    report.documents += counts.documents;
  }
  const std::vector<CountedPiece> pieces = counter.take();
  progress.finish();
  report.unique_pieces = static_cast<int64_t>(pieces.size());
  report.dropped_up_to = counter.dropped_up_to();
  report.count_seconds = seconds_since(start);
  if (pieces.empty())
    throw Error("tokenizer.train",
                "input: got {} files without text, expected documents; see that the pattern matches them",
                inputs.size());
  const auto merging = std::chrono::steady_clock::now();
  MergeRules rules = train_merges(pieces, options.vocab_size - kNamed - kMinReserved, options.min_frequency,
                                  options.max_token_bytes, progress);
  report.merges = static_cast<int64_t>(rules.merges.size());
  report.merge_seconds = seconds_since(merging);
  return make_tokenizer(std::move(rules), options.pattern);
}

}  // namespace tumbler::tokens
