#include "kernels/optimizer.h"

#include <algorithm>

#include "kernels/parallel.h"
#include "kernels/table.h"

namespace tumbler::kernels {

double sum_of_squares(const float* x, int64_t n) noexcept {
  // 256 parts at most, whose bounds depend on n alone; 4096 floats at least, so that the calls don't count.
  constexpr int64_t kParts = 256, kSmallest = 4096;
  const int64_t size = std::max(kSmallest, (n + kParts * 64 - 1) / (kParts * 64) * 64);
  const int64_t parts = (n + size - 1) / size;
  double sums[kParts];
  const auto kernel = table().sum_of_squares;
  parallel_rows(parts, size * 4, [&](int64_t begin, int64_t end) {
    for (int64_t part = begin; part < end; ++part)
      sums[part] = kernel(x + part * size, std::min(size, n - part * size));
  });
  double total = 0;
  for (int64_t part = 0; part < parts; ++part) total += sums[part];
  return total;
}

void scale(float* x, float factor, int64_t n) noexcept {
  const auto kernel = table().scale;
  parallel_elements(n, 8, [&](int64_t begin, int64_t end) { kernel(x + begin, factor, end - begin); });
}

template <class T>
void adamw_update(float* master, float* m, float* v, const float* grad, T* copy, const AdamW& h,
                  int64_t n) noexcept {
  const auto kernel = ops<T>().adamw_update;
  parallel_elements(n, 28, [&](int64_t begin, int64_t end) {
    kernel(master + begin, m + begin, v + begin, grad + begin, copy == nullptr ? nullptr : copy + begin, h,
           end - begin);
  });
}

void momentum_update(float* momentum, float* out, const float* grad, float beta, float grad_scale,
                     bool nesterov, int64_t n) noexcept {
  const auto kernel = table().momentum_update;
  parallel_elements(n, 16, [&](int64_t begin, int64_t end) {
    kernel(momentum + begin, out + begin, grad + begin, beta, grad_scale, nesterov, end - begin);
  });
}

template <class T>
void apply_update(float* master, const float* update, T* copy, float lr, float weight_decay,
                  int64_t n) noexcept {
  const auto kernel = ops<T>().apply_update;
  parallel_elements(n, 12, [&](int64_t begin, int64_t end) {
    kernel(master + begin, update + begin, copy == nullptr ? nullptr : copy + begin, lr, weight_decay,
           end - begin);
  });
}

#define INSTANTIATE(T)                                                                                  \
  template void adamw_update(float*, float*, float*, const float*, T*, const AdamW&, int64_t) noexcept; \
  template void apply_update(float*, const float*, T*, float, float, int64_t) noexcept;
INSTANTIATE(float)
INSTANTIATE(bf16)
#undef INSTANTIATE

}  // namespace tumbler::kernels
