// cross_entropy.h on vectors. Maximum and sum are found in one pass over the row (Milakov & Gimelshein 2018,
// arXiv:1805.02867), in blocks and lane by lane: a block's maxima first, then its exponentials, so that the
// sums are scaled once a block and only where a maximum grew.

template <class T>
TUMBLER_INLINE void row_maximum_and_sum(float* maximum, float* total, const T* logits, int64_t V) {
  constexpr int64_t kBlock = 32 * kLanes;  // 1 or 2 KB of floats: the second look at it is in L1
  const Vec lowest = set(-3.40282347e38f), minus_inf = set(-__builtin_inff());
  Vec m = lowest;
  Vec4 s = zero4();
  for (int64_t begin = 0; begin < V; begin += kBlock) {
    const int64_t n = V - begin < kBlock ? V - begin : kBlock;
    const T* x = logits + begin;
    Vec4 top{{m, m, m, m}};
    // The running maximum comes second, so that it survives a NaN; the sum will have the NaN.
    for_lanes4(n, [&](int64_t i, auto part, int k) TUMBLER_INLINE_LAMBDA {
      top.v[k] = max(keep(load(x + i, part), lowest, part), top.v[k]);
    });
    const Vec new_m = max(max(top.v[0], top.v[1]), max(top.v[2], top.v[3]));
    if (any(less(m, new_m))) {
      const Vec shrink = exp(m - new_m);
      for (Vec& sum_k : s.v) sum_k = sum_k * shrink;
      m = new_m;
    }
    for_lanes4(n, [&](int64_t i, auto part, int k) TUMBLER_INLINE_LAMBDA {
      s.v[k] = s.v[k] + exp(keep(load(x + i, part), minus_inf, part) - m);
    });
  }
  *maximum = max(m);
  *total = sum(((s.v[0] + s.v[1]) + (s.v[2] + s.v[3])) * exp(m - set(*maximum)));
}

template <class T>
void cross_entropy_forward(float* losses, const T* logits, const int32_t* targets, int64_t N, int64_t V,
                           int64_t stride) {
  for (int64_t n = 0; n < N; ++n, logits += stride) {
    losses[n] = 0;
    if (targets[n] == kIgnoreTarget) continue;
    float maximum, total;
    row_maximum_and_sum(&maximum, &total, logits, V);
    losses[n] = __builtin_logf(total) + maximum - to_float(logits[targets[n]]);
  }
}

// forward was: loss = log sum exp(logits) - logits[target]
template <class T>
void cross_entropy_forward_backward(float* losses, T* logits, const int32_t* targets, const float* weights,
                                    int64_t N, int64_t V, int64_t stride) {
  for (int64_t n = 0; n < N; ++n, logits += stride) {
    if (targets[n] == kIgnoreTarget) {
      losses[n] = 0;
      for_lanes(V, [&](int64_t i, auto part) TUMBLER_INLINE_LAMBDA { store(logits + i, zero(), part); });
      continue;
    }
    float maximum, total;
    row_maximum_and_sum(&maximum, &total, logits, V);
    const float target = to_float(logits[targets[n]]);
    losses[n] = __builtin_logf(total) + maximum - target;
    const Vec m = set(maximum), scale = set(weights[n] / total);
    for_lanes(V, [&](int64_t i, auto part) TUMBLER_INLINE_LAMBDA {
      store(logits + i, exp(load(logits + i, part) - m) * scale, part);
    });
    // From the unrounded probability: bf16 would lose most of p - 1 near 1.
    logits[targets[n]] = from_float<T>((__builtin_expf(target - maximum) / total - 1.0f) * weights[n]);
  }
}
