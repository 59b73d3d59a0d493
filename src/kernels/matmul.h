// Matrix products. The only place that calls oneDNN's GEMM; see matmul_ref.cc for what they mean in plain
// loops.
#pragma once

#include <cstdint>

#include "kernels/dtype.h"

namespace tumbler::kernels {

// A row-major matrix that may skip elements between rows: element (i, j) is data[i * row_stride + j].
template <class T>
struct Matrix {
  T* data;
  int64_t rows, cols, row_stride;
  Matrix(T* data_, int64_t rows_, int64_t cols_) noexcept : Matrix(data_, rows_, cols_, cols_) {}
  Matrix(T* data_, int64_t rows_, int64_t cols_, int64_t stride) noexcept
      : data(data_), rows(rows_), cols(cols_), row_stride(stride) {}
};

// out = inp * weight^T (+ bias) (+ out).  Vaswani et al. 2017, arXiv:1706.03762, 3.3.
//   inp (N, C) T   weight (OC, C) T   bias (OC) f32 or null   out (N, OC) O
// T and O: float/float, bf16/bf16 or bf16/float. f32 accumulation, 2*N*C*OC flop, parallel over tiles of out.
// Where the machine has no bf16 products, bf16 operands are widened to f32 first: same results up to order of
// sums. Bit-reproducible for a given shape, ISA and number of threads. CHECKs: shapes agree; no overlap is
// the caller's duty.
template <class T, class O>
void matmul_forward(Matrix<O> out, Matrix<const T> inp, Matrix<const T> weight, const float* bias,
                    bool accumulate) noexcept;

// forward was: out = inp * weight^T.   d_inp (N, C) (+)= d_out (N, OC) * weight (OC, C)
template <class T, class O>
void matmul_backward_input(Matrix<O> d_inp, Matrix<const T> d_out, Matrix<const T> weight,
                           bool accumulate) noexcept;

// forward was: out = inp * weight^T.   d_weight (OC, C) f32 (+)= d_out (N, OC)^T * inp (N, C)
template <class T>
void matmul_backward_weight(Matrix<float> d_weight, Matrix<const T> d_out, Matrix<const T> inp,
                            bool accumulate) noexcept;

// d_bias (OC) f32 += column sums of d_out (N, OC)
template <class T>
void bias_backward(float* d_bias, Matrix<const T> d_out) noexcept;

}  // namespace tumbler::kernels
