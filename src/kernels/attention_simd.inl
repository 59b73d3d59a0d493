// FlashAttention-2 (Dao 2023, arXiv:2307.08691) on one key/value head. All products have one form, out += a * b, where rows of b are
// contiguous vectors and elements of a are broadcast: so keys are packed transposed, (D, 64) a block, and one register tile serves all.

// A tile is 6 rows by 2 vectors: 12 accumulators + 2 of b + 1 of a = 15 of AVX2's 16 registers. FMA latency (4) times
// throughput (2) is 8 <= 12, so the units stay busy; a step loads 2 + 6 values for 12 FMAs, under the 2 loads a cycle there are.
constexpr int64_t kTileRows = 6;
constexpr int64_t kTileCols = 2 * kLanes;

// out (R, 2 vectors) (+)= sum over k of a[r * a_row + k * a_step] * b[k * ldb].
template <int R>
TUMBLER_INLINE void tile(float* out, int64_t ldo, const float* a, int64_t a_row, int64_t a_step, const float* b, int64_t ldb, int64_t K,
                         bool accumulate) {
  Vec sum0[R], sum1[R];
  TUMBLER_UNROLL
  for (int r = 0; r < R; ++r) {
    sum0[r] = accumulate ? load(out + r * ldo, All{}) : zero();
    sum1[r] = accumulate ? load(out + r * ldo + kLanes, All{}) : zero();
  }
  for (int64_t k = 0; k < K; ++k) {
    const Vec b0 = load(b + k * ldb, All{}), b1 = load(b + k * ldb + kLanes, All{});
    TUMBLER_UNROLL
    for (int r = 0; r < R; ++r) {
      const Vec x = set(a[r * a_row + k * a_step]);
      sum0[r] = fma(x, b0, sum0[r]);
      sum1[r] = fma(x, b1, sum1[r]);
    }
  }
  TUMBLER_UNROLL
  for (int r = 0; r < R; ++r) {
    store(out + r * ldo, sum0[r], All{});
    store(out + r * ldo + kLanes, sum1[r], All{});
  }
}

// out (M, N) (+)= a (M, K) * b (K, N); N a multiple of kTileCols.
inline void block_product(float* out, int64_t ldo, const float* a, int64_t a_row, int64_t a_step, const float* b, int64_t ldb, int64_t M,
                          int64_t N, int64_t K, bool accumulate) {
  for (int64_t n = 0; n < N; n += kTileCols) {
    int64_t m = 0;
    for (; m + kTileRows <= M; m += kTileRows)
      tile<kTileRows>(out + m * ldo + n, ldo, a + m * a_row, a_row, a_step, b + n, ldb, K, accumulate);
    float* rest = out + m * ldo + n;
    const float* rest_a = a + m * a_row;
    switch (M - m) {
      case 5: tile<5>(rest, ldo, rest_a, a_row, a_step, b + n, ldb, K, accumulate); break;
      case 4: tile<4>(rest, ldo, rest_a, a_row, a_step, b + n, ldb, K, accumulate); break;
      case 3: tile<3>(rest, ldo, rest_a, a_row, a_step, b + n, ldb, K, accumulate); break;
      case 2: tile<2>(rest, ldo, rest_a, a_row, a_step, b + n, ldb, K, accumulate); break;
      case 1: tile<1>(rest, ldo, rest_a, a_row, a_step, b + n, ldb, K, accumulate); break;
      default: break;
    }
  }
}

// to (rows, Dp) = factor * from (rows, D), the padding 0. `stride` between rows of from.
template <class T>
void pack_rows(float* to, const T* from, int64_t stride, int64_t rows, int64_t D, int64_t Dp, float factor) {
  const Vec f = set(factor);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t d = D / kLanes * kLanes; d < Dp; d += kLanes) store(to + r * Dp + d, zero(), All{});
    for_lanes(D, [&](int64_t d, auto part) TUMBLER_INLINE_LAMBDA { store(to + r * Dp + d, load(from + r * stride + d, part) * f, part); });
  }
}

// Blocks of 64 tokens as (Dp, 64): element (block, d, j) = from[(64 * block + j) * stride + d]; what is outside is 0.
template <class T>
void pack_transposed(float* to, const T* from, int64_t stride, int64_t rows, int64_t D, int64_t Dp) {
  for (int64_t first = 0; first < rows; first += kAttentionBlock) {
    float* block = to + first * Dp;
    const int64_t count = rows - first < kAttentionBlock ? rows - first : kAttentionBlock;
    for (int64_t d = 0; d < D; ++d)
      for (int64_t j = 0; j < kAttentionBlock; ++j)
        block[d * kAttentionBlock + j] = j < count ? to_float(from[(first + j) * stride + d]) : 0.0f;
  }
}

