// Causal attention in blocks: no (T, T) matrix is ever stored. Dao 2023 (FlashAttention-2, arXiv:2307.08691).
// Grouped queries (Ainslie et al. 2023, arXiv:2305.13245): query head h reads key/value head h / (H / KV).
#pragma once

#include <cstdint>

#include "kernels/dtype.h"

namespace tumbler::kernels {

// (B, T, heads, D) inside a larger row: element (b, t, h, d) is data[(b*T + t) * token_stride + h*D + d].
template <class T>
struct HeadView {
  T* data;
  int64_t token_stride;
};

struct AttentionShape {
  int64_t B, T, H, KV, D;
  float scale;  // 1/sqrt(D) unless the model says otherwise
};

// out (B, T, H, D) = softmax(scale * q k^T, keys first_key[t]..t) v;   lse (B, H, T) f32 = log-sum-exp of the
// scaled scores. first_key (B, T), non-decreasing along T, or null for 0: the first key a query may see
// (packed documents, sliding windows). scratch: attention_scratch(shape) bytes, 64-byte aligned. f32 softmax
// and accumulation.
template <class T>
void attention_forward(HeadView<T> out, float* lse, HeadView<const T> q, HeadView<const T> k,
                       HeadView<const T> v, const int32_t* first_key, const AttentionShape& shape,
                       void* scratch) noexcept;

// d_q, d_k, d_v are overwritten. Deterministic for a given shape, whatever the thread count.
template <class T>
void attention_backward(HeadView<T> d_q, HeadView<T> d_k, HeadView<T> d_v, HeadView<const T> d_out,
                        HeadView<const T> out, const float* lse, HeadView<const T> q, HeadView<const T> k,
                        HeadView<const T> v, const int32_t* first_key, const AttentionShape& shape,
                        void* scratch) noexcept;

int64_t attention_scratch(const AttentionShape& shape);

// One new token per sequence against a cache: out (B, H, D) from q (B, H, D) and the first lengths[b] keys
// and values of k_cache, v_cache (B, capacity, KV, D). For decoding; scratch as above with T = 1.
template <class T>
void attention_decode(T* out, const T* q, const T* k_cache, const T* v_cache, const int64_t* lengths,
                      int64_t capacity, const AttentionShape& shape) noexcept;

}  // namespace tumbler::kernels
