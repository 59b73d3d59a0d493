#include "kernels/attention.h"

#include <omp.h>

#include "base/check.h"
#include "kernels/attention_ref.h"
#include "kernels/attention_table.h"
#include "kernels/isa.h"
#include "kernels/table.h"

namespace tumbler::kernels {
namespace {

// Scratch of one thread, rounded up so that each begins on a cache line.
int64_t floats_per_thread(const AttentionShape& shape) {
  return attention_padded(std::max(attention_forward_floats(shape), attention_backward_floats(shape)), 16);
}

void check(const AttentionShape& s) {
  CHECK(s.H % s.KV == 0 && s.D > 0, "B={} T={} H={} KV={} D={}", s.B, s.T, s.H, s.KV, s.D);
}

// body(unit, scratch of this thread) for every unit. Units differ in nothing but their place, so an even
// split is a fair one.
template <class Body>
void for_units(int64_t units, const AttentionShape& shape, void* scratch, const Body& body) {
  const int64_t floats = floats_per_thread(shape);
#pragma omp parallel for schedule(static)
  for (int64_t unit = 0; unit < units; ++unit)
    body(unit, static_cast<float*>(scratch) + omp_get_thread_num() * floats);
}

}  // namespace

int64_t attention_scratch(const AttentionShape& shape) {
  return thread_count() * floats_per_thread(shape) * static_cast<int64_t>(sizeof(float));
}

template <class T>
void attention_forward(HeadView<T> out, float* lse, HeadView<const T> q, HeadView<const T> k,
                       HeadView<const T> v, const int32_t* first_key, const AttentionShape& shape,
                       void* scratch) noexcept {
  check(shape);
  const AttentionOps<T>& attention = ops<T>().attention;
  if (attention.forward == nullptr) return ref::attention_forward<T>(out, lse, q, k, v, first_key, shape);
  const AttentionForward<T> args = {out, lse, q, k, v, first_key, shape};
  // Few heads and many threads: the query blocks of a head are dealt out too, each part packing the keys for
  // itself. No sum crosses parts.
  const int64_t heads = shape.B * shape.KV, threads = thread_count();
  const int64_t blocks = (shape.T + kAttentionBlock - 1) / kAttentionBlock;
  const int64_t parts = heads % threads == 0 ? 1 : std::min(threads, blocks);
  for_units(heads * parts, shape, scratch, [&](int64_t unit, float* mine) {
    const int64_t head = unit / parts;
    attention.forward(args, head / shape.KV, head % shape.KV, unit % parts, parts, mine);
  });
}

template <class T>
void attention_backward(HeadView<T> d_q, HeadView<T> d_k, HeadView<T> d_v, HeadView<const T> d_out,
                        HeadView<const T> out, const float* lse, HeadView<const T> q, HeadView<const T> k,
                        HeadView<const T> v, const int32_t* first_key, const AttentionShape& shape,
                        void* scratch) noexcept {
  check(shape);
  const AttentionOps<T>& attention = ops<T>().attention;
  if (attention.backward == nullptr)
    return ref::attention_backward<T>(d_q, d_k, d_v, d_out, out, lse, q, k, v, first_key, shape);
  const AttentionBackward<T> args = {d_q, d_k, d_v, d_out, out, lse, q, k, v, first_key, shape};
  // One thread adds up d_k and d_v of a head, in one order.
  for_units(shape.B * shape.KV, shape, scratch, [&](int64_t unit, float* mine) {
    attention.backward(args, unit / shape.KV, unit % shape.KV, mine);
  });
}

template <class T>
void attention_decode(T* out, const T* q, const T* k_cache, const T* v_cache, const int64_t* lengths,
                      int64_t capacity, const AttentionShape& shape) noexcept {
  check(shape);
  CHECK(shape.D <= kAttentionDecodeMaxD, "D={}", shape.D);
  const AttentionOps<T>& attention = ops<T>().attention;
  if (attention.decode == nullptr)
    return ref::attention_decode<T>(out, q, k_cache, v_cache, lengths, capacity, shape);
  const AttentionDecode<T> args = {out, q, k_cache, v_cache, lengths, capacity, shape};
  const int64_t units = shape.B * shape.KV;
#pragma omp parallel for schedule(static)
  for (int64_t unit = 0; unit < units; ++unit) attention.decode(args, unit / shape.KV, unit % shape.KV);
}

#define INSTANTIATE(T)                                                                                       \
  template void attention_forward<T>(HeadView<T>, float*, HeadView<const T>, HeadView<const T>,              \
                                     HeadView<const T>, const int32_t*, const AttentionShape&,               \
                                     void*) noexcept;                                                        \
  template void attention_backward<T>(HeadView<T>, HeadView<T>, HeadView<T>, HeadView<const T>,              \
                                      HeadView<const T>, const float*, HeadView<const T>, HeadView<const T>, \
                                      HeadView<const T>, const int32_t*, const AttentionShape&,              \
                                      void*) noexcept;                                                       \
  template void attention_decode<T>(T*, const T*, const T*, const T*, const int64_t*, int64_t,               \
                                    const AttentionShape&) noexcept;
INSTANTIATE(float)
INSTANTIATE(bf16)
#undef INSTANTIATE

}  // namespace tumbler::kernels