struct KeyRange {
  int64_t begin, end;  // blocks of keys that some query of the block may see
};
inline KeyRange visible_blocks(const int32_t* first_key, int64_t q0, int64_t rows) {
  const int64_t first = first_key == nullptr ? 0 : first_key[q0];
  return {first / kAttentionBlock, (q0 + rows + kAttentionBlock - 1) / kAttentionBlock};
}

// Scores of keys that a query may not see become -inf.
inline void mask_scores(float* s, const int32_t* first_key, int64_t q0, int64_t rows, int64_t k0) {
  const bool diagonal = k0 + kAttentionBlock > q0 + 1;
  const bool documents = first_key != nullptr && first_key[q0 + rows - 1] > k0;
  if (!diagonal && !documents) return;
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t low = first_key == nullptr ? 0 : first_key[q0 + i] - k0, high = q0 + i - k0;
    float* row = s + i * kAttentionBlock;
    for (int64_t j = 0; j < kAttentionBlock; ++j) row[j] = j < low || j > high ? -__builtin_inff() : row[j];
  }
}

// One row of scores becomes exp(score - new maximum); out (Dp) and the running sum are scaled to that maximum.
// width: how many of the 64 there are, a multiple of kLanes.
TUMBLER_INLINE void softmax_row(float* s, float* out, int64_t Dp, float* highest, float* total, int64_t width = kAttentionBlock) {
  Vec m = load(s, All{});
  for (int64_t j = kLanes; j < width; j += kLanes) m = max(m, load(s + j, All{}));
  const float block_highest = max(m);
  const float now = block_highest > *highest ? block_highest : *highest;
  const Vec shift = set(now);
  Vec sums = zero();
  for (int64_t j = 0; j < width; j += kLanes) {
    const Vec p = exp(load(s + j, All{}) - shift);
    store(s + j, p, All{});
    sums = sums + p;
  }
  if (now > *highest) {
    const Vec factor = exp(set(*highest) - shift);
    for (int64_t d = 0; d < Dp; d += kLanes) store(out + d, load(out + d, All{}) * factor, All{});
    *total *= max(factor);
    *highest = now;
  }
  *total += sum(sums);
}

// A finite stand-in for "no key seen yet": exp(-inf - kNothing) is 0, where exp(-inf - -inf) would be NaN.
constexpr float kNothing = -1e30f;

template <class T>
void attention_forward_unit(const AttentionForward<T>& args, int64_t b, int64_t kv, int64_t part, int64_t parts, float* scratch) {
  const AttentionShape& s = args.shape;
  const int64_t D = s.D, Dp = attention_padded(D, kAttentionPad), padded_T = attention_padded(s.T, kAttentionBlock);
  float* keys = scratch;                    // (blocks, Dp, 64)
  float* values = keys + padded_T * Dp;     // (T, Dp), rows beyond T are 0
  float* queries = values + padded_T * Dp;  // (64, Dp)
  float* out = queries + kAttentionBlock * Dp;
  float* scores = out + kAttentionBlock * Dp;  // (64, 64)
  const int64_t token0 = b * s.T;
  pack_transposed(keys, args.k.data + token0 * args.k.token_stride + kv * D, args.k.token_stride, s.T, D, Dp);
  pack_rows(values, args.v.data + token0 * args.v.token_stride + kv * D, args.v.token_stride, s.T, D, Dp, 1.0f);
  for (int64_t i = s.T * Dp; i < padded_T * Dp; ++i) values[i] = 0;
  const int32_t* first_key = args.first_key == nullptr ? nullptr : args.first_key + token0;
  const int64_t group = s.H / s.KV;
  for (int64_t h = kv * group; h < (kv + 1) * group; ++h)
    for (int64_t q0 = part * kAttentionBlock; q0 < s.T; q0 += parts * kAttentionBlock) {
      const int64_t rows = s.T - q0 < kAttentionBlock ? s.T - q0 : kAttentionBlock;
      pack_rows(queries, args.q.data + (token0 + q0) * args.q.token_stride + h * D, args.q.token_stride, rows, D, Dp, s.scale);
      float highest[kAttentionBlock], total[kAttentionBlock];
      for (int64_t i = 0; i < rows; ++i) highest[i] = kNothing, total[i] = 0;
      for (int64_t i = 0; i < rows * Dp; ++i) out[i] = 0;
      const KeyRange range = visible_blocks(first_key, q0, rows);
      for (int64_t block = range.begin; block < range.end; ++block) {
        const int64_t k0 = block * kAttentionBlock;
        block_product(scores, kAttentionBlock, queries, Dp, 1, keys + k0 * Dp, kAttentionBlock, rows, kAttentionBlock, D, false);
        mask_scores(scores, first_key, q0, rows, k0);
        for (int64_t i = 0; i < rows; ++i) softmax_row(scores + i * kAttentionBlock, out + i * Dp, Dp, highest + i, total + i);
        block_product(out, Dp, scores, kAttentionBlock, 1, values + k0 * Dp, Dp, rows, Dp, kAttentionBlock, true);
      }
      for (int64_t i = 0; i < rows; ++i) {
        const Vec factor = set(1.0f / total[i]);
        T* row = args.out.data + (token0 + q0 + i) * args.out.token_stride + h * D;
        for_lanes(D, [&](int64_t d, auto lanes) TUMBLER_INLINE_LAMBDA { store(row + d, load(out + i * Dp + d, lanes) * factor, lanes); });
        args.lse[(b * s.H + h) * s.T + q0 + i] = highest[i] + max(log(set(total[i])));
      }
    }
}

