// The weights of a model: master copy (f32), gradients (f32) and, for bf16 compute, a rounded copy; one arena
// each.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/dtype.h"
#include "nn/arena.h"
#include "nn/config.h"

namespace tumbler::nn {

// What initialisation, the optimiser and the compute copy do with a tensor.
//   matrix     2-D weight of a layer: Muon, weight decay, compute copy
//   embedding  token or position embedding: AdamW, compute copy
//   head       untied output head: AdamW, compute copy
//   norm, bias 1-D: AdamW, always read in f32
enum class TensorKind { matrix, embedding, head, norm, bias };

// A run of rows of a tensor that is a tensor of its own to optimisers (Muon) and in files: q, k, v of qkv;
// gate, up of gate_up.
struct RowSlice {
  std::string
      name;  // as Hugging Face calls it in Llama-like models: "model.layers.0.self_attn.q_proj.weight"
  int64_t first_row, rows;
};

struct Tensor {
  std::string name;  // "layers.0.qkv", "embedding", …: see tensor names below
  TensorKind kind;
  int64_t rows, cols;                // 1-D: rows elements, cols 1
  int64_t offset;                    // elements, into master() and gradients()
  int64_t copy_offset;               // elements, into the compute copy; -1 where there is none (norm, bias)
  std::vector<RowSlice> slices;      // in order, covering all rows
  bool residual_projection = false;  // writes into the residual stream: initialised smaller
  int64_t size() const noexcept { return rows * cols; }
};

// Views of one layer for forward passes. Absent tensors are empty spans (data() == nullptr). T = float reads
// the master copy.
template <class T>
struct LayerWeights {
  std::span<const float> attn_norm, attn_norm_bias;  // (C)
  std::span<const T> qkv;                            // (H*D + 2*KV*D, C): rows of q, then k, then v
  std::span<const float> qkv_bias;                   // (H*D + 2*KV*D)
  std::span<const float> q_norm, k_norm;             // (D)
  std::span<const T> out;                            // (C, H*D)
  std::span<const float> out_bias;                   // (C)
  std::span<const float> attn_post_norm;             // (C) of what attention adds (Gemma)
  std::span<const float> mlp_norm, mlp_norm_bias;    // (C)
  std::span<const T> up;                             // gated: (2*F, C), rows of gate, then up; else (F, C)
  std::span<const float> up_bias;                    // (F)
  std::span<const T> down;                           // (C, F)
  std::span<const float> down_bias;                  // (C)
  std::span<const float> mlp_post_norm;              // (C) of what the MLP adds (Gemma)
};

// The rest of the model.
template <class T>
struct ModelWeights {
  std::span<const T> embedding;                        // (V, C)
  std::span<const T> positions;                        // (max_positions, C) or empty
  std::span<const float> final_norm, final_norm_bias;  // (C)
  std::span<const T> head;                             // (V, C); the embedding where tied
};

// Gradients of one layer, same shapes as LayerWeights, all f32.
struct LayerGradients {
  std::span<float> attn_norm, attn_norm_bias, qkv, qkv_bias, q_norm, k_norm, out, out_bias;
  std::span<float> attn_post_norm, mlp_norm, mlp_norm_bias, up, up_bias, down, down_bias, mlp_post_norm;
};
struct ModelGradients {
  std::span<float> embedding, positions, final_norm, final_norm_bias, head;
};

struct ParametersOptions {
  kernels::DType dtype = kernels::DType::f32;  // of the compute copy; f32 needs none
  bool gradients = true;                       // false for inference: no gradient arena
};

// Tensor names: "embedding", "positions", "layers.N.attn_norm", ".attn_norm_bias", ".qkv", ".qkv_bias",
// ".q_norm", ".k_norm", ".out",
// ".out_bias", ".attn_post_norm", ".mlp_norm", ".mlp_norm_bias", ".up" (gated: gate rows then up rows),
// ".up_bias", ".down", ".down_bias", ".mlp_post_norm", "final_norm", "final_norm_bias", "head". Gaps between
// tensors (alignment) stay zero. Norm weights are the factors themselves: the 1 that Gemma's files leave off
// is in them.
class Parameters {
 public:
  // All zero. Throws Error on a config that check() refuses.
  Parameters(const ModelConfig& config, const ParametersOptions& options);

  // Random weights, the same for a seed whatever the thread count: each tensor draws from its own stream
  // (hash of its name).
  //   gpt2          N(0, 0.02), positions too, residual projections 0.02/sqrt(2L), biases 0, norms 1 (Radford
  //   et al. 2019, 2.3) llama, qwen   matrices N(0, 1/sqrt(fan_in)) cut at 3 sigma, residual projections over
  //   sqrt(2L), embeddings and head N(0, 0.02)
  // Ends with refresh_copy().
  void initialize(uint64_t seed);
  // Compute copy = rounded master. After anything but the optimiser has written into master() (loading,
  // broadcast).
  void refresh_copy();

  const ModelConfig& config() const noexcept { return config_; }
  kernels::DType dtype() const noexcept { return options_.dtype; }
  const std::vector<Tensor>& tensors() const noexcept { return tensors_; }
  const Tensor* find(std::string_view name) const noexcept;
  int64_t count() const noexcept;  // parameters, without gaps

  // Whole arenas, gaps included: for collectives and norms.
  std::span<float> master() noexcept { return master_.view<float>(0, size_); }
  std::span<const float> master() const noexcept { return master_.view<float>(0, size_); }
  std::span<float> gradients() noexcept { return gradients_.view<float>(0, has_gradients() ? size_ : 0); }
  bool has_gradients() const noexcept { return options_.gradients; }
  void zero_gradients() noexcept;

  std::span<float> master(const Tensor& t) noexcept { return master_.view<float>(t.offset * 4, t.size()); }
  std::span<const float> master(const Tensor& t) const noexcept {
    return master_.view<float>(t.offset * 4, t.size());
  }
  std::span<float> gradient(const Tensor& t) noexcept {
    return gradients_.view<float>(t.offset * 4, t.size());
  }
  // Empty where dtype() is f32 or the tensor has no copy.
  std::span<kernels::bf16> copy(const Tensor& t) noexcept;

  // T must be what dtype() says.
  template <class T>
  const std::vector<LayerWeights<T>>& layers() const noexcept;
  template <class T>
  const ModelWeights<T>& model() const noexcept;
  const std::vector<LayerGradients>& layer_gradients() const noexcept { return layer_gradients_; }
  const ModelGradients& model_gradients() const noexcept { return model_gradients_; }

 private:
  void add(std::string name, TensorKind kind, int64_t rows, int64_t cols, std::vector<RowSlice> slices,
           bool residual = false);
  void lay_out();
  template <class T>
  void bind(std::vector<LayerWeights<T>>& layers, ModelWeights<T>& model);
  void bind_gradients();

  ModelConfig config_;
  ParametersOptions options_;
  std::vector<Tensor> tensors_;
  int64_t size_ = 0, copy_size_ = 0;
  Arena master_, gradients_, copy_;
  std::vector<LayerWeights<float>> layers_f32_;
  std::vector<LayerWeights<kernels::bf16>> layers_bf16_;
  ModelWeights<float> model_f32_;
  ModelWeights<kernels::bf16> model_bf16_;
  std::vector<LayerGradients> layer_gradients_;
  ModelGradients model_gradients_;
};

}  // namespace tumbler::nn
