// paged_attention.h in plain loops, in f64.

float paged_element(const PagedCache& cache, const std::byte* page, int64_t D, bool value, int64_t j,
                    int64_t d) {
  const int64_t i = value ? D * kPageTokens + j * D + d : d * kPageTokens + j;
  const auto* bytes = reinterpret_cast<const uint8_t*>(page);
  if (cache.type == CacheType::bf16)
    return to_float(bf16{static_cast<uint16_t>(bytes[2 * i] | bytes[2 * i + 1] << 8)});
  const auto load = [](const uint8_t* p) {
    float x;
    std::copy_n(p, sizeof x, reinterpret_cast<uint8_t*>(&x));
    return x;
  };
  if (cache.type == CacheType::f32) return load(bytes + 4 * i);
  return static_cast<float>(static_cast<int8_t>(bytes[i])) *
         load(bytes + 2 * D * kPageTokens + 4 * (value ? kPageTokens + j : j));
}

// One row and head over keys begin..end-1: sums (D), largest score, total.
void paged_row(const PagedAttention& args, const PagedUnit& unit, int64_t row, int64_t h, int64_t begin,
               int64_t end, std::vector<double>& sums, double* highest, double* total) {
  const PagedShape& s = args.shape;
  const float* q = args.q + ((unit.sequence->first_row + row) * s.H + h) * s.D;
  const auto page = [&](int64_t key) {
    return args.cache.data +
           unit.sequence->pages[static_cast<size_t>(key / kPageTokens)] * args.cache.page_stride +
           unit.kv * head_page_bytes(args.cache.type, s.D);
  };
  std::vector<double> scores;
  *highest = -1e30;
  for (int64_t key = begin; key < end; ++key) {
    double score = 0;
    for (int64_t d = 0; d < s.D; ++d)
      score +=
          static_cast<double>(q[d]) * paged_element(args.cache, page(key), s.D, false, key % kPageTokens, d);
    scores.push_back(score * s.scale);
    *highest = std::max(*highest, scores.back());
  }
  sums.assign(static_cast<size_t>(s.D), 0);
  *total = 0;
  for (int64_t key = begin; key < end; ++key) {
    const double p = std::exp(scores[static_cast<size_t>(key - begin)] - *highest);
    *total += p;
    for (int64_t d = 0; d < s.D; ++d)
      sums[static_cast<size_t>(d)] +=
          p * paged_element(args.cache, page(key), s.D, true, key % kPageTokens, d);
  }
}

void paged_attend(const PagedAttention& args, const PagedUnit& unit, float*) {
  const PagedShape& s = args.shape;
  const int64_t group = s.H / s.KV, Dp = padded_head(s.D), keys = kSegmentPages * kPageTokens;
  std::vector<double> sums;
  double highest = 0, total = 0;
  for (int64_t row = unit.begin; row < unit.end; ++row)
    for (int64_t g = 0; g < group; ++g) {
      int64_t end = unit.sequence->position + row + 1,
              begin = s.window == 0 ? 0 : std::max<int64_t>(0, end - s.window);
      if (unit.segment >= 0) {
        begin = std::max(begin, unit.segment * keys);
        end = std::min(end, (unit.segment + 1) * keys);
      }
      const int64_t h = unit.kv * group + g;
      paged_row(args, unit, row, h, begin, end, sums, &highest, &total);
      float* out = args.out + ((unit.sequence->first_row + row) * s.H + h) * s.D;
      if (unit.segment >= 0) out = unit.partial + ((row - unit.begin) * group + g) * (Dp + 2);
      for (int64_t d = 0; d < s.D; ++d)
        out[d] = static_cast<float>(unit.segment >= 0 ? sums[static_cast<size_t>(d)]
                                                      : sums[static_cast<size_t>(d)] / total);
      if (unit.segment < 0) continue;
      out[Dp] = static_cast<float>(highest);
      out[Dp + 1] = static_cast<float>(total);
    }
}

void paged_merge(float* out, const float* partials, int64_t segments, int64_t stride, int64_t group,
                 int64_t D, float*) {
  const int64_t Dp = padded_head(D);
  for (int64_t g = 0; g < group; ++g) {
    float highest = -1e30f;
    for (int64_t i = 0; i < segments; ++i)
      highest = std::max(highest, partials[i * stride + g * (Dp + 2) + Dp]);
    std::vector<double> sums(static_cast<size_t>(D), 0);
    double total = 0;
    for (int64_t i = 0; i < segments; ++i) {
      const float* from = partials + i * stride + g * (Dp + 2);
      const double factor = std::exp(static_cast<double>(from[Dp]) - highest);
      total += factor * from[Dp + 1];
      for (int64_t d = 0; d < D; ++d) sums[static_cast<size_t>(d)] += factor * from[d];
    }
    for (int64_t d = 0; d < D; ++d) out[g * D + d] = static_cast<float>(sums[static_cast<size_t>(d)] / total);
  }
}

constexpr PagedOps make_paged_ops() {
  return {.attend = paged_attend, .merge = paged_merge};
}
