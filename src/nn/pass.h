// Pass<T>: the forward and backward passes in one activation type. forward.cc, loss.cc and backward.cc hold
// its parts.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/attention.h"
#include "kernels/matmul.h"
#include "kernels/rope.h"
#include "nn/activations.h"
#include "nn/transformer.h"

namespace tumbler::nn {

// What Transformer needs of a Pass, whatever its type.
class Transformer::Implementation {
 public:
  virtual ~Implementation() = default;
  virtual double loss(const Batch& batch, std::span<float> losses, bool gradients) = 0;
  virtual void forward(const Batch& batch) = 0;
  virtual void logits(std::span<const int64_t> rows, std::span<float> out) = 0;
  virtual int64_t activation_bytes() const noexcept = 0;
  Profiler* profiler = nullptr;
};

// x (N, C) as a matrix, and rows [begin, begin + count) of it.
template <class T>
kernels::Matrix<T> matrix(std::span<T> x, int64_t rows, int64_t cols) noexcept {
  return {x.data(), rows, cols};
}
template <class T>
kernels::Matrix<const T> const_matrix(std::span<T> x, int64_t rows, int64_t cols) noexcept {
  return {x.data(), rows, cols};
}

template <class T>
class Pass final : public Transformer::Implementation {
 public:
  Pass(Parameters& parameters, const TransformerOptions& options);

  double loss(const Batch& batch, std::span<float> losses, bool gradients) override;
  void forward(const Batch& batch) override;
  void logits(std::span<const int64_t> rows, std::span<float> out) override;
  int64_t activation_bytes() const noexcept override { return arena_.size_bytes(); }

 private:
  // One batch's shape and inputs, with the defaults filled in.
  struct Run {
    int64_t B, T_, N;
    const int32_t* tokens;
    const int32_t* first_key;        // or null
    const int32_t* local_first_key;  // the same of local layers
    const int32_t* positions;
  };

  // forward.cc
  void begin(const Batch& batch);
  void grow_rope_table(int64_t positions);
  void set_local_first_key();
  void norm_forward(std::span<T> residual, const T* delta, std::span<const float> weight,
                    std::span<const float> bias, std::span<float> mean, std::span<float> rstd);
  void post_norm_forward(std::span<T> block, std::span<const float> weight, std::span<float> rstd);
  void qk_forward(int64_t layer);
  void attention_forward(int64_t layer);
  void activation_forward(const LayerActivations<T>& a);
  void layer_forward(int64_t layer, bool add_delta);
  void mlp_end_forward(int64_t layer);
  void matmul(const char* name, std::span<T> out, std::span<const T> inp, std::span<const T> weight,
              std::span<const float> bias, int64_t OC, int64_t C);

  // loss.cc
  double head(const Batch& batch, std::span<float> losses, bool gradients);
  double head_chunk(const Batch& batch, int64_t begin, int64_t rows, std::span<float> losses, bool gradients);

  // backward.cc
  void backward();
  void mlp_backward(int64_t layer);
  void attention_block_backward(int64_t layer);
  void attention_backward(int64_t layer);
  std::span<T> post_norm_backward(std::span<T> block, std::span<const float> weight, std::span<float> rstd,
                                  std::span<float> d_weight);
  void norm_backward(std::span<T> residual, std::span<const float> weight, std::span<float> mean,
                     std::span<float> rstd, std::span<float> d_weight, std::span<float> d_bias);
  void matmul_backward(const char* name, std::span<T> d_inp, std::span<const T> d_out, std::span<const T> inp,
                       std::span<const T> weight, std::span<float> d_weight, std::span<float> d_bias,
                       int64_t OC, int64_t C);

  // Queries, keys and values of a layer (or their gradients): parts of rows of qkv, q and k elsewhere where
  // rope or QK-norm made them.
  struct Heads {
    kernels::HeadView<T> q, k, v;
  };
  Heads heads(std::span<T> qkv, std::span<T> q, std::span<T> k) const noexcept;
  kernels::AttentionShape attention_shape() const noexcept;
  kernels::QkShape qk_shape() const noexcept;
  double attention_flops(int64_t layer) const noexcept;
  const int32_t* first_key(int64_t layer) const noexcept {
    return config_.is_local(layer) ? run_.local_first_key : run_.first_key;
  }
  const float* cos_sin(int64_t layer) const noexcept {
    const std::vector<float>& table = config_.is_local(layer) ? local_cos_sin_ : cos_sin_;
    return table.empty() ? nullptr : table.data();
  }
  const LayerWeights<T>& weights(int64_t layer) const noexcept {
    return parameters_.layers<T>()[static_cast<size_t>(layer)];
  }
  const LayerActivations<T>& activations(int64_t layer) const noexcept {
    return a_.layers[static_cast<size_t>(layer)];
  }
  bool separate_qk() const noexcept { return config_.rope() || config_.qk_norm; }
  void copy(std::span<T> out, std::span<const T> inp, int64_t n);

  const ModelConfig config_;
  Parameters& parameters_;
  const TransformerOptions options_;
  const int64_t C_, F_, HD_, KD_, V_;
  Arena arena_;
  Activations<T> a_;
  std::vector<float> cos_sin_, local_cos_sin_;  // (longest position yet, D)
  std::vector<int32_t> default_positions_, local_first_key_;
  std::vector<float> ones_;          // weights where a batch has none
  std::vector<float> norm_scratch_;  // kernels::norm_backward_scratch, qk_backward_scratch
  Arena attention_scratch_;
  Run run_{};
};

}  // namespace tumbler::nn
