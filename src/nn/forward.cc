// The forward pass. Vaswani et al. 2017 (arXiv:1706.03762) with the norm before each block (Radford et al.
// 2019), and what Llama, Qwen and Gemma changed since: see ModelConfig.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "kernels/activation.h"
#include "kernels/attention.h"
#include "kernels/embedding.h"
#include "kernels/matmul.h"
#include "kernels/norm.h"
#include "kernels/rope.h"
#include "nn/pass.h"

namespace tumbler::nn {

using kernels::bf16;

template <class T>
Pass<T>::Pass(Parameters& parameters, const TransformerOptions& options)
    : config_(parameters.config()),
      parameters_(parameters),
      options_(options),
      C_(config_.n_embd),
      F_(config_.n_ff),
      HD_(config_.n_head * config_.head_dim),
      KD_(config_.n_kv_head * config_.head_dim),
      V_(config_.vocab_size) {
  CHECK(options.max_tokens > 0 && options.max_time > 0 && options.head_chunk_rows >= 0);
  CHECK(!options.training || parameters.has_gradients());
  const ActivationShape shape{.config = config_,
                              .N = options.max_tokens,
                              .training = options.training,
                              .recomputation = options.recomputation,
                              .chunk_rows = options.head_chunk_rows};
  arena_ = Arena(nn::activation_bytes<T>(shape));
  ArenaLayout layout(&arena_);
  lay_out(a_, layout, shape);
  int64_t scratch = kernels::norm_backward_scratch(C_);
  if (separate_qk()) scratch = std::max(scratch, kernels::qk_backward_scratch(config_.head_dim));
  if (options.training) norm_scratch_.resize(static_cast<size_t>(scratch));
}

template <class T>
void Pass<T>::begin(const Batch& batch) {
  const int64_t N = batch.B * batch.T;
  const auto n = static_cast<size_t>(N);
  CHECK(batch.B > 0 && batch.T > 0 && N <= options_.max_tokens && batch.T <= options_.max_time, "B {} T {}",
        batch.B, batch.T);
  CHECK(batch.tokens.size() == n);
  CHECK(batch.first_key.empty() || batch.first_key.size() == n);
  CHECK(batch.positions.empty() || batch.positions.size() == n);
  for (const int32_t token : batch.tokens)
    CHECK(token >= 0 && token < V_, "token {} of vocabulary {}", token, V_);
  int64_t positions = batch.T;
  for (const int32_t p : batch.positions) {
    CHECK(p >= 0 && p < config_.max_positions, "position {}", p);
    positions = std::max<int64_t>(positions, p + 1);
  }
  if (batch.positions.empty()) {
    CHECK(batch.T <= config_.max_positions, "T {} of max_positions {}", batch.T, config_.max_positions);
    default_positions_.resize(n);
    for (int64_t i = 0; i < N; ++i)
      default_positions_[static_cast<size_t>(i)] = static_cast<int32_t>(i % batch.T);
  }
  grow_rope_table(positions);
  run_ = {.B = batch.B,
          .T_ = batch.T,
          .N = N,
          .tokens = batch.tokens.data(),
          .first_key = batch.first_key.empty() ? nullptr : batch.first_key.data(),
          .local_first_key = nullptr,
          .positions = batch.positions.empty() ? default_positions_.data() : batch.positions.data()};
  if (config_.sliding_window > 0) set_local_first_key();
  const int64_t scratch = kernels::attention_scratch(attention_shape());
  if (scratch > attention_scratch_.size_bytes()) attention_scratch_ = Arena(scratch);
}

// Models allow contexts (131,072 in Llama 3.1) that few batches have: the table is as long as the longest
// seen, doubling.
template <class T>
void Pass<T>::grow_rope_table(int64_t positions) {
  const int64_t rows = static_cast<int64_t>(cos_sin_.size()) / config_.head_dim;
  if (!config_.rope() || positions <= rows) return;
  const int64_t grown = std::max(positions, 2 * rows);
  cos_sin_.resize(static_cast<size_t>(grown * config_.head_dim));
  rope_table(config_, cos_sin_, grown);
  if (config_.sliding_window == 0) return;
  local_cos_sin_.resize(cos_sin_.size());
  rope_table(config_, local_cos_sin_, grown, /*local=*/true);
}

template <class T>
void Pass<T>::set_local_first_key() {
  local_first_key_.resize(static_cast<size_t>(run_.N));
  for (int64_t n = 0; n < run_.N; ++n) {
    const int64_t oldest = std::max<int64_t>(0, n % run_.T_ - config_.sliding_window + 1);
    local_first_key_[static_cast<size_t>(n)] =
        std::max(static_cast<int32_t>(oldest), run_.first_key != nullptr ? run_.first_key[n] : 0);
  }
  run_.local_first_key = local_first_key_.data();
}

template <class T>
kernels::AttentionShape Pass<T>::attention_shape() const noexcept {
  return {.B = run_.B,
          .T = run_.T_,
          .H = config_.n_head,
          .KV = config_.n_kv_head,
          .D = config_.head_dim,
          .scale = static_cast<float>(config_.score_scale())};
}

template <class T>
kernels::QkShape Pass<T>::qk_shape() const noexcept {
  return {.N = run_.N,
          .H = config_.n_head,
          .KV = config_.n_kv_head,
          .D = config_.head_dim,
          .eps = static_cast<float>(config_.norm_eps)};
}

// q k^T and p v: 4*H*D flop for each key a query may see (with one document a row).
template <class T>
double Pass<T>::attention_flops(int64_t layer) const noexcept {
  return 4.0 * static_cast<double>(run_.N) * mean_keys(config_, layer, run_.T_) * static_cast<double>(HD_);
}

template <class T>
typename Pass<T>::Heads Pass<T>::heads(std::span<T> qkv, std::span<T> q, std::span<T> k) const noexcept {
  const int64_t row = config_.qkv_rows();
  const kernels::HeadView<T> v{qkv.data() + HD_ + KD_, row};
  if (separate_qk()) return {{q.data(), HD_}, {k.data(), KD_}, v};
  return {{qkv.data(), row}, {qkv.data() + HD_, row}, v};
}

template <class T>
void Pass<T>::copy(std::span<T> out, std::span<const T> inp, int64_t n) {
  if (out.data() == inp.data()) return;
  Profiler::Scope scope(profiler, "copy residual");
  constexpr int64_t kBlock = 1 << 16;
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < n; i += kBlock)
    std::memcpy(out.data() + i, inp.data() + i, static_cast<size_t>(std::min(kBlock, n - i)) * sizeof(T));
}

