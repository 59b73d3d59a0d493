// Plain-loop twins of matmul.h, with the same arguments.
#pragma once

#include "kernels/matmul.h"

namespace tumbler::kernels::ref {

template <class T, class O>
void matmul_forward(Matrix<O> out, Matrix<const T> inp, Matrix<const T> weight, const float* bias,
                    bool accumulate) noexcept;
template <class T, class O>
void matmul_backward_input(Matrix<O> d_inp, Matrix<const T> d_out, Matrix<const T> weight,
                           bool accumulate) noexcept;
template <class T>
void matmul_backward_weight(Matrix<float> d_weight, Matrix<const T> d_out, Matrix<const T> inp,
                            bool accumulate) noexcept;
template <class T>
void bias_backward(float* d_bias, Matrix<const T> d_out) noexcept;

}  // namespace tumbler::kernels::ref
