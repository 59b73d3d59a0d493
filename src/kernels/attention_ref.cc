// What attention means, in plain loops: one query row at a time.
#include "kernels/attention_ref.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace tumbler::kernels::ref {
namespace {

template <class T>
T* at(const HeadView<T>& view, int64_t token, int64_t head, int64_t D) {
  return view.data + token * view.token_stride + head * D;
}

template <class T>
float dot(const T* a, const T* b, int64_t D) {
  float sum = 0;
  for (int64_t d = 0; d < D; ++d) sum += to_float(a[d]) * to_float(b[d]);
  return sum;
}

int64_t first_visible(const int32_t* first_key, int64_t token) {
  return first_key == nullptr ? 0 : first_key[token];
}

}  // namespace

template <class T>
void attention_forward(HeadView<T> out, float* lse, HeadView<const T> q, HeadView<const T> k,
                       HeadView<const T> v, const int32_t* first_key, const AttentionShape& s) noexcept {
  std::vector<float> p(static_cast<size_t>(s.T)), sum(static_cast<size_t>(s.D));
  for (int64_t b = 0; b < s.B; ++b)
    for (int64_t h = 0; h < s.H; ++h)
      for (int64_t t = 0; t < s.T; ++t) {
        const int64_t token = b * s.T + t, kv = h / (s.H / s.KV), first = first_visible(first_key, token);
        float highest = -std::numeric_limits<float>::infinity();
        for (int64_t j = first; j <= t; ++j) {
          p[static_cast<size_t>(j)] = s.scale * dot(at(q, token, h, s.D), at(k, b * s.T + j, kv, s.D), s.D);
          highest = std::max(highest, p[static_cast<size_t>(j)]);
        }
        float total = 0;
        for (int64_t j = first; j <= t; ++j)
          total += p[static_cast<size_t>(j)] = std::exp(p[static_cast<size_t>(j)] - highest);
        std::fill(sum.begin(), sum.end(), 0.0f);
        for (int64_t j = first; j <= t; ++j)
          for (int64_t d = 0; d < s.D; ++d)
            sum[static_cast<size_t>(d)] +=
                p[static_cast<size_t>(j)] / total * to_float(at(v, b * s.T + j, kv, s.D)[d]);
        for (int64_t d = 0; d < s.D; ++d)
          at(out, token, h, s.D)[d] = from_float<T>(sum[static_cast<size_t>(d)]);
        lse[(b * s.H + h) * s.T + t] = highest + std::log(total);
      }
}

template <class T>
void attention_backward(HeadView<T> d_q, HeadView<T> d_k, HeadView<T> d_v, HeadView<const T> d_out,
                        HeadView<const T> out, const float* lse, HeadView<const T> q, HeadView<const T> k,
                        HeadView<const T> v, const int32_t* first_key, const AttentionShape& s) noexcept {
  // forward was: p[j] = exp(scale * q.k[j] - lse), out = sum over j of p[j] * v[j]
  // so:          d_v[j] += p[j] * d_out;  d_p[j] = d_out.v[j];  d_score[j] = p[j] * (d_p[j] - d_out.out)
  //              d_q += scale * d_score[j] * k[j];  d_k[j] += scale * d_score[j] * q
  const size_t kv_size = static_cast<size_t>(s.B * s.T * s.KV * s.D);
  std::vector<float> sum_k(kv_size), sum_v(kv_size), sum_q(static_cast<size_t>(s.D));
  for (int64_t b = 0; b < s.B; ++b)
    for (int64_t h = 0; h < s.H; ++h)
      for (int64_t t = 0; t < s.T; ++t) {
        const int64_t token = b * s.T + t, kv = h / (s.H / s.KV);
        const T* d_o = at(d_out, token, h, s.D);
        const float delta = dot(d_o, at(out, token, h, s.D), s.D);
        std::fill(sum_q.begin(), sum_q.end(), 0.0f);
        for (int64_t j = first_visible(first_key, token); j <= t; ++j) {
          const T* k_row = at(k, b * s.T + j, kv, s.D);
          const float p =
              std::exp(s.scale * dot(at(q, token, h, s.D), k_row, s.D) - lse[(b * s.H + h) * s.T + t]);
          const float d_score = p * (dot(d_o, at(v, b * s.T + j, kv, s.D), s.D) - delta) * s.scale;
          float* d_k_row = sum_k.data() + ((b * s.T + j) * s.KV + kv) * s.D;
          float* d_v_row = sum_v.data() + ((b * s.T + j) * s.KV + kv) * s.D;
          for (int64_t d = 0; d < s.D; ++d) {
            d_v_row[d] += p * to_float(d_o[d]);
            d_k_row[d] += d_score * to_float(at(q, token, h, s.D)[d]);
            sum_q[static_cast<size_t>(d)] += d_score * to_float(k_row[d]);
          }
        }
        for (int64_t d = 0; d < s.D; ++d)
          at(d_q, token, h, s.D)[d] = from_float<T>(sum_q[static_cast<size_t>(d)]);
      }
  for (int64_t token = 0; token < s.B * s.T; ++token)
    for (int64_t i = 0; i < s.KV * s.D; ++i) {
      at(d_k, token, 0, s.D)[i] = from_float<T>(sum_k[static_cast<size_t>(token * s.KV * s.D + i)]);
      at(d_v, token, 0, s.D)[i] = from_float<T>(sum_v[static_cast<size_t>(token * s.KV * s.D + i)]);
    }
}

