#include "kernels/paged_attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/check.h"
#include "kernels/parallel.h"
#include "kernels/table.h"

namespace tumbler::kernels {
namespace {

int64_t element_bytes(CacheType type) {
  return type == CacheType::f32 ? 4 : type == CacheType::bf16 ? 2 : 1;
}

template <class T>
void put(std::byte* to, int64_t i, T value) {
  std::memcpy(to + i * static_cast<int64_t>(sizeof(T)), &value, sizeof value);
}

// q = x / scale as bytes; returns the scale.
float round_row(int8_t* q, const float* x, int64_t D) {
  float largest = 0;
  for (int64_t d = 0; d < D; ++d) largest = std::max(largest, std::fabs(x[d]));
  const float factor = largest > 1e-30f ? 127.0f / largest : 0;
  for (int64_t d = 0; d < D; ++d)
    q[d] = static_cast<int8_t>(std::clamp(std::nearbyint(x[d] * factor), -127.0f, 127.0f));
  return largest / 127.0f;
}

// One token's key and value of one head into column and row j of a head page.
void put_token(std::byte* page, CacheType type, const float* k, const float* v, int64_t j, int64_t D) {
  std::byte* values = page + D * kPageTokens * element_bytes(type);
  switch (type) {
    case CacheType::f32:
      for (int64_t d = 0; d < D; ++d) put(page, d * kPageTokens + j, k[d]);
      std::memcpy(values + j * D * 4, v, static_cast<size_t>(D) * 4);
      return;
    case CacheType::bf16:
      for (int64_t d = 0; d < D; ++d) {
        put(page, d * kPageTokens + j, to_bf16(k[d]));
        put(values, j * D + d, to_bf16(v[d]));
      }
      return;
    case CacheType::i8: {
      thread_local std::vector<int8_t> q;
      q.resize(static_cast<size_t>(D));
      std::byte* scales = values + D * kPageTokens;
      put(scales, j, round_row(q.data(), k, D));
      for (int64_t d = 0; d < D; ++d) put(page, d * kPageTokens + j, q[static_cast<size_t>(d)]);
      put(scales, kPageTokens + j, round_row(q.data(), v, D));
      std::memcpy(values + j * D, q.data(), static_cast<size_t>(D));
      return;
    }
  }
}

// Less than elsewhere: pages are unpacked, and a team starts within a microsecond.
constexpr int64_t kSerialAttentionBytes = 32 << 10;

// About what one thread reads: keys and values of each row.
int64_t work_bytes(std::span<const PagedSequence> sequences, const PagedShape& shape) {
  int64_t keys = 0;
  for (const PagedSequence& sequence : sequences) keys += sequence.rows * (sequence.position + sequence.rows);
  return keys * shape.KV * shape.D * 4;
}

float* scratch_of_thread(int64_t floats) {
  thread_local std::vector<float> memory;
  memory.resize(static_cast<size_t>(floats + 16));
  return reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(memory.data()) + 63) / 64 * 64);
}

}  // namespace

int64_t padded_head(int64_t D) noexcept {
  return attention_padded(D, kAttentionPad);
}

int64_t head_page_bytes(CacheType type, int64_t D) noexcept {
  const int64_t scales = type == CacheType::i8 ? 2 * kPageTokens * 4 : 0;
  return (2 * D * kPageTokens * element_bytes(type) + scales + 63) / 64 * 64;
}

int64_t paged_scratch_floats(const PagedShape& shape) noexcept {
  const int64_t Dp = padded_head(shape.D), rows = std::max(kPagedUnitRows, shape.H / shape.KV);
  // A page's keys and values; queries, sums of a segment and of all; scores; maxima and totals twice.
  return 2 * kPageTokens * Dp + 3 * rows * Dp + rows * kPageTokens + 4 * rows;
}

void append_to_cache(const PagedCache& cache, const float* k, const float* v, int64_t v_stride,
                     std::span<const PagedSequence> sequences, const PagedShape& shape) noexcept {
  const int64_t head = head_page_bytes(cache.type, shape.D), row = shape.KV * shape.D;
  for (const PagedSequence& sequence : sequences)
    parallel_rows(sequence.rows, row * 8, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t position = sequence.position + i, n = sequence.first_row + i;
        std::byte* page = cache.data + sequence.pages[position / kPageTokens] * cache.page_stride;
        for (int64_t kv = 0; kv < shape.KV; ++kv)
          put_token(page + kv * head, cache.type, k + n * row + kv * shape.D, v + n * v_stride + kv * shape.D,
                    position % kPageTokens, shape.D);
      }
    });
}

void paged_attention(float* out, const float* q, const PagedCache& cache,
                     std::span<const PagedSequence> sequences, const PagedShape& shape,
                     int threads) noexcept {
  CHECK(shape.H % shape.KV == 0 && shape.D % 2 == 0);
  const int64_t group = shape.H / shape.KV, Dp = padded_head(shape.D);
  const int64_t step = std::max<int64_t>(1, kPagedUnitRows / group);
  threads = work_bytes(sequences, shape) <= kSerialAttentionBytes ? 1 : std::min(threads, thread_count());
  thread_local std::vector<PagedUnit> units;
  units.clear();
  for (const PagedSequence& sequence : sequences)
    for (int64_t kv = 0; kv < shape.KV; ++kv)
      for (int64_t begin = 0; begin < sequence.rows; begin += step)
        units.push_back({&sequence, begin, std::min(sequence.rows, begin + step), kv, -1, nullptr});

  const PagedAttention args{out, q, cache, shape};
  const PagedOps& ops = table().paged;
  const auto attend = [&](const PagedUnit& unit) {
    ops.attend(args, unit, scratch_of_thread(paged_scratch_floats(shape)));
  };
  // So few units that threads would wait: the segments of each are dealt out too, if one token has several.
  const PagedSequence& one = sequences[0];
  const int64_t last = one.position / kPageTokens / kSegmentPages;
  const int64_t first =
      shape.window == 0 ? 0
                        : std::max<int64_t>(0, one.position - shape.window + 1) / kPageTokens / kSegmentPages;
  const int64_t segments = last - first + 1;
  if (sequences.size() == 1 && one.rows == 1 && threads > 1 && segments > 1) {
    thread_local std::vector<float> partials;
    const int64_t size = group * (Dp + 2);
    partials.resize(static_cast<size_t>(shape.KV * segments * size));
    float* sums = partials.data();
    for_tasks(shape.KV * segments, threads, [&](int64_t i) {
      attend({&one, 0, 1, i / segments, first + i % segments, sums + i * size});
    });
    for (int64_t kv = 0; kv < shape.KV; ++kv)
      ops.merge(out + (one.first_row * shape.H + kv * group) * shape.D, sums + kv * segments * size, segments,
                size, group, shape.D, scratch_of_thread(paged_scratch_floats(shape)));
    return;
  }
  // Those with the most keys first: what is left at the end is small.
  std::stable_sort(units.begin(), units.end(), [](const PagedUnit& a, const PagedUnit& b) {
    return a.sequence->position + a.end > b.sequence->position + b.end;
  });
  const std::vector<PagedUnit>& all = units;
  for_tasks(static_cast<int64_t>(all.size()), threads,
            [&](int64_t i) { attend(all[static_cast<size_t>(i)]); });
}

}  // namespace tumbler::kernels
