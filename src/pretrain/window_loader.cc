#include "pretrain/window_loader.h"

#include <algorithm>

#include "base/check.h"
#include "base/error.h"
#include "base/rng.h"
#include "io/file.h"

namespace fs = std::filesystem;

namespace tumbler::pretrain {

Permutation::Permutation(int64_t n, uint64_t seed)
    : n_(static_cast<uint64_t>(n)), seed_(seed), half_bits_(1) {
  CHECK(n > 0);
  while ((uint64_t{1} << (2 * half_bits_)) < n_) ++half_bits_;
}

// Six rounds: also with a half of one bit every value moves.
uint64_t Permutation::encrypt(uint64_t x) const {
  const uint64_t mask = (uint64_t{1} << half_bits_) - 1;
  uint64_t left = x >> half_bits_, right = x & mask;
  for (uint64_t round = 0; round < 6; ++round) {
    const uint64_t mixed = mix64(mix64(seed_ + round * 0x9e3779b97f4a7c15ull) ^ right) & mask;
    left = std::exchange(right, left ^ mixed);
  }
  return left << half_bits_ | right;
}

int64_t Permutation::operator()(int64_t i) const {
  // At most four times as many values as wanted: four tries on average at the most.
  uint64_t x = static_cast<uint64_t>(i);
  do x = encrypt(x);
  while (x >= n_);
  return static_cast<int64_t>(x);
}

WindowLoader::WindowLoader(std::span<const fs::path> shards, const LoaderOptions& options)
    : options_(options) {
  CHECK(options.T > 0 && options.vocab_size > 0);
  window_.resize(static_cast<size_t>(options.T) + 1);
  for (const fs::path& path : shards) {
    shards_.emplace_back(path);
    paths_.push_back(path);
    tokens_ += shards_.back().size();
  }
  // In some epoch as few as T-1 tokens of each shard are left out: then too there must be a window.
  int64_t fewest = 0;
  for (const tokens::TokenShardReader& shard : shards_)
    fewest += std::max<int64_t>(shard.size() - options.T, 0) / options.T;
  if (fewest == 0)
    throw Error("pretrain",
                "data: got {} tokens in {} shards, expected at least {} in one (sequence_length {}); add "
                "text or train on "
                "shorter sequences",
                tokens_, shards_.size(), 2 * options.T, options.T);
}

// Epoch 0 begins at the first token.
int64_t WindowLoader::offset(int64_t epoch) const {
  if (epoch == 0) return 0;
  return static_cast<int64_t>(mix64(mix64(options_.seed ^ 0x6f6666u) + static_cast<uint64_t>(epoch)) %
                              static_cast<uint64_t>(options_.T));
}

int64_t WindowLoader::shard_windows(size_t shard, int64_t epoch) const {
  return std::max<int64_t>(shards_[shard].size() - 1 - offset(epoch), 0) / options_.T;
}

int64_t WindowLoader::windows(int64_t epoch) const {
  int64_t sum = 0;
  for (size_t i = 0; i < shards_.size(); ++i) sum += shard_windows(i, epoch);
  return sum;
}

LoaderPosition WindowLoader::advance(LoaderPosition position, int64_t count) const {
  position.next += count;
  for (int64_t n; position.next >= (n = windows(position.epoch)); ++position.epoch) position.next -= n;
  return position;
}

void WindowLoader::read(LoaderPosition position, std::span<int32_t> tokens, std::span<int32_t> targets,
                        std::span<int32_t> first_key) {
  const int64_t T = options_.T;
  CHECK(static_cast<int64_t>(tokens.size()) == T && targets.size() == tokens.size() &&
        first_key.size() == tokens.size());
  position = advance(position, 0);
  const Permutation order(windows(position.epoch),
                          mix64(options_.seed) + static_cast<uint64_t>(position.epoch));
  int64_t window = order(position.next);
  size_t shard = 0;
  for (int64_t n; window >= (n = shard_windows(shard, position.epoch)); ++shard) window -= n;
  const int64_t begin = offset(position.epoch) + window * T;
  shards_[shard].read(begin, window_);
  const auto [least, most] = std::minmax_element(window_.begin(), window_.end());
  if (*least < 0 || *most >= options_.vocab_size)
    throw Error("pretrain",
                "{}: got token id {} near token {}, expected ids below {}; were these shards made with this "
                "tokenizer?",
                paths_[shard].string(), *least < 0 ? *least : *most, begin, options_.vocab_size);
  std::copy_n(window_.begin(), T, tokens.begin());
  std::copy_n(window_.begin() + 1, T, targets.begin());
  if (options_.mask_documents)
    fill_first_key(shards_[shard], begin, first_key);
  else
    std::fill(first_key.begin(), first_key.end(), 0);
}

void fill_first_key(const tokens::TokenShardReader& shard, int64_t begin, std::span<int32_t> first_key) {
  const auto T = static_cast<int64_t>(first_key.size());
  // The first document that ends after `begin`.
  int64_t low = 0, high = shard.documents();
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    if (shard.document(middle).second > begin)
      high = middle;
    else
      low = middle + 1;
  }
  int64_t t = 0;
  int32_t key = 0;
  for (int64_t d = low; t < T; ++d) {
    // Token `last` ends document d and begins what follows.
    const int64_t last = d < shard.documents() ? shard.document(d).second - 1 - begin : T;
    for (; t < std::min(last, T); ++t) first_key[t] = key;
    key = static_cast<int32_t>(std::min(last, T));
    if (d >= shard.documents()) break;
  }
}

std::vector<fs::path> find_shards(std::span<const std::string> patterns) {
  std::vector<fs::path> found;
  for (const std::string& pattern : patterns) {
    const std::vector<fs::path> matches =
        io::glob(fs::is_directory(pattern) ? (fs::path(pattern) / "*.ds").string() : pattern);
    if (matches.empty())
      throw Error("pretrain",
                  "'{}': got no token shard, expected a .ds file, a directory with some, or a pattern; "
                  "tumbler tokens build "
                  "makes them",
                  pattern);
    found.insert(found.end(), matches.begin(), matches.end());
  }
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found;
}

}  // namespace tumbler::pretrain