// Scores become p = exp(score - lse), d_p becomes d_score = p * (d_p - delta).
TUMBLER_INLINE void score_gradients(float* p, float* d_p, const float* lse, const float* delta, int64_t rows) {
  for (int64_t i = 0; i < rows; ++i) {
    const Vec shift = set(lse[i]), minus = set(delta[i]);
    for (int64_t j = i * kAttentionBlock; j < (i + 1) * kAttentionBlock; j += kLanes) {
      const Vec x = exp(load(p + j, All{}) - shift);
      store(p + j, x, All{});
      store(d_p + j, x * (load(d_p + j, All{}) - minus), All{});
    }
  }
}

template <class T>
float dot_rows(const T* a, const T* c, int64_t D) {
  Vec total = zero();
  for_lanes(D, [&](int64_t d, auto part) TUMBLER_INLINE_LAMBDA { total = fma(load(a + d, part), load(c + d, part), total); });
  return sum(total);
}

template <class T>
void attention_backward_unit(const AttentionBackward<T>& args, int64_t b, int64_t kv, float* scratch) {
  // forward was: p = exp(scale * q k^T - lse), out = p v
  // so: d_v += p^T d_out;  d_p = d_out v^T;  d_s = p * (d_p - rowsum(d_out * out));  d_q = scale * d_s k;  d_k += scale * d_s^T q
  const AttentionShape& s = args.shape;
  const int64_t D = s.D, Dp = attention_padded(D, kAttentionPad), padded_T = attention_padded(s.T, kAttentionBlock);
  float* keys_t = scratch;                     // (blocks, Dp, 64)
  float* keys = keys_t + padded_T * Dp;        // (T, Dp)
  float* values_t = keys + padded_T * Dp;      // (blocks, Dp, 64)
  float* d_keys = values_t + padded_T * Dp;    // (T, Dp)
  float* d_values = d_keys + padded_T * Dp;    // (T, Dp)
  float* queries = d_values + padded_T * Dp;   // (64, Dp), scaled
  float* d_out = queries + kAttentionBlock * Dp;
  float* d_queries = d_out + kAttentionBlock * Dp;
  float* p = d_queries + kAttentionBlock * Dp;  // (64, 64)
  float* d_p = p + kAttentionBlock * kAttentionBlock;
  float* delta = d_p + kAttentionBlock * kAttentionBlock;
  const int64_t token0 = b * s.T, group = s.H / s.KV;
  const T* k = args.k.data + token0 * args.k.token_stride + kv * D;
  const T* v = args.v.data + token0 * args.v.token_stride + kv * D;
  pack_transposed(keys_t, k, args.k.token_stride, s.T, D, Dp);
  pack_transposed(values_t, v, args.v.token_stride, s.T, D, Dp);
  pack_rows(keys, k, args.k.token_stride, s.T, D, Dp, 1.0f);
  for (int64_t i = s.T * Dp; i < padded_T * Dp; ++i) keys[i] = 0;
  for (int64_t i = 0; i < 2 * padded_T * Dp; ++i) d_keys[i] = 0;  // and d_values
  const int32_t* first_key = args.first_key == nullptr ? nullptr : args.first_key + token0;
  for (int64_t h = kv * group; h < (kv + 1) * group; ++h)
    for (int64_t q0 = 0; q0 < s.T; q0 += kAttentionBlock) {
      const int64_t rows = s.T - q0 < kAttentionBlock ? s.T - q0 : kAttentionBlock;
      const float* lse = args.lse + (b * s.H + h) * s.T + q0;
      const T* d_out_rows = args.d_out.data + (token0 + q0) * args.d_out.token_stride + h * D;
      pack_rows(queries, args.q.data + (token0 + q0) * args.q.token_stride + h * D, args.q.token_stride, rows, D, Dp, s.scale);
      pack_rows(d_out, d_out_rows, args.d_out.token_stride, rows, D, Dp, 1.0f);
      for (int64_t i = 0; i < rows; ++i)
        delta[i] = dot_rows(d_out_rows + i * args.d_out.token_stride,
                            args.out.data + (token0 + q0 + i) * args.out.token_stride + h * D, D);
      for (int64_t i = 0; i < rows * Dp; ++i) d_queries[i] = 0;
      const KeyRange range = visible_blocks(first_key, q0, rows);
      for (int64_t block = range.begin; block < range.end; ++block) {
        const int64_t k0 = block * kAttentionBlock;
        const int64_t visible = s.T - k0 < kAttentionBlock ? s.T - k0 : kAttentionBlock;
        block_product(p, kAttentionBlock, queries, Dp, 1, keys_t + k0 * Dp, kAttentionBlock, rows, kAttentionBlock, D, false);
        mask_scores(p, first_key, q0, rows, k0);
        block_product(d_p, kAttentionBlock, d_out, Dp, 1, values_t + k0 * Dp, kAttentionBlock, rows, kAttentionBlock, D, false);
        score_gradients(p, d_p, lse, delta, rows);
        block_product(d_queries, Dp, d_p, kAttentionBlock, 1, keys + k0 * Dp, Dp, rows, Dp, kAttentionBlock, true);
        block_product(d_values + k0 * Dp, Dp, p, 1, kAttentionBlock, d_out, Dp, visible, Dp, rows, true);
        block_product(d_keys + k0 * Dp, Dp, d_p, 1, kAttentionBlock, queries, Dp, visible, Dp, rows, true);
      }
      const Vec scale = set(s.scale);
      for (int64_t i = 0; i < rows; ++i) {
        T* row = args.d_q.data + (token0 + q0 + i) * args.d_q.token_stride + h * D;
        for_lanes(D, [&](int64_t d, auto part) TUMBLER_INLINE_LAMBDA { store(row + d, load(d_queries + i * Dp + d, part) * scale, part); });
      }
    }
  for (int64_t t = 0; t < s.T; ++t) {
    T* d_k = args.d_k.data + (token0 + t) * args.d_k.token_stride + kv * D;
    T* d_v = args.d_v.data + (token0 + t) * args.d_v.token_stride + kv * D;
    for_lanes(D, [&](int64_t d, auto part) TUMBLER_INLINE_LAMBDA {
      store(d_k + d, load(d_keys + t * Dp + d, part), part);
      store(d_v + d, load(d_values + t * Dp + d, part), part);
    });
  }
}

