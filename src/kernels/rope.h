// What happens to queries and keys between the qkv product and attention: per-head RMSNorm (Qwen3's QK-norm),
// then rotary positions (Su et al. 2021, arXiv:2104.09864) in the half-split layout of Llama and GPT-NeoX:
// dimension d pairs with d + D/2.
#pragma once

#include <cstdint>

#include "kernels/dtype.h"

namespace tumbler::kernels {

struct QkShape {
  int64_t N, H, KV, D;  // N = B*T tokens; a row of qkv is (H + 2*KV) * D
  float eps;
};

// cos_sin (positions, D): D/2 cosines then D/2 sines of one position. Frequencies theta^(-2i/D), computed in
// f64.
void rope_table(float* cos_sin, int64_t positions, int64_t D, double theta);

// q (N, H, D), k (N, KV, D) = rope(norm(…)) of the first parts of qkv (N, H + 2*KV, D).
// q_weight, k_weight (D) f32: null for no norm. cos_sin: null for no rope. positions (N): row of cos_sin for
// each token.
template <class T>
void qk_forward(T* q, T* k, const T* qkv, const float* q_weight, const float* k_weight, const float* cos_sin,
                const int32_t* positions, const QkShape& shape) noexcept;

// Writes the first H + KV heads of d_qkv (the value part belongs to attention_backward); d_q_weight,
// d_k_weight += theirs. scratch: qk_backward_scratch(D) floats.
template <class T>
void qk_backward(T* d_qkv, float* d_q_weight, float* d_k_weight, const T* d_q, const T* d_k, const T* qkv,
                 const float* q_weight, const float* k_weight, const float* cos_sin, const int32_t* positions,
                 float* scratch, const QkShape& shape) noexcept;

int64_t qk_backward_scratch(int64_t D);

}  // namespace tumbler::kernels
