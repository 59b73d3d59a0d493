// paged_attention.h on vectors, with the register tiles and the softmax of attention_simd.inl.

// keys (D, 64), values (64, Dp) in f32 of a head page: the first `width` columns and the first `count` rows.
inline void load_page(float* keys, float* values, const std::byte* page, CacheType type, int64_t D,
                      int64_t Dp, int64_t count, int64_t width) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(page);
  const auto rows = [&](auto&& value) TUMBLER_INLINE_LAMBDA {
    for (int64_t j = 0; j < count; ++j) {
      for (int64_t d = D / kLanes * kLanes; d < Dp; d += kLanes) store(values + j * Dp + d, zero(), All{});
      for_lanes(D, [&](int64_t d, auto part)
                       TUMBLER_INLINE_LAMBDA { store(values + j * Dp + d, value(j, d, part), part); });
    }
  };
  if (type == CacheType::i8) {
    const auto* k = reinterpret_cast<const int8_t*>(bytes);
    const int8_t* v = k + D * kPageTokens;
    const auto* scales = reinterpret_cast<const float*>(v + D * kPageTokens);
    for (int64_t d = 0; d < D; ++d)
      for (int64_t j = 0; j < width; j += kLanes)
        store(keys + d * kPageTokens + j,
              load_i8(reinterpret_cast<const uint8_t*>(k) + d * kPageTokens + j) * load(scales + j, All{}),
              All{});
    const auto* v_bytes = reinterpret_cast<const uint8_t*>(v);
    // Reads up to a vector beyond a row, which is within the page: scales follow the last row.
    rows([&](int64_t j, int64_t d, auto)
             TUMBLER_INLINE_LAMBDA { return load_i8(v_bytes + j * D + d) * set(scales[kPageTokens + j]); });
    return;
  }
  const auto load_as = [&]<class T>(const T* k) TUMBLER_INLINE_LAMBDA {
    for (int64_t d = 0; d < D; ++d)
      for (int64_t i = d * kPageTokens; i < d * kPageTokens + width; i += kLanes)
        store(keys + i, load(k + i, All{}), All{});
    const T* v = k + D * kPageTokens;
    rows([&](int64_t j, int64_t d, auto part) TUMBLER_INLINE_LAMBDA { return load(v + j * D + d, part); });
  };
  if (type == CacheType::bf16)
    load_as(reinterpret_cast<const bf16*>(bytes));
  else
    load_as(reinterpret_cast<const float*>(bytes));
}

// Sums over keys of R rows: out (R, Dp), the largest score and the sum of exp(score - largest) of each.
struct PagedSums {
  float *out, *highest, *total;
};
TUMBLER_INLINE void clear_sums(const PagedSums& sums, int64_t rows, int64_t Dp) {
  for (int64_t i = 0; i < rows * Dp; i += kLanes) store(sums.out + i, zero(), All{});
  for (int64_t i = 0; i < rows; ++i) {
    sums.highest[i] = kNothing;
    sums.total[i] = 0;
  }
}
// a += b, of row i.
TUMBLER_INLINE void add_sums(const PagedSums& a, const float* out, float highest, float total, int64_t i,
                             int64_t Dp) {
  const float now = a.highest[i] > highest ? a.highest[i] : highest;
  const Vec of_a = exp(set(a.highest[i] - now)), of_b = exp(set(highest - now));
  for (int64_t d = 0; d < Dp; d += kLanes)
    store(a.out + i * Dp + d, fma(load(out + d, All{}), of_b, load(a.out + i * Dp + d, All{}) * of_a), All{});
  a.total[i] = __builtin_fmaf(total, max(of_b), a.total[i] * max(of_a));
  a.highest[i] = now;
}
TUMBLER_INLINE void store_mean(float* to, const PagedSums& sums, int64_t i, int64_t D, int64_t Dp) {
  const Vec factor = set(1.0f / sums.total[i]);
  for_lanes(D, [&](int64_t d, auto part) TUMBLER_INLINE_LAMBDA {
    store(to + d, load(sums.out + i * Dp + d, part) * factor, part);
  });
}

