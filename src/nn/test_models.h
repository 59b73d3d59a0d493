// Small models and batches for tests: every family, odd sizes.
#pragma once

#include <cmath>
#include <string>
#include <vector>

#include "base/rng.h"
#include "kernels/cross_entropy.h"
#include "nn/parameters.h"
#include "nn/transformer.h"

namespace tumbler::nn {

inline ModelConfig tiny_config(const std::string& name) {
  ModelConfig c = family_defaults(name == "llama_untied" || name == "llama_bias" ? "llama" : name);
  c.vocab_size = 29;
  c.n_layer = 2;
  c.max_positions = 24;
  c.n_ff = 20;
  if (name == "gpt2") {
    c.n_embd = 24;
    c.n_head = c.n_kv_head = 3;
    c.head_dim = 8;
    return c;
  }
  c.n_embd = 18;
  c.n_head = 4;
  c.n_kv_head = 2;
  c.head_dim = 8;  // 4 * 8 != 18
  c.rope_theta = 100;
  c.tied = name != "llama_untied";
  if (name == "llama_bias") {
    c.qkv_bias = c.out_bias = c.mlp_bias = true;
    c.mlp = "gelu_glu";
  }
  if (name == "gemma3") {
    c.n_layer = 3;  // local, global, local
    c.global_every = 2;
    c.sliding_window = 4;
    c.rope_theta_local = 30;
    c.rope_scaling = "linear";
    c.rope_factor = 2;
    c.attention_scale = 0.5;  // 1/sqrt(8) = 0.35
    c.embedding_scale = gemma_embedding_scale(c.n_embd);
  }
  return c;
}

inline const std::vector<std::string>& tiny_names() {
  static const std::vector<std::string> names = {"gpt2",  "llama", "llama_untied", "llama_bias",
                                                 "qwen2", "qwen3", "gemma3"};
  return names;
}

// Nothing is zero or one, so that every tensor matters to the loss.
inline void randomize(Parameters& p, uint64_t seed) {
  uint64_t stream = 0;
  for (const Tensor& t : p.tensors()) {
    Rng rng(seed, stream++);
    const bool vector = t.kind == TensorKind::norm || t.kind == TensorKind::bias;
    const double scale = vector                         ? 0.3
                         : t.kind == TensorKind::matrix ? 1.2 / std::sqrt(static_cast<double>(t.cols))
                                                        : 0.7;
    for (float& x : p.master(t))
      x = static_cast<float>((t.kind == TensorKind::norm ? 1.0 : 0.0) + scale * rng.normal());
  }
  p.refresh_copy();
}

struct TinyBatch {
  int64_t B, T;
  std::vector<int32_t> tokens, targets, first_key, positions;
  std::vector<float> weights;

  // With `packed`, each row holds two documents, the second from T/2 on.
  TinyBatch(const ModelConfig& c, int64_t B_, int64_t T_, uint64_t seed, bool packed = false) : B(B_), T(T_) {
    Rng rng(seed);
    for (int64_t i = 0; i < B * T; ++i) {
      tokens.push_back(static_cast<int32_t>(rng.below(static_cast<uint64_t>(c.vocab_size))));
      targets.push_back(i % 7 == 3 ? kernels::kIgnoreTarget
                                   : static_cast<int32_t>(rng.below(static_cast<uint64_t>(c.vocab_size))));
      weights.push_back(i % 5 == 2 ? 0.0f
                                   : static_cast<float>(0.5 + rng.uniform()) / static_cast<float>(B * T));
      const int64_t t = i % T, start = packed && t >= T / 2 ? T / 2 : 0;
      if (packed) {
        first_key.push_back(static_cast<int32_t>(start));
        positions.push_back(static_cast<int32_t>(t - start));
      }
    }
  }
  Batch view() const {
    return {.B = B,
            .T = T,
            .tokens = tokens,
            .targets = targets,
            .weights = weights,
            .first_key = first_key,
            .positions = positions};
  }
};

}  // namespace tumbler::nn
