// WindowLoader: token shards as training sequences. A shard is cut into windows of T+1 tokens that overlap by
// one, so that each token is a target once; every epoch goes through all windows in an order of its own,
// which is a function of (seed, epoch): no state but a position, and any sequence can be found at once.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "tokens/shards.h"

namespace tumbler::pretrain {

// A permutation of [0, n) computed and not stored: a Feistel network over the next power of four, walked
// until it lands inside (Black & Rogaway 2002, "Ciphers with Arbitrary Finite Domains").
class Permutation {
 public:
  Permutation(int64_t n, uint64_t seed);
  int64_t operator()(int64_t i) const;

 private:
  uint64_t encrypt(uint64_t x) const;
  uint64_t n_, seed_;
  int half_bits_;
};

// What trains next: window `next` of epoch `epoch`, in that epoch's order.
struct LoaderPosition {
  int64_t epoch = 0, next = 0;
  bool operator==(const LoaderPosition&) const = default;
};

struct LoaderOptions {
  int64_t T = 0;
  uint64_t seed = 0;
  int64_t vocab_size = 0;      // ids from here on are an Error
  bool mask_documents = true;  // a token sees only its own document and the end-of-document token before it
};

class WindowLoader {
 public:
  // Throws Error where there are no shards or too few tokens for one window.
  WindowLoader(std::span<const std::filesystem::path> shards, const LoaderOptions& options);

  int64_t tokens() const noexcept { return tokens_; }
  int64_t T() const noexcept { return options_.T; }
  // In each epoch the cuts are moved by another number of tokens, less than T: their number may differ by one
  // a shard.
  int64_t windows(int64_t epoch) const;
  // The position `count` sequences further on.
  LoaderPosition advance(LoaderPosition position, int64_t count) const;
  // The sequence `position`: tokens, targets, first_key (T) each; first_key is filled with 0 where documents
  // are not masked. position.next may be beyond the end of its epoch. Throws Error on an id outside the
  // vocabulary.
  void read(LoaderPosition position, std::span<int32_t> tokens, std::span<int32_t> targets,
            std::span<int32_t> first_key);

 private:
  int64_t offset(int64_t epoch) const;
  int64_t shard_windows(size_t shard, int64_t epoch) const;

  LoaderOptions options_;
  std::vector<tokens::TokenShardReader> shards_;
  std::vector<std::filesystem::path> paths_;
  std::vector<int32_t> window_;  // scratch: T+1 tokens
  int64_t tokens_ = 0;
};

// first_key of tokens [begin, begin + first_key.size()) of a shard, relative to begin. The token that ends a
// document is where the next one begins: it stands before the first token of a text, as in front of a prompt,
// and its own query sees nothing else.
void fill_first_key(const tokens::TokenShardReader& shard, int64_t begin, std::span<int32_t> first_key);

// Shards that patterns name (a directory stands for its *.ds), sorted. Throws Error where a pattern names
// none.
std::vector<std::filesystem::path> find_shards(std::span<const std::string> patterns);

}  // namespace tumbler::pretrain
