#include "pretrain/bits_per_byte.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "base/error.h"
#include "kernels/cross_entropy.h"
#include "pretrain/window_loader.h"
#include "tokens/shards.h"

namespace tumbler::pretrain {
namespace {

struct Window {
  const tokens::TokenShardReader* shard;
  int64_t begin, targets;
};

// Sums over windows w of nats y_w and bytes x_w; the ratio's variance is that of the residuals y_w - r x_w
// (Cochran 1977, 2.11).
struct Sums {
  double nats = 0, bytes = 0, tokens = 0, windows = 0, nats2 = 0, bytes2 = 0, nats_bytes = 0;

  void add(double y, double x, double n) {
    nats += y;
    bytes += x;
    tokens += n;
    windows += 1;
    nats2 += y * y;
    bytes2 += x * x;
    nats_bytes += x * y;
  }
};

std::vector<Window> cut_windows(std::span<const tokens::TokenShardReader> shards,
                                const HeldOutOptions& options) {
  std::vector<Window> windows;
  int64_t left = options.max_tokens > 0 ? options.max_tokens : INT64_MAX;
  for (const tokens::TokenShardReader& shard : shards)
    for (int64_t begin = 0; begin + 1 < shard.size() && left > 0; begin += options.T) {
      const int64_t targets = std::min({options.T, shard.size() - 1 - begin, left});
      windows.push_back({&shard, begin, targets});
      left -= targets;
    }
  return windows;
}

// Windows of one call of the model; a shorter last one is filled up with ignored targets.
class Batcher {
 public:
  Batcher(const HeldOutOptions& options, std::span<const int32_t> byte_lengths)
      : options_(options),
        byte_lengths_(byte_lengths),
        losses_(size()),
        ids_(static_cast<size_t>(options.T) + 1) {}

  void run(nn::Transformer& transformer, std::span<const Window> windows, Sums& sums) {
    const auto B = static_cast<int64_t>(windows.size()), T = options_.T;
    const auto N = static_cast<size_t>(B * T);
    tokens_.assign(N, 0);
    targets_.assign(N, kernels::kIgnoreTarget);
    first_key_.assign(N, 0);
    for (int64_t b = 0; b < B; ++b) fill(windows[b], b * T);
    transformer.forward_loss({.B = B,
                              .T = T,
                              .tokens = tokens_,
                              .targets = targets_,
                              .weights = {},
                              .first_key = first_key_,
                              .positions = {}},
                             std::span(losses_).first(N));
    for (int64_t b = 0; b < B; ++b) {
      double nats = 0, bytes = 0;
      for (int64_t t = b * T; t < b * T + windows[b].targets; ++t) {
        nats += losses_[t];
        bytes += byte_lengths_[targets_[t]];
      }
      sums.add(nats, bytes, static_cast<double>(windows[b].targets));
    }
  }

 private:
  size_t size() const { return static_cast<size_t>(options_.B * options_.T); }
  void fill(const Window& window, int64_t at) {
    const std::span<int32_t> ids = std::span(ids_).first(static_cast<size_t>(window.targets) + 1);
    window.shard->read(window.begin, ids);
    const auto V = static_cast<int32_t>(byte_lengths_.size());
    for (const int32_t id : ids)
      if (id < 0 || id >= V)
        throw Error("held-out text",
                    "got token id {}, expected ids below {}; was this shard made with this tokenizer?", id,
                    V);
    std::copy(ids.begin(), ids.end() - 1, tokens_.begin() + at);
    std::copy(ids.begin() + 1, ids.end(), targets_.begin() + at);
    if (options_.mask_documents)
      fill_first_key(*window.shard, window.begin, std::span(first_key_).subspan(at, options_.T));
  }

  const HeldOutOptions options_;
  std::span<const int32_t> byte_lengths_;
  std::vector<float> losses_;
  std::vector<int32_t> ids_, tokens_, targets_, first_key_;
};

BitsPerByte summarise(const Sums& s) {
  BitsPerByte out;
  out.windows = std::llround(s.windows);
  out.tokens = std::llround(s.tokens);
  out.bytes = std::llround(s.bytes);
  if (out.tokens == 0 || out.bytes == 0)
    throw Error("held-out text",
                "got {} tokens and {} bytes to predict, expected some; give a shard with text", out.tokens,
                out.bytes);
  const double ratio = s.nats / s.bytes;
  const double residuals = std::max(s.nats2 - 2 * ratio * s.nats_bytes + ratio * ratio * s.bytes2, 0.0);
  const double error = s.windows > 1 ? std::sqrt(residuals * s.windows / (s.windows - 1)) / s.bytes : ratio;
  out.value = ratio / std::numbers::ln2;
  out.low = std::max(ratio - 1.96 * error, 0.0) / std::numbers::ln2;
  out.high = (ratio + 1.96 * error) / std::numbers::ln2;
  out.loss = s.nats / s.tokens;
  return out;
}

}  // namespace

BitsPerByte evaluate_bits_per_byte(nn::Transformer& transformer, std::span<const std::filesystem::path> paths,
                                   std::span<const int32_t> byte_lengths, const HeldOutOptions& options,
                                   dist::Group& group) {
  std::vector<tokens::TokenShardReader> shards;
  for (const auto& path : paths) shards.emplace_back(path);
  const std::vector<Window> windows = cut_windows(shards, options);
  const auto count = static_cast<int64_t>(windows.size());
  const int64_t begin = count * group.rank() / group.size(), end = count * (group.rank() + 1) / group.size();
  Sums sums;
  Batcher batcher(options, byte_lengths);
  for (int64_t at = begin; at < end; at += options.B)
    batcher.run(transformer, std::span(windows).subspan(at, std::min(options.B, end - at)), sums);
  double values[] = {sums.nats,  sums.bytes,  sums.tokens,    sums.windows,
                     sums.nats2, sums.bytes2, sums.nats_bytes};
  group.sum(std::span<double>(values));
  return summarise({values[0], values[1], values[2], values[3], values[4], values[5], values[6]});
}

}  // namespace tumbler::pretrain