template <class T>
void attention_decode(T* out, const T* q, const T* k_cache, const T* v_cache, const int64_t* lengths,
                      int64_t capacity, const AttentionShape& s) noexcept {
  std::vector<float> p(static_cast<size_t>(capacity)), sum(static_cast<size_t>(s.D));
  for (int64_t b = 0; b < s.B; ++b)
    for (int64_t h = 0; h < s.H; ++h) {
      const int64_t kv = h / (s.H / s.KV);
      const auto cached = [&](const T* cache, int64_t j) {
        return cache + ((b * capacity + j) * s.KV + kv) * s.D;
      };
      float highest = -std::numeric_limits<float>::infinity(), total = 0;
      for (int64_t j = 0; j < lengths[b]; ++j) {
        p[static_cast<size_t>(j)] = s.scale * dot(q + (b * s.H + h) * s.D, cached(k_cache, j), s.D);
        highest = std::max(highest, p[static_cast<size_t>(j)]);
      }
      for (int64_t j = 0; j < lengths[b]; ++j)
        total += p[static_cast<size_t>(j)] = std::exp(p[static_cast<size_t>(j)] - highest);
      std::fill(sum.begin(), sum.end(), 0.0f);
      for (int64_t j = 0; j < lengths[b]; ++j)
        for (int64_t d = 0; d < s.D; ++d)
          sum[static_cast<size_t>(d)] += p[static_cast<size_t>(j)] / total * to_float(cached(v_cache, j)[d]);
      for (int64_t d = 0; d < s.D; ++d)
        out[(b * s.H + h) * s.D + d] = from_float<T>(sum[static_cast<size_t>(d)]);
    }
}

#define INSTANTIATE(T)                                                                                       \
  template void attention_forward<T>(HeadView<T>, float*, HeadView<const T>, HeadView<const T>,              \
                                     HeadView<const T>, const int32_t*, const AttentionShape&) noexcept;     \
  template void attention_backward<T>(HeadView<T>, HeadView<T>, HeadView<T>, HeadView<const T>,              \
                                      HeadView<const T>, const float*, HeadView<const T>, HeadView<const T>, \
                                      HeadView<const T>, const int32_t*, const AttentionShape&) noexcept;    \
  template void attention_decode<T>(T*, const T*, const T*, const T*, const int64_t*, int64_t,               \
                                    const AttentionShape&) noexcept;
INSTANTIATE(float)
INSTANTIATE(bf16)
#undef INSTANTIATE

}  // namespace tumbler::kernels::ref
