// What a forward pass leaves for the backward pass, and the scratch of both: one arena, laid out here.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "nn/arena.h"
#include "nn/config.h"

namespace tumbler::nn {

struct ActivationShape {
  ModelConfig config;
  int64_t N;  // B*T
  bool training;
  Recomputation recomputation;
  int64_t chunk_rows;  // of logits; 0 = head_chunk_rows()
};

// Rows of logits held at once: as many as fit 64 MB, in multiples of 64 (whole tiles of a matrix product), at
// least 64.
inline int64_t head_chunk_rows(int64_t V, int64_t element_bytes) {
  return std::max<int64_t>(64, (int64_t{64} << 20) / (V * element_bytes) / 64 * 64);
}

// Elements from row to row of a matrix whose columns are read: whole cache lines, an odd number of them, so
// that a column's elements lie in different sets of the caches. With the 32 KB rows of a vocabulary of 8192
// they would all fall into one, and the head's weight gradient takes twice the time.
template <class T>
constexpr int64_t spread_stride(int64_t cols) {
  constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(T));
  return ((cols + kLine - 1) / kLine | 1) * kLine;
}

template <class T>
struct LayerActivations {
  std::span<T> attn_residual;                      // (N, C) residual stream that enters the layer
  std::span<float> attn_mean;                      // (N) LayerNorm only
  std::span<float> attn_rstd;                      // (N)
  std::span<T> qkv;                                // (N, (H + 2*KV)*D)
  std::span<T> attn;                               // (N, H*D)
  std::span<float> lse;                            // (B, H, T)
  std::span<T> attn_block, mlp_block;              // (N, C) what attention and MLP put out: with post norms
  std::span<float> attn_post_rstd, mlp_post_rstd;  // (N)
  std::span<T> mlp_residual;                       // (N, C) residual stream that enters the MLP
  std::span<float> mlp_mean;                       // (N) LayerNorm only
  std::span<float> mlp_rstd;                       // (N)
  std::span<T> up;                                 // (N, 2*F) gated, else (N, F)
};

template <class T>
struct Activations {
  std::vector<LayerActivations<T>> layers;  // spans of different layers may be the same memory: see lay_out
  std::span<T> residual;                    // (N, C) residual stream after the last layer
  std::span<float> mean, rstd;              // (N) of the final norm
  // Used again by every layer. Forward and backward:
  std::span<T> norm;  // (N, C) output of a norm; after the last layer, what the head reads
  std::span<T> q, k;  // (N, H*D), (N, KV*D) after QK-norm and rope; empty without either
  std::span<T> act;   // (N, F) output of the activation function, then its gradient
  std::span<T>
      delta;  // (N, C) what a block adds to the residual stream; backward: gradient of a norm's output
  int64_t logits_stride = 0;      // from row to row of the logits (elements)
  std::span<T> logits;            // (chunk, V), rows apart
  std::span<float> chunk_losses;  // (chunk)
  // Backward only:
  std::span<T> d_residual;  // (N, C)
  std::span<T> d_attn;      // (N, H*D)
  std::span<T> d_qkv;       // (N, (H + 2*KV)*D)
  std::span<T> d_q, d_k;    // (N, H*D), (N, KV*D); empty as q, k
};

template <class T>
void lay_out_layer(LayerActivations<T>& a, ArenaLayout& layout, const ActivationShape& shape, bool residual) {
  const ModelConfig& c = shape.config;
  const int64_t N = shape.N, mean = c.layer_norm() ? N : 0;
  if (residual) a.attn_residual = layout.take<T>(N * c.n_embd);
  a.attn_mean = layout.take<float>(mean);
  a.attn_rstd = layout.take<float>(N);
  a.qkv = layout.take<T>(N * c.qkv_rows());
  a.attn = layout.take<T>(N * c.n_head * c.head_dim);
  a.lse = layout.take<float>(N * c.n_head);
  const int64_t post = c.post_norms ? N : 0;
  a.attn_block = layout.take<T>(post * c.n_embd);
  a.mlp_block = layout.take<T>(post * c.n_embd);
  a.attn_post_rstd = layout.take<float>(post);
  a.mlp_post_rstd = layout.take<float>(post);
  a.mlp_residual = layout.take<T>(N * c.n_embd);
  a.mlp_mean = layout.take<float>(mean);
  a.mlp_rstd = layout.take<float>(N);
  a.up = layout.take<T>(N * c.n_ff * (c.gated() ? 2 : 1));
}

// With Recomputation::block the layers share all but their inputs; without training they share those too.
template <class T>
void lay_out(Activations<T>& a, ArenaLayout& layout, const ActivationShape& shape) {
  const ModelConfig& c = shape.config;
  const int64_t N = shape.N, HD = c.n_head * c.head_dim, KD = c.n_kv_head * c.head_dim;
  const bool separate_qk = c.rope() || c.qk_norm;
  const bool own = shape.training && shape.recomputation == Recomputation::none;
  a.layers.resize(static_cast<size_t>(c.n_layer));
  for (size_t l = 0; l < a.layers.size(); ++l) {
    if (l == 0 || own) {
      lay_out_layer(a.layers[l], layout, shape, true);
    } else {
      a.layers[l] = a.layers[0];
      if (shape.training) a.layers[l].attn_residual = layout.take<T>(N * c.n_embd);
    }
  }
  a.residual = layout.take<T>(N * c.n_embd);
  a.mean = layout.take<float>(c.layer_norm() ? N : 0);
  a.rstd = layout.take<float>(N);
  a.norm = layout.take<T>(N * c.n_embd);
  a.q = layout.take<T>(separate_qk ? N * HD : 0);
  a.k = layout.take<T>(separate_qk ? N * KD : 0);
  a.act = layout.take<T>(N * c.n_ff);
  a.delta = layout.take<T>(N * c.n_embd);
  const int64_t fitting = shape.chunk_rows > 0 ? shape.chunk_rows : head_chunk_rows(c.vocab_size, sizeof(T));
  const int64_t chunk = std::min(fitting, N);
  a.logits_stride = spread_stride<T>(c.vocab_size);
  a.logits = layout.take<T>(chunk * a.logits_stride);
  a.chunk_losses = layout.take<float>(chunk);
  if (!shape.training) return;
  a.d_residual = layout.take<T>(N * c.n_embd);
  a.d_attn = layout.take<T>(N * HD);
  a.d_qkv = layout.take<T>(N * c.qkv_rows());
  a.d_q = layout.take<T>(separate_qk ? N * HD : 0);
  a.d_k = layout.take<T>(separate_qk ? N * KD : 0);
}

template <class T>
int64_t activation_bytes(const ActivationShape& shape) {
  Activations<T> unused;
  ArenaLayout layout;
  lay_out(unused, layout, shape);
  return layout.size_bytes();
}

}  // namespace tumbler::nn