template <class T>
void attention_decode_unit(const AttentionDecode<T>& args, int64_t b, int64_t kv) {
  const AttentionShape& s = args.shape;
  const int64_t D = s.D, group = s.H / s.KV, row = s.KV * D, n = args.lengths[b];
  const T* keys = args.k_cache + b * args.capacity * row + kv * D;
  const T* values = args.v_cache + b * args.capacity * row + kv * D;
  alignas(64) float scores[kAttentionBlock];
  alignas(64) float out[kAttentionDecodeMaxD];
  for (int64_t h = kv * group; h < (kv + 1) * group; ++h) {
    const T* q = args.q + (b * s.H + h) * D;
    float highest = kNothing, total = 0;
    for (int64_t d = 0; d < kAttentionDecodeMaxD; ++d) out[d] = 0;
    for (int64_t k0 = 0; k0 < n; k0 += kAttentionBlock) {
      const int64_t count = n - k0 < kAttentionBlock ? n - k0 : kAttentionBlock;
      for (int64_t j = 0; j < count; ++j) scores[j] = s.scale * dot_rows(q, keys + (k0 + j) * row, D);
      for (int64_t j = count; j < kAttentionBlock; ++j) scores[j] = -__builtin_inff();
      softmax_row(scores, out, attention_padded(D, kAttentionPad), &highest, &total);
      for (int64_t j = 0; j < count; ++j) {
        const Vec p = set(scores[j]);
        for_lanes(D, [&](int64_t d, auto part) TUMBLER_INLINE_LAMBDA {
          store(out + d, fma(p, load(values + (k0 + j) * row + d, part), load(out + d, part)), part);
        });
      }
    }
    const Vec factor = set(1.0f / total);
    T* to = args.out + (b * s.H + h) * D;
    for_lanes(D, [&](int64_t d, auto part) TUMBLER_INLINE_LAMBDA { store(to + d, load(out + d, part) * factor, part); });
  }
}

template <class T>
constexpr AttentionOps<T> make_attention_ops() {
  return {.forward = attention_forward_unit<T>, .backward = attention_backward_unit<T>, .decode = attention_decode_unit<T>};
}
