// Token (and learned position) embeddings.
#pragma once

#include <cstdint>

#include "kernels/dtype.h"

namespace tumbler::kernels {

// out (N, C) = wte[tokens[n]] * scale + wpe[positions[n]];  wte (V, C) T, wpe (positions, C) T or null.
// tokens within 0..V-1 is the caller's duty.
template <class T>
void embedding_forward(T* out, const int32_t* tokens, const int32_t* positions, const T* wte, const T* wpe,
                       float scale, int64_t N, int64_t C) noexcept;

// d_wte (V, C) f32 += , d_wpe f32 += (or null). Deterministic: threads own columns, not tokens.
template <class T>
void embedding_backward(float* d_wte, float* d_wpe, const T* d_out, const int32_t* tokens,
                        const int32_t* positions, float scale, int64_t N, int64_t C) noexcept;

}  // namespace tumbler::kernels