inline void paged_attend(const PagedAttention& args, const PagedUnit& unit, float* scratch) {
  const PagedShape& s = args.shape;
  const PagedSequence& sequence = *unit.sequence;
  const int64_t D = s.D, Dp = attention_padded(D, kAttentionPad), group = s.H / s.KV,
                rows = (unit.end - unit.begin) * group;
  float* keys = scratch;
  float* values = keys + kPageTokens * Dp;
  float* queries = values + kPageTokens * Dp;
  float* scores = queries + rows * Dp;
  const PagedSums segment{scores + rows * kPageTokens, scores + rows * (kPageTokens + 2 * Dp),
                          scores + rows * (kPageTokens + 2 * Dp + 1)};
  const PagedSums sums{segment.out + rows * Dp, segment.total + rows, segment.total + 2 * rows};
  const int64_t first_row = sequence.first_row + unit.begin, position = sequence.position + unit.begin;
  for (int64_t t = 0; t < unit.end - unit.begin; ++t)
    pack_rows(queries + t * group * Dp, args.q + ((first_row + t) * s.H + unit.kv * group) * D, D, group, D,
              Dp, s.scale);

  const int64_t last_key = sequence.position + unit.end - 1;
  int64_t first_key = s.window == 0 || position < s.window ? 0 : position - s.window + 1;
  int64_t first_page = first_key / kPageTokens, end_page = last_key / kPageTokens + 1;
  if (unit.segment >= 0) {
    if (first_page < unit.segment * kSegmentPages) first_page = unit.segment * kSegmentPages;
    if (end_page > (unit.segment + 1) * kSegmentPages) end_page = (unit.segment + 1) * kSegmentPages;
  }
  const int64_t head_bytes = head_page_bytes(args.cache.type, D);
  clear_sums(sums, rows, Dp);
  clear_sums(segment, rows, Dp);
  for (int64_t page = first_page; page < end_page; ++page) {
    const int64_t k0 = page * kPageTokens;
    // What lies behind the last key is another sequence's, or nothing: not even zero times it is wanted.
    const int64_t count = last_key - k0 + 1 < kPageTokens ? last_key - k0 + 1 : kPageTokens;
    const int64_t width = attention_padded(count, kTileCols);
    load_page(keys, values,
              args.cache.data + sequence.pages[static_cast<size_t>(page)] * args.cache.page_stride +
                  unit.kv * head_bytes,
              args.cache.type, D, Dp, count, width);
    block_product(scores, kPageTokens, queries, Dp, 1, keys, kPageTokens, rows, width, D, false);
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t at = position + i / group, high = at - k0,
                    low = s.window == 0 ? 0 : at - s.window + 1 - k0;
      float* row = scores + i * kPageTokens;
      if (low > 0 || high < width - 1)
        for (int64_t j = 0; j < width; ++j) row[j] = j < low || j > high ? -__builtin_inff() : row[j];
      softmax_row(row, segment.out + i * Dp, Dp, segment.highest + i, segment.total + i, width);
    }
    block_product(segment.out, Dp, scores, kPageTokens, 1, values, Dp, rows, Dp, count, true);
    if (unit.segment < 0 && ((page + 1) % kSegmentPages == 0 || page + 1 == end_page)) {
      for (int64_t i = 0; i < rows; ++i)
        add_sums(sums, segment.out + i * Dp, segment.highest[i], segment.total[i], i, Dp);
      clear_sums(segment, rows, Dp);
    }
  }
  if (unit.segment >= 0) {
    for (int64_t i = 0; i < rows; ++i) {
      float* to = unit.partial + i * (Dp + 2);
      for (int64_t d = 0; d < Dp; d += kLanes) store(to + d, load(segment.out + i * Dp + d, All{}), All{});
      to[Dp] = segment.highest[i];
      to[Dp + 1] = segment.total[i];
    }
    return;
  }
  for (int64_t i = 0; i < rows; ++i)
    store_mean(args.out + ((first_row + i / group) * s.H + unit.kv * group + i % group) * D, sums, i, D, Dp);
}

inline void paged_merge(float* out, const float* partials, int64_t segments, int64_t stride, int64_t group,
                        int64_t D, float* scratch) {
  const int64_t Dp = attention_padded(D, kAttentionPad);
  const PagedSums sums{scratch, scratch + group * Dp, scratch + group * (Dp + 1)};
  clear_sums(sums, group, Dp);
  for (int64_t segment = 0; segment < segments; ++segment)
    for (int64_t i = 0; i < group; ++i) {
      const float* from = partials + segment * stride + i * (Dp + 2);
      add_sums(sums, from, from[Dp], from[Dp + 1], i, Dp);
    }
  for (int64_t i = 0; i < group; ++i) store_mean(out + i * D, sums, i, D, Dp);
}

constexpr PagedOps make_paged_ops() {
  return {.attend = paged_attend, .merge = paged_merge};
}