template <class T>
void Pass<T>::matmul(const char* name, std::span<T> out, std::span<const T> inp, std::span<const T> weight,
                     std::span<const float> bias, int64_t OC, int64_t C) {
  Profiler::Scope scope(profiler, name, 2.0 * static_cast<double>(run_.N) * static_cast<double>(OC * C));
  kernels::matmul_forward<T, T>(matrix(out, run_.N, OC), const_matrix(inp, run_.N, C),
                                const_matrix(weight, OC, C), bias.data(), false);
}

// residual += delta (or null); norm = norm of residual.
template <class T>
void Pass<T>::norm_forward(std::span<T> residual, const T* delta, std::span<const float> weight,
                           std::span<const float> bias, std::span<float> mean, std::span<float> rstd) {
  Profiler::Scope scope(profiler, "norm");
  const auto eps = static_cast<float>(config_.norm_eps);
  if (config_.layer_norm()) {
    kernels::layer_norm_forward<T>(a_.norm.data(), mean.data(), rstd.data(), residual.data(), delta,
                                   weight.data(), bias.data(), run_.N, C_, eps);
  } else {
    kernels::rms_norm_forward<T>(a_.norm.data(), rstd.data(), residual.data(), delta, weight.data(), run_.N,
                                 C_, eps);
  }
}

// a_.delta = norm of what a block put out.
template <class T>
void Pass<T>::post_norm_forward(std::span<T> block, std::span<const float> weight, std::span<float> rstd) {
  Profiler::Scope scope(profiler, "norm");
  kernels::rms_norm_forward<T>(a_.delta.data(), rstd.data(), block.data(), nullptr, weight.data(), run_.N, C_,
                               static_cast<float>(config_.norm_eps));
}

template <class T>
void Pass<T>::qk_forward(int64_t layer) {
  if (!separate_qk()) return;
  const LayerWeights<T>& w = weights(layer);
  Profiler::Scope scope(profiler, "qk norm, rope");
  kernels::qk_forward<T>(a_.q.data(), a_.k.data(), activations(layer).qkv.data(), w.q_norm.data(),
                         w.k_norm.data(), cos_sin(layer), run_.positions, qk_shape());
}

