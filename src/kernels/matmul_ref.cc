// What the matrix products mean, in plain loops: the oracle of matmul_test.cc.
#include "kernels/matmul_ref.h"

namespace tumbler::kernels::ref {

template <class T, class O>
void matmul_forward(Matrix<O> out, Matrix<const T> inp, Matrix<const T> weight, const float* bias,
                    bool accumulate) noexcept {
  for (int64_t n = 0; n < out.rows; ++n)
    for (int64_t oc = 0; oc < out.cols; ++oc) {
      O& o = out.data[n * out.row_stride + oc];
      float sum = accumulate ? to_float(o) : 0;
      for (int64_t c = 0; c < inp.cols; ++c)
        sum += to_float(inp.data[n * inp.row_stride + c]) * to_float(weight.data[oc * weight.row_stride + c]);
      o = from_float<O>(sum + (bias != nullptr ? bias[oc] : 0));
    }
}

template <class T, class O>
void matmul_backward_input(Matrix<O> d_inp, Matrix<const T> d_out, Matrix<const T> weight,
                           bool accumulate) noexcept {
  // forward was: out[n][oc] = sum over c of inp[n][c] * weight[oc][c]
  for (int64_t n = 0; n < d_inp.rows; ++n)
    for (int64_t c = 0; c < d_inp.cols; ++c) {
      O& d = d_inp.data[n * d_inp.row_stride + c];
      float sum = accumulate ? to_float(d) : 0;
      for (int64_t oc = 0; oc < d_out.cols; ++oc)
        sum += to_float(d_out.data[n * d_out.row_stride + oc]) *
               to_float(weight.data[oc * weight.row_stride + c]);
      d = from_float<O>(sum);
    }
}

template <class T>
void matmul_backward_weight(Matrix<float> d_weight, Matrix<const T> d_out, Matrix<const T> inp,
                            bool accumulate) noexcept {
  // forward was: out[n][oc] = sum over c of inp[n][c] * weight[oc][c]
  for (int64_t oc = 0; oc < d_weight.rows; ++oc)
    for (int64_t c = 0; c < d_weight.cols; ++c) {
      float& d = d_weight.data[oc * d_weight.row_stride + c];
      float sum = accumulate ? d : 0;
      for (int64_t n = 0; n < d_out.rows; ++n)
        sum += to_float(d_out.data[n * d_out.row_stride + oc]) * to_float(inp.data[n * inp.row_stride + c]);
      d = sum;
    }
}

template <class T>
void bias_backward(float* d_bias, Matrix<const T> d_out) noexcept {
  for (int64_t oc = 0; oc < d_out.cols; ++oc)
    for (int64_t n = 0; n < d_out.rows; ++n) d_bias[oc] += to_float(d_out.data[n * d_out.row_stride + oc]);
}

#define INSTANTIATE(T, O)                                                                       \
  template void matmul_forward<T, O>(Matrix<O>, Matrix<const T>, Matrix<const T>, const float*, \
                                     bool) noexcept;                                            \
  template void matmul_backward_input<T, O>(Matrix<O>, Matrix<const T>, Matrix<const T>, bool) noexcept;
INSTANTIATE(float, float)
INSTANTIATE(bf16, bf16)
INSTANTIATE(bf16, float)
#undef INSTANTIATE
template void matmul_backward_weight<float>(Matrix<float>, Matrix<const float>, Matrix<const float>,
                                            bool) noexcept;
template void matmul_backward_weight<bf16>(Matrix<float>, Matrix<const bf16>, Matrix<const bf16>,
                                           bool) noexcept;
template void bias_backward<float>(float*, Matrix<const float>) noexcept;
template void bias_backward<bf16>(float*, Matrix<const bf16>) noexcept;

}  // namespace tumbler::kernels::ref
