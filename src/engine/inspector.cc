#include "engine/inspector.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "engine/decoder.h"

namespace tumbler::engine {
namespace {

using Map = std::vector<std::vector<float>>;  // (reads, is read)

void run(const Model& model, std::span<const int32_t> tokens, DecoderProbe& probe) {
  const auto n = static_cast<int64_t>(tokens.size());
  const int64_t most = std::min(Inspector::kMaxTokens, model.config().max_positions);
  if (n == 0 || n > most) throw Error("inspect", "got {} tokens, expected 1 to {}", n, most);
  // All in one pass: a probe sees all tokens of a layer at once.
  Decoder decoder(
      model, {.sequences = 1, .capacity = n, .chunk = n, .cache = kernels::CacheType::f32, .probe = &probe});
  decoder.extend(0, tokens);
}

class LensProbe : public DecoderProbe {
 public:
  LensProbe(const nn::ModelConfig& config, int64_t top) : config_(config), top_(top) {}
  void on_attention(int64_t, std::span<const float>, std::span<const float>) override {}
  bool wants_layers() const override { return true; }
  void on_layer(int64_t, std::span<const float> residual, std::span<const float> logits) override {
    const auto C = static_cast<size_t>(config_.n_embd), V = static_cast<size_t>(config_.vocab_size);
    std::vector<LensCell>& row = cells.emplace_back();
    for (size_t t = 0; t < logits.size() / V; ++t) {
      double square = 0;
      for (const float x : residual.subspan(t * C, C)) square += static_cast<double>(x) * x;
      row.push_back({top_candidates(logits.subspan(t * V, V), top_), static_cast<float>(std::sqrt(square))});
    }
  }
  std::vector<std::vector<LensCell>> cells;

 private:
  const nn::ModelConfig& config_;
  const int64_t top_;
};

class AttentionProbe : public DecoderProbe {
 public:
  // With `layer` -1: all.
  AttentionProbe(const nn::ModelConfig& config, int64_t layer) : config_(config), layer_(layer) {}
  void on_layer(int64_t, std::span<const float>, std::span<const float>) override {}
  bool wants_layers() const override { return false; }
  void on_attention(int64_t layer, std::span<const float> q, std::span<const float> k) override {
    if (layer_ >= 0 && layer != layer_) return;
    const auto H = static_cast<size_t>(config_.n_head);
    std::vector<Map>& heads = layers.emplace_back();
    for (size_t h = 0; h < H; ++h) heads.push_back(head(layer, h, q, k));
  }
  std::vector<std::vector<Map>> layers;

 private:
  Map head(int64_t layer, size_t h, std::span<const float> q, std::span<const float> k) const {
    const auto H = static_cast<size_t>(config_.n_head), KV = static_cast<size_t>(config_.n_kv_head),
               D = static_cast<size_t>(config_.head_dim), T = q.size() / (H * D);
    const size_t window = config_.is_local(layer) ? static_cast<size_t>(config_.sliding_window) : T;
    Map map(T, std::vector<float>(T, 0.0f));
    std::vector<double> weights(T);
    for (size_t t = 0; t < T; ++t) {
      const size_t first = t + 1 > window ? t + 1 - window : 0;
      double largest = -1e300, total = 0;
      for (size_t s = first; s <= t; ++s) {
        const float* a = &q[(t * H + h) * D];
        const float* b = &k[(s * KV + h / (H / KV)) * D];
        double score = 0;
        for (size_t d = 0; d < D; ++d) score += static_cast<double>(a[d]) * b[d];
        weights[s] = score * config_.score_scale();
        largest = std::max(largest, weights[s]);
      }
      for (size_t s = first; s <= t; ++s) total += weights[s] = std::exp(weights[s] - largest);
      for (size_t s = first; s <= t; ++s) map[t][s] = static_cast<float>(weights[s] / total);
    }
    return map;
  }
  const nn::ModelConfig& config_;
  const int64_t layer_;
};

// Means over squares.
Map shrink(const Map& map, size_t size) {
  const size_t n = map.size();
  if (n <= size) return map;
  Map out(size, std::vector<float>(size, 0.0f));
  for (size_t i = 0; i < size; ++i)
    for (size_t j = 0; j < size; ++j) {
      double sum = 0;
      const size_t i0 = i * n / size, i1 = (i + 1) * n / size, j0 = j * n / size, j1 = (j + 1) * n / size;
      for (size_t r = i0; r < i1; ++r)
        for (size_t c = j0; c < j1; ++c) sum += map[r][c];
      out[i][j] = static_cast<float>(sum / static_cast<double>((i1 - i0) * (j1 - j0)));
    }
  return out;
}

}  // namespace

std::vector<std::vector<LensCell>> Inspector::lens(std::span<const int32_t> tokens, int64_t top) const {
  LensProbe probe(model_.config(), top);
  run(model_, tokens, probe);
  return std::move(probe.cells);
}

std::vector<Map> Inspector::attention(std::span<const int32_t> tokens, int64_t layer) const {
  if (layer < 0 || layer >= model_.config().n_layer)
    throw Error("inspect", "layer: got {}, expected 0 to {}", layer, model_.config().n_layer - 1);
  AttentionProbe probe(model_.config(), layer);
  run(model_, tokens, probe);
  return std::move(probe.layers.front());
}

std::vector<std::vector<Map>> Inspector::attention_maps(std::span<const int32_t> tokens, int64_t size) const {
  AttentionProbe probe(model_.config(), -1);
  run(model_, tokens, probe);
  for (std::vector<Map>& heads : probe.layers)
    for (Map& map : heads) map = shrink(map, static_cast<size_t>(size));
  return std::move(probe.layers);
}

}  // namespace tumbler::engine
