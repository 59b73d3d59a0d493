#include "kernels/activation.h"

#include "kernels/parallel.h"
#include "kernels/table.h"

namespace tumbler::kernels {

template <class T>
void gelu_forward(T* out, const T* inp, int64_t n) noexcept {
  const auto kernel = ops<T>().gelu_forward;
  parallel_elements(n, 2 * sizeof(T),
                    [&](int64_t begin, int64_t end) { kernel(out + begin, inp + begin, end - begin); });
}

template <class T>
void gelu_backward(T* d_inp, const T* d_out, const T* inp, int64_t n) noexcept {
  const auto kernel = ops<T>().gelu_backward;
  parallel_elements(n, 3 * sizeof(T), [&](int64_t begin, int64_t end) {
    kernel(d_inp + begin, d_out + begin, inp + begin, end - begin);
  });
}

template <class T>
void glu_forward(T* out, const T* gate_up, Gate gate, int64_t N, int64_t I) noexcept {
  const auto kernel = ops<T>().glu_forward;
  parallel_rows(N, 3 * I * static_cast<int64_t>(sizeof(T)), [&](int64_t begin, int64_t end) {
    kernel(out + begin * I, gate_up + begin * 2 * I, gate, end - begin, I);
  });
}

template <class T>
void glu_backward(T* d_gate_up, const T* d_out, const T* gate_up, Gate gate, int64_t N, int64_t I) noexcept {
  const auto kernel = ops<T>().glu_backward;
  parallel_rows(N, 5 * I * static_cast<int64_t>(sizeof(T)), [&](int64_t begin, int64_t end) {
    kernel(d_gate_up + begin * 2 * I, d_out + begin * I, gate_up + begin * 2 * I, gate, end - begin, I);
  });
}

template <class T>
void add_in_place(T* a, const T* b, int64_t n) noexcept {
  const auto kernel = ops<T>().add_in_place;
  parallel_elements(n, 3 * sizeof(T),
                    [&](int64_t begin, int64_t end) { kernel(a + begin, b + begin, end - begin); });
}

void to_bf16(bf16* out, const float* inp, int64_t n) noexcept {
  const auto kernel = table().to_bf16;
  parallel_elements(n, 6, [&](int64_t begin, int64_t end) { kernel(out + begin, inp + begin, end - begin); });
}

void to_float(float* out, const bf16* inp, int64_t n) noexcept {
  const auto kernel = table().to_float;
  parallel_elements(n, 6, [&](int64_t begin, int64_t end) { kernel(out + begin, inp + begin, end - begin); });
}

#define INSTANTIATE(T)                                                                 \
  template void gelu_forward(T*, const T*, int64_t) noexcept;                          \
  template void gelu_backward(T*, const T*, const T*, int64_t) noexcept;               \
  template void glu_forward(T*, const T*, Gate, int64_t, int64_t) noexcept;            \
  template void glu_backward(T*, const T*, const T*, Gate, int64_t, int64_t) noexcept; \
  template void add_in_place(T*, const T*, int64_t) noexcept;
INSTANTIATE(float)
INSTANTIATE(bf16)
#undef INSTANTIATE

}  // namespace tumbler::kernels
