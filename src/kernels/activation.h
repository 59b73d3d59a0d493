// Element-wise parts of the MLP, and residual sums.
#pragma once

#include <cstdint>

#include "kernels/dtype.h"

namespace tumbler::kernels {

// GELU, tanh form (GPT-2).  Hendrycks & Gimpel 2016, arXiv:1606.08415.
template <class T>
void gelu_forward(T* out, const T* inp, int64_t n) noexcept;
// d_inp = d_out * gelu'(inp); may be in place (d_inp == d_out).
template <class T>
void gelu_backward(T* d_inp, const T* d_out, const T* inp, int64_t n) noexcept;

// Gated units, Shazeer 2020, arXiv:2002.05202: out (N, I) = act(gate) * up, gate_up (N, 2*I) is a row of gate
// then a row of up.
enum class Gate { silu, gelu_tanh };
template <class T>
void glu_forward(T* out, const T* gate_up, Gate gate, int64_t N, int64_t I) noexcept;
// d_gate_up may be gate_up itself.
template <class T>
void glu_backward(T* d_gate_up, const T* d_out, const T* gate_up, Gate gate, int64_t N, int64_t I) noexcept;

// a += b
template <class T>
void add_in_place(T* a, const T* b, int64_t n) noexcept;

void to_bf16(bf16* out, const float* inp, int64_t n) noexcept;
void to_float(float* out, const bf16* inp, int64_t n) noexcept;

}  // namespace tumbler::kernels
