// Softmax cross-entropy on one chunk of rows of logits; the caller (nn/) never holds all logits.
#pragma once

#include <cstdint>

#include "kernels/dtype.h"

namespace tumbler::kernels {

constexpr int32_t kIgnoreTarget = -1;  // a row with this target has loss 0 and gradient 0

// losses (N) f32 = -log softmax(logits)[target]. Logits (N, V) T, `stride` >= V elements from row to row.
template <class T>
void cross_entropy_forward(float* losses, const T* logits, const int32_t* targets, int64_t N, int64_t V,
                           int64_t stride) noexcept;

// As above, and logits become their own gradient: (softmax - onehot) * weights[n] (weights (N) f32: 1/tokens
// for a mean, an advantage in RL).
template <class T>
void cross_entropy_forward_backward(float* losses, T* logits, const int32_t* targets, const float* weights,
                                    int64_t N, int64_t V, int64_t stride) noexcept;

}  // namespace tumbler::kernels
