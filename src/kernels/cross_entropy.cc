#include "kernels/cross_entropy.h"

#include "base/check.h"
#include "kernels/parallel.h"
#include "kernels/table.h"

namespace tumbler::kernels {
namespace {

// A wrong target would read and write outside the row; the check costs nothing beside V exponentials.
void check_targets(const int32_t* targets, int64_t N, int64_t V) {
  for (int64_t n = 0; n < N; ++n)
    CHECK(targets[n] == kIgnoreTarget || (targets[n] >= 0 && targets[n] < V),
          "target {}: got {}, expected 0..{} or {}", n, targets[n], V - 1, kIgnoreTarget);
}

}  // namespace

template <class T>
void cross_entropy_forward(float* losses, const T* logits, const int32_t* targets, int64_t N, int64_t V,
                           int64_t stride) noexcept {
  CHECK(stride >= V, "stride {}: expected {} or more", stride, V);
  check_targets(targets, N, V);
  const auto kernel = ops<T>().cross_entropy_forward;
  parallel_rows(N, V * static_cast<int64_t>(sizeof(T)), [&](int64_t begin, int64_t end) {
    kernel(losses + begin, logits + begin * stride, targets + begin, end - begin, V, stride);
  });
}

template <class T>
void cross_entropy_forward_backward(float* losses, T* logits, const int32_t* targets, const float* weights,
                                    int64_t N, int64_t V, int64_t stride) noexcept {
  CHECK(stride >= V, "stride {}: expected {} or more", stride, V);
  check_targets(targets, N, V);
  const auto kernel = ops<T>().cross_entropy_forward_backward;
  parallel_rows(N, 2 * V * static_cast<int64_t>(sizeof(T)), [&](int64_t begin, int64_t end) {
    kernel(losses + begin, logits + begin * stride, targets + begin, weights + begin, end - begin, V, stride);
  });
}

#define INSTANTIATE(T)                                                                                       \
  template void cross_entropy_forward(float*, const T*, const int32_t*, int64_t, int64_t, int64_t) noexcept; \
  template void cross_entropy_forward_backward(float*, T*, const int32_t*, const float*, int64_t, int64_t,   \
                                               int64_t) noexcept;
INSTANTIATE(float)
INSTANTIATE(bf16)
#undef INSTANTIATE

}  // namespace tumbler::kernels
