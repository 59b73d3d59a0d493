// Optimiser arithmetic on flat f32 arrays; nn/ decides which tensor gets which.
#pragma once

#include <cstdint>

#include "kernels/dtype.h"
#include "kernels/isa.h"
#include "kernels/matmul.h"

namespace tumbler::kernels {

// Sum of squares in f64, the same for any thread count (fixed blocks, added in order).
double sum_of_squares(const float* x, int64_t n) noexcept;
// x *= factor
void scale(float* x, float factor, int64_t n) noexcept;

struct AdamW {
  float lr, beta1, beta2, eps, weight_decay;
  float bias1, bias2;  // 1 - beta^step
  float grad_scale;    // clipping: gradients are read as grad * grad_scale
};
// Loshchilov & Hutter 2017, arXiv:1711.05101. master, m, v, grad (n) f32; copy (n) T or null gets the rounded
// master. 16 bytes read and 12 written a parameter, the bound of this pass.
template <class T>
void adamw_update(float* master, float* m, float* v, const float* grad, T* copy, const AdamW& h,
                  int64_t n) noexcept;

// out (rows, cols) f32 = the orthogonal factor of inp by `steps` Newton-Schulz iterations with the quintic of
// Jordan et al. 2024 (Muon). scratch: newton_schulz_scratch(rows, cols) floats. Works on the transposed form
// for tall matrices; its products are made in bf16 where that is fast (bf16 is enough: the result is only
// near orthogonal). out may not overlap inp.
void newton_schulz(Matrix<float> out, Matrix<const float> inp, int steps, float* scratch,
                   DType products = best_dtype()) noexcept;
int64_t newton_schulz_scratch(int64_t rows, int64_t cols);

// momentum = beta * momentum + grad * grad_scale;  out = nesterov ? grad * grad_scale + beta * momentum :
// momentum
void momentum_update(float* momentum, float* out, const float* grad, float beta, float grad_scale,
                     bool nesterov, int64_t n) noexcept;
// master = master * (1 - lr * weight_decay) - lr * update; copy as in adamw_update
template <class T>
void apply_update(float* master, const float* update, T* copy, float lr, float weight_decay,
                  int64_t n) noexcept;

}  // namespace tumbler::kernels
