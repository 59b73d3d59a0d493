// Normalisation over the last dimension. Statistics in f32. rows of (N, C) are contiguous; weight, bias and
// their gradients are f32.
#pragma once

#include <cstdint>

#include "kernels/dtype.h"

namespace tumbler::kernels {

// residual = residual + delta (where delta is not null), then out = residual * rstd * weight, rstd =
// 1/sqrt(mean(residual^2) + eps). Zhang & Sennrich 2019, arXiv:1910.07467.  rstd (N) is kept for the backward
// pass.
template <class T>
void rms_norm_forward(T* out, float* rstd, T* residual, const T* delta, const float* weight, int64_t N,
                      int64_t C, float eps) noexcept;

// d_residual (N, C) += gradient through the norm; d_weight (C) += its own. residual is what the forward pass
// left in it. Deterministic for a given thread count: every thread sums its own rows into scratch, threads
// are added in order. scratch: norm_backward_scratch(C) floats.
template <class T>
void rms_norm_backward(T* d_residual, float* d_weight, const T* d_out, const T* residual, const float* weight,
                       const float* rstd, float* scratch, int64_t N, int64_t C) noexcept;

// As above with mean and bias.  Ba, Kiros & Hinton 2016, arXiv:1607.06450.
template <class T>
void layer_norm_forward(T* out, float* mean, float* rstd, T* residual, const T* delta, const float* weight,
                        const float* bias, int64_t N, int64_t C, float eps) noexcept;
template <class T>
void layer_norm_backward(T* d_residual, float* d_weight, float* d_bias, const T* d_out, const T* residual,
                         const float* weight, const float* mean, const float* rstd, float* scratch, int64_t N,
                         int64_t C) noexcept;

int64_t norm_backward_scratch(int64_t C);

}  // namespace tumbler::kernels