template <class T>
void Pass<T>::attention_forward(int64_t layer) {
  Profiler::Scope scope(profiler, "attention", attention_flops(layer));
  const LayerActivations<T>& a = activations(layer);
  const Heads h = heads(a.qkv, a_.q, a_.k);
  kernels::attention_forward<T>({a.attn.data(), HD_}, a.lse.data(), {h.q.data, h.q.token_stride},
                                {h.k.data, h.k.token_stride}, {h.v.data, h.v.token_stride}, first_key(layer),
                                attention_shape(), attention_scratch_.view<std::byte>(0, 0).data());
}

template <class T>
void Pass<T>::activation_forward(const LayerActivations<T>& a) {
  Profiler::Scope scope(profiler, "activation");
  if (config_.mlp == "gelu") {
    kernels::gelu_forward<T>(a_.act.data(), a.up.data(), run_.N * F_);
  } else {
    const auto gate = config_.mlp == "silu_glu" ? kernels::Gate::silu : kernels::Gate::gelu_tanh;
    kernels::glu_forward<T>(a_.act.data(), a.up.data(), gate, run_.N, F_);
  }
}

// In: a.attn_residual, short of a_.delta where add_delta. Out: everything in `a` up to the products up of the
// MLP; no backward pass needs its end, but for a post norm.
template <class T>
void Pass<T>::layer_forward(int64_t layer, bool add_delta) {
  const LayerWeights<T>& w = weights(layer);
  const LayerActivations<T>& a = activations(layer);
  norm_forward(a.attn_residual, add_delta ? a_.delta.data() : nullptr, w.attn_norm, w.attn_norm_bias,
               a.attn_mean, a.attn_rstd);
  matmul("qkv", a.qkv, a_.norm, w.qkv, w.qkv_bias, config_.qkv_rows(), C_);
  qk_forward(layer);
  attention_forward(layer);
  matmul("attention out", config_.post_norms ? a.attn_block : a_.delta, a.attn, w.out, w.out_bias, C_, HD_);
  if (config_.post_norms) post_norm_forward(a.attn_block, w.attn_post_norm, a.attn_post_rstd);
  copy(a.mlp_residual, a.attn_residual, run_.N * C_);
  norm_forward(a.mlp_residual, a_.delta.data(), w.mlp_norm, w.mlp_norm_bias, a.mlp_mean, a.mlp_rstd);
  matmul("mlp up", a.up, a_.norm, w.up, w.up_bias, config_.gated() ? 2 * F_ : F_, C_);
}

// a_.delta = what the MLP adds.
template <class T>
void Pass<T>::mlp_end_forward(int64_t layer) {
  const LayerWeights<T>& w = weights(layer);
  const LayerActivations<T>& a = activations(layer);
  activation_forward(a);
  matmul("mlp down", config_.post_norms ? a.mlp_block : a_.delta, a_.act, w.down, w.down_bias, C_, F_);
  if (config_.post_norms) post_norm_forward(a.mlp_block, w.mlp_post_norm, a.mlp_post_rstd);
}

template <class T>
void Pass<T>::forward(const Batch& batch) {
  begin(batch);
  const ModelWeights<T>& model = parameters_.model<T>();
  {
    Profiler::Scope scope(profiler, "embedding");
    kernels::embedding_forward<T>(a_.layers[0].attn_residual.data(), run_.tokens, run_.positions,
                                  model.embedding.data(), model.positions.data(),
                                  static_cast<float>(config_.embedding_scale), run_.N, C_);
  }
  for (int64_t l = 0; l < config_.n_layer; ++l) {
    if (l > 0) copy(activations(l).attn_residual, activations(l - 1).mlp_residual, run_.N * C_);
    layer_forward(l, l > 0);
    mlp_end_forward(l);
  }
  copy(a_.residual, a_.layers.back().mlp_residual, run_.N * C_);
  norm_forward(a_.residual, a_.delta.data(), model.final_norm, model.final_norm_bias, a_.mean, a_.rstd);
}

template class Pass<float>;
template class Pass<bf16>;

}  // namespace tumbler::nn
