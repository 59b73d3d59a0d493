#include "kernels/rope.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "kernels/parallel.h"
#include "kernels/table.h"

namespace tumbler::kernels {
namespace {

int64_t padded(int64_t D) {
  return (D + 15) / 16 * 16;
}

}  // namespace

void rope_table(float* cos_sin, int64_t positions, int64_t D, double theta) {
  CHECK(D > 0 && D % 2 == 0, "head size: got {}, expected an even one", D);
  const int64_t half = D / 2;
  for (int64_t i = 0; i < half; ++i) {
    const double frequency = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(D));
    for (int64_t t = 0; t < positions; ++t) {
      cos_sin[t * D + i] = static_cast<float>(std::cos(static_cast<double>(t) * frequency));
      cos_sin[t * D + half + i] = static_cast<float>(std::sin(static_cast<double>(t) * frequency));
    }
  }
}

template <class T>
void qk_forward(T* q, T* k, const T* qkv, const float* q_weight, const float* k_weight, const float* cos_sin,
                const int32_t* positions, const QkShape& shape) noexcept {
  const auto [N, H, KV, D, eps] = shape;
  CHECK(D % 2 == 0, "head size: got {}, expected an even one", D);
  CHECK(cos_sin == nullptr || positions != nullptr, "rope needs positions");
  const auto kernel = ops<T>().qk_forward;
  const int64_t q_row = H * D, k_row = KV * D, row = q_row + 2 * k_row;
  parallel_rows(N, 2 * (q_row + k_row) * static_cast<int64_t>(sizeof(T)), [&](int64_t begin, int64_t end) {
    QkShape part = shape;
    part.N = end - begin;
    kernel(q + begin * q_row, k + begin * k_row, qkv + begin * row, q_weight, k_weight, cos_sin,
           positions == nullptr ? nullptr : positions + begin, part);
  });
}

// The weights' gradients of each chunk and its rotated gradient of a head.
int64_t qk_backward_scratch(int64_t D) {
  return thread_count() * 3 * padded(D);
}

template <class T>
void qk_backward(T* d_qkv, float* d_q_weight, float* d_k_weight, const T* d_q, const T* d_k, const T* qkv,
                 const float* q_weight, const float* k_weight, const float* cos_sin, const int32_t* positions,
                 float* scratch, const QkShape& shape) noexcept {
  // No structured binding: clang 14 does not capture them in lambdas.
  const int64_t N = shape.N, H = shape.H, KV = shape.KV, D = shape.D;
  CHECK(D % 2 == 0, "head size: got {}, expected an even one", D);
  CHECK(cos_sin == nullptr || positions != nullptr, "rope needs positions");
  const auto kernel = ops<T>().qk_backward;
  const int64_t q_row = H * D, k_row = KV * D, row = q_row + 2 * k_row, slot = 3 * padded(D);
  const int chunks = chunk_count(N * 3 * (q_row + k_row) * static_cast<int64_t>(sizeof(T)));
  parallel_chunks(chunks, N, 1, [&](int chunk, int64_t begin, int64_t end) {
    float *q_part = scratch + chunk * slot, *k_part = q_part + padded(D);
    std::fill(q_part, q_part + slot, 0.0f);
    QkShape part = shape;
    part.N = end - begin;
    kernel(d_qkv + begin * row, q_part, k_part, d_q + begin * q_row, d_k + begin * k_row, qkv + begin * row,
           q_weight, k_weight, cos_sin, positions == nullptr ? nullptr : positions + begin,
           k_part + padded(D), part);
  });
  for (int chunk = 0; chunk < chunks; ++chunk) {
    const float *q_part = scratch + chunk * slot, *k_part = q_part + padded(D);
    for (int64_t d = 0; q_weight != nullptr && d < D; ++d) d_q_weight[d] += q_part[d];
    for (int64_t d = 0; k_weight != nullptr && d < D; ++d) d_k_weight[d] += k_part[d];
  }
}

#define INSTANTIATE(T)                                                                                    \
  template void qk_forward(T*, T*, const T*, const float*, const float*, const float*, const int32_t*,    \
                           const QkShape&) noexcept;                                                      \
  template void qk_backward(T*, float*, float*, const T*, const T*, const T*, const float*, const float*, \
                            const float*, const int32_t*, float*, const QkShape&) noexcept;
INSTANTIATE(float)
INSTANTIATE(bf16)
#undef INSTANTIATE

}  // namespace tumbler::kernels
