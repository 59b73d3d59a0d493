// Learns byte pair merges from text. Sennrich et al. 2016 (arXiv:1508.07909).
//
// Pieces are counted once; then the most frequent pair of neighbouring tokens is merged, again and again, in
// the pieces that hold it. Of pairs with equal counts the one with the smaller left id, then the smaller
// right id, comes first. So the result depends on the text alone, and not on threads, shards or the order of
// documents.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/progress.h"
#include "tokens/piece_counter.h"
#include "tokens/tokenizer.h"

namespace tumbler::tokens {

struct TrainOptions {
  int64_t vocab_size = 8192;    // ids in all, with the 256 bytes, the special and the reserved tokens
  int64_t min_frequency = 2;    // pairs that occur less often are not merged
  int64_t max_token_bytes = 0;  // 0: no limit
  Pattern pattern = Pattern::kQwen2;
  int threads = 0;  // 0: all
  int64_t memory_bytes = int64_t{4} << 30;
};

struct MergeRules {
  std::vector<std::string> tokens;  // the 256 bytes first
  std::vector<std::pair<TokenId, TokenId>> merges;
};

// Merges until there are `vocab_size` tokens or no pair is left. Memory: about 16 bytes a byte of the unique
// pieces.
MergeRules train_merges(std::span<const CountedPiece> pieces, int64_t vocab_size, int64_t min_frequency,
                        int64_t max_token_bytes, Progress& progress);

struct TrainReport {
  int64_t documents = 0, text_bytes = 0, unique_pieces = 0, merges = 0;
  int64_t dropped_up_to = 0;  // see PieceCounter
  double count_seconds = 0, merge_seconds = 0;
};

// A tokenizer as the models made here have it: merges, then <|endoftext|> (end of a document, begin and
// padding), <|im_start|>,
// <|im_end|>, the tags of tools and thoughts, then reserved tokens up to vocab_size; fewer ids where the text
// has fewer merges, but always a multiple of 64, which matrix kernels like. Throws Error on options out of
// range and on input without text.
Tokenizer train_tokenizer(std::span<const std::filesystem::path> inputs, const TrainOptions& options,
                          Progress& progress, TrainReport& report);

// The tokenizer from merges that are already learned.
Tokenizer make_tokenizer(MergeRules rules, Pattern pattern);

}  // namespace tumbler::tokens
