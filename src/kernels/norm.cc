#include "kernels/norm.h"

#include <algorithm>

#include "base/check.h"
#include "kernels/parallel.h"
#include "kernels/table.h"

namespace tumbler::kernels {
namespace {

// Two vectors of C floats a thread, each on cache lines of its own.
int64_t padded(int64_t C) {
  return (C + 15) / 16 * 16;
}

// d_weight += the first, d_bias (or null) += the second vector of every chunk, in the order of the chunks.
void add_parts(float* d_weight, float* d_bias, const float* scratch, int chunks, int64_t C) {
  for (int chunk = 0; chunk < chunks; ++chunk) {
    const float* part = scratch + chunk * 2 * padded(C);
    for (int64_t c = 0; c < C; ++c) d_weight[c] += part[c];
    if (d_bias == nullptr) continue;
    for (int64_t c = 0; c < C; ++c) d_bias[c] += part[padded(C) + c];
  }
}

}  // namespace

int64_t norm_backward_scratch(int64_t C) {
  return thread_count() * 2 * padded(C);
}

template <class T>
void rms_norm_forward(T* out, float* rstd, T* residual, const T* delta, const float* weight, int64_t N,
                      int64_t C, float eps) noexcept {
  const auto kernel = ops<T>().rms_norm_forward;
  const int64_t arrays = delta == nullptr ? 2 : 4;  // read and written
  parallel_rows(N, arrays * C * static_cast<int64_t>(sizeof(T)), [&](int64_t begin, int64_t end) {
    const int64_t at = begin * C;
    kernel(out + at, rstd + begin, residual + at, delta == nullptr ? nullptr : delta + at, weight,
           end - begin, C, eps);
  });
}

template <class T>
void rms_norm_backward(T* d_residual, float* d_weight, const T* d_out, const T* residual, const float* weight,
                       const float* rstd, float* scratch, int64_t N, int64_t C) noexcept {
  const auto kernel = ops<T>().rms_norm_backward;
  const int chunks = chunk_count(N * 4 * C * static_cast<int64_t>(sizeof(T)));
  parallel_chunks(chunks, N, 1, [&](int chunk, int64_t begin, int64_t end) {
    float* part = scratch + chunk * 2 * padded(C);
    std::fill(part, part + C, 0.0f);
    const int64_t at = begin * C;
    kernel(d_residual + at, part, d_out + at, residual + at, weight, rstd + begin, end - begin, C);
  });
  add_parts(d_weight, nullptr, scratch, chunks, C);
}

template <class T>
void layer_norm_forward(T* out, float* mean, float* rstd, T* residual, const T* delta, const float* weight,
                        const float* bias, int64_t N, int64_t C, float eps) noexcept {
  const auto kernel = ops<T>().layer_norm_forward;
  const int64_t arrays = delta == nullptr ? 2 : 4;
  parallel_rows(N, arrays * C * static_cast<int64_t>(sizeof(T)), [&](int64_t begin, int64_t end) {
    const int64_t at = begin * C;
    kernel(out + at, mean + begin, rstd + begin, residual + at, delta == nullptr ? nullptr : delta + at,
           weight, bias, end - begin, C, eps);
  });
}

template <class T>
void layer_norm_backward(T* d_residual, float* d_weight, float* d_bias, const T* d_out, const T* residual,
                         const float* weight, const float* mean, const float* rstd, float* scratch, int64_t N,
                         int64_t C) noexcept {
  const auto kernel = ops<T>().layer_norm_backward;
  const int chunks = chunk_count(N * 4 * C * static_cast<int64_t>(sizeof(T)));
  parallel_chunks(chunks, N, 1, [&](int chunk, int64_t begin, int64_t end) {
    float *weight_part = scratch + chunk * 2 * padded(C), *bias_part = weight_part + padded(C);
    std::fill(weight_part, weight_part + C, 0.0f);
    std::fill(bias_part, bias_part + C, 0.0f);
    const int64_t at = begin * C;
    kernel(d_residual + at, weight_part, bias_part, d_out + at, residual + at, weight, mean + begin,
           rstd + begin, end - begin, C);
  });
  add_parts(d_weight, d_bias, scratch, chunks, C);
}

#define INSTANTIATE(T)                                                                                      \
  template void rms_norm_forward(T*, float*, T*, const T*, const float*, int64_t, int64_t, float) noexcept; \
  template void rms_norm_backward(T*, float*, const T*, const T*, const float*, const float*, float*,       \
                                  int64_t, int64_t) noexcept;                                               \
  template void layer_norm_forward(T*, float*, float*, T*, const T*, const float*, const float*, int64_t,   \
                                   int64_t, float) noexcept;                                                \
  template void layer_norm_backward(T*, float*, float*, const T*, const T*, const float*, const float*,     \
                                    const float*, float*, int64_t, int64_t) noexcept;
INSTANTIATE(float)
INSTANTIATE(bf16)
#undef INSTANTIATE

}  // namespace tumbler::kernels
