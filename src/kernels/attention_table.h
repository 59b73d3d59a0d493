// What attention.cc hands to the bodies in attention_simd.inl.
#pragma once

#include "kernels/attention.h"

namespace tumbler::kernels {

// Queries and keys are taken 64 at a time: a block of scores (64 * 64 * 4 = 16 KiB) and the panel of keys
// that it reads stay in L1.
constexpr int64_t kAttentionBlock = 64;
// Head sizes are padded with zeros to whole register tiles: two vectors of the widest ISA.
constexpr int64_t kAttentionPad = 32;
// Largest head size of attention_decode, which keeps its sums on the stack.
constexpr int64_t kAttentionDecodeMaxD = 512;

template <class T>
struct AttentionForward {
  HeadView<T> out;
  float* lse;
  HeadView<const T> q, k, v;
  const int32_t* first_key;
  AttentionShape shape;
};

template <class T>
struct AttentionBackward {
  HeadView<T> d_q, d_k, d_v;
  HeadView<const T> d_out, out;
  const float* lse;
  HeadView<const T> q, k, v;
  const int32_t* first_key;
  AttentionShape shape;
};

template <class T>
struct AttentionDecode {
  T* out;
  const T *q, *k_cache, *v_cache;
  const int64_t* lengths;
  int64_t capacity;
  AttentionShape shape;
};

// The work on one key/value head of one sequence and all query heads that read it, on one thread.
template <class T>
struct AttentionOps {
  // Query blocks part, part + parts, …
  void (*forward)(const AttentionForward<T>& args, int64_t b, int64_t kv, int64_t part, int64_t parts,
                  float* scratch);
  void (*backward)(const AttentionBackward<T>& args, int64_t b, int64_t kv, float* scratch);
  void (*decode)(const AttentionDecode<T>& args, int64_t b, int64_t kv);
};

// Floats of scratch that one call of forward or backward needs.
inline int64_t attention_padded(int64_t n, int64_t to) {
  return (n + to - 1) / to * to;
}
inline int64_t attention_forward_floats(const AttentionShape& s) {
  const int64_t D = attention_padded(s.D, kAttentionPad), T = attention_padded(s.T, kAttentionBlock);
  return 2 * T * D + 2 * kAttentionBlock * D + kAttentionBlock * kAttentionBlock;
}
inline int64_t attention_backward_floats(const AttentionShape& s) {
  const int64_t D = attention_padded(s.D, kAttentionPad), T = attention_padded(s.T, kAttentionBlock);
  return 5 * T * D + 3 * kAttentionBlock * D + 2 * kAttentionBlock * kAttentionBlock + kAttentionBlock;
}

}  // namespace tumbler::kernels
