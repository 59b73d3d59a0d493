#include "kernels/embedding.h"

#include "base/check.h"
#include "kernels/parallel.h"
#include "kernels/table.h"

namespace tumbler::kernels {

template <class T>
void embedding_forward(T* out, const int32_t* tokens, const int32_t* positions, const T* wte, const T* wpe,
                       float scale, int64_t N, int64_t C) noexcept {
  CHECK(wpe == nullptr || positions != nullptr, "wpe needs positions");
  const auto kernel = ops<T>().embedding_forward;
  parallel_rows(N, 2 * C * static_cast<int64_t>(sizeof(T)), [&](int64_t begin, int64_t end) {
    kernel(out + begin * C, tokens + begin, positions == nullptr ? nullptr : positions + begin, wte, wpe,
           scale, end - begin, C);
  });
}

template <class T>
void embedding_backward(float* d_wte, float* d_wpe, const T* d_out, const int32_t* tokens,
                        const int32_t* positions, float scale, int64_t N, int64_t C) noexcept {
  CHECK(d_wpe == nullptr || positions != nullptr, "d_wpe needs positions");
  const auto kernel = ops<T>().embedding_backward;
  const int chunks = chunk_count(N * C * static_cast<int64_t>(sizeof(T) + 8));
  // 16 floats are a cache line, which is read and written by one thread.
  parallel_chunks(chunks, C, 16, [&](int, int64_t begin, int64_t end) {
    if (begin < end) kernel(d_wte, d_wpe, d_out, tokens, positions, scale, N, C, begin, end);
  });
}

#define INSTANTIATE(T)                                                                                       \
  template void embedding_forward(T*, const int32_t*, const int32_t*, const T*, const T*, float, int64_t,    \
                                  int64_t) noexcept;                                                         \
  template void embedding_backward(float*, float*, const T*, const int32_t*, const int32_t*, float, int64_t, \
                                   int64_t) noexcept;
INSTANTIATE(float)
INSTANTIATE(bf16)
#undef INSTANTIATE

}  // namespace tumbler::kernels
