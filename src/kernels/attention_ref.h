// Plain-loop twins of attention.h, without scratch: they hold one row of scores at a time.
#pragma once

#include "kernels/attention.h"

namespace tumbler::kernels::ref {

template <class T>
void attention_forward(HeadView<T> out, float* lse, HeadView<const T> q, HeadView<const T> k,
                       HeadView<const T> v, const int32_t* first_key, const AttentionShape& shape) noexcept;
template <class T>
void attention_backward(HeadView<T> d_q, HeadView<T> d_k, HeadView<T> d_v, HeadView<const T> d_out,
                        HeadView<const T> out, const float* lse, HeadView<const T> q, HeadView<const T> k,
                        HeadView<const T> v, const int32_t* first_key, const AttentionShape& shape) noexcept;
template <class T>
void attention_decode(T* out, const T* q, const T* k_cache, const T* v_cache, const int64_t* lengths,
                      int64_t capacity, const AttentionShape& shape) noexcept;

}  // namespace tumbler::kernels::ref
