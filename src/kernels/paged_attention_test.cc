#include "kernels/paged_attention.h"

#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

#include "base/rng.h"
#include "kernels/kernel_testing.h"

namespace tumbler::kernels {
namespace {

// A sequence of T random tokens, whose queries are asked for in chunks.
struct Case {
  Case(CacheType type, const PagedShape& shape_, int64_t T_) : shape(shape_), T(T_) {
    Rng rng(3, static_cast<uint64_t>(T));
    const auto fill = [&](std::vector<float>& x, int64_t n) {
      x.resize(static_cast<size_t>(n));
      for (float& value : x) value = static_cast<float>(rng.normal());
    };
    fill(q, T * shape.H * shape.D);
    fill(k, T * shape.KV * shape.D);
    fill(v, T * shape.KV * shape.D);
    // Pages out of order, with something else between them.
    const int64_t pages = (T + kPageTokens - 1) / kPageTokens;
    for (int64_t p = 0; p < pages; ++p) order.push_back(static_cast<int32_t>(2 * (pages - 1 - p)));
    stride = shape.KV * head_page_bytes(type, shape.D);
    memory.resize(static_cast<size_t>((2 * pages + 1) * stride + 64),
                  std::byte{0xff});  // NaN where nothing is written
    auto* data = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) % 64;
    cache = {type, data, stride};
  }
  // The rows [begin, end) as one call.
  void attend(int64_t begin, int64_t end, std::vector<float>& out) {
    const PagedSequence sequence{0, end - begin, begin, order};
    append_to_cache(cache, k.data() + begin * shape.KV * shape.D, v.data() + begin * shape.KV * shape.D,
                    shape.KV * shape.D, {&sequence, 1}, shape);
    paged_attention(out.data() + begin * shape.H * shape.D, q.data() + begin * shape.H * shape.D, cache,
                    {&sequence, 1}, shape, thread_count());
  }
  std::vector<float> attend_in_chunks(std::span<const int64_t> ends) {
    std::vector<float> out(q.size());
    int64_t begin = 0;
    for (const int64_t end : ends) {
      attend(begin, end, out);
      begin = end;
    }
    return out;
  }
  PagedShape shape;
  int64_t T, stride;
  std::vector<float> q, k, v;
  std::vector<int32_t> order;
  std::vector<std::byte> memory;
  PagedCache cache{};
};

// Plain attention over the unrounded keys and values.
std::vector<float> expected_attention(const Case& c) {
  const auto [H, KV, D, scale, window] = c.shape;
  std::vector<float> out(c.q.size());
  for (int64_t t = 0; t < c.T; ++t)
    for (int64_t h = 0; h < H; ++h) {
      const int64_t first = window == 0 ? 0 : std::max<int64_t>(0, t - window + 1);
      const auto at = [&](const std::vector<float>& x, int64_t key, int64_t d) {
        return static_cast<double>(x[static_cast<size_t>((key * KV + h / (H / KV)) * D + d)]);
      };
      std::vector<double> p;
      double highest = -1e30, total = 0;
      for (int64_t key = first; key <= t; ++key) {
        double score = 0;
        for (int64_t d = 0; d < D; ++d)
          score += static_cast<double>(c.q[static_cast<size_t>((t * H + h) * D + d)]) * at(c.k, key, d);
        p.push_back(score * scale);
        highest = std::max(highest, p.back());
      }
      for (double& x : p) total += x = std::exp(x - highest);
      for (int64_t d = 0; d < D; ++d) {
        double sum = 0;
        for (int64_t key = first; key <= t; ++key)
          sum += p[static_cast<size_t>(key - first)] * at(c.v, key, d);
        out[static_cast<size_t>((t * H + h) * D + d)] = static_cast<float>(sum / total);
      }
    }
  return out;
}

std::vector<TestedIsa> all_isas() {
  std::vector<TestedIsa> isas = tested_isas();
  isas.push_back({"ref", &kRefTable, nullptr});
  return isas;
}

const PagedShape kShapes[] = {{6, 2, 16, 0.25f, 0}, {4, 1, 24, 0.2f, 100}, {2, 2, 64, 0.125f, 0}};

TEST(PagedAttention, IsAttention) {
  for (const TestedIsa& isa : all_isas()) {
    const WithTable with(isa.table);
    for (const PagedShape& shape : kShapes)
      for (const CacheType type : {CacheType::f32, CacheType::bf16, CacheType::i8}) {
        Case c(type, shape, 150);
        const int64_t ends[] = {150};
        const std::vector<float> out = c.attend_in_chunks(ends), expected = expected_attention(c);
        // Rounding of keys moves scores, rounding of values moves the mean: some times the type's relative
        // error.
        const double tolerance = type == CacheType::f32 ? 1e-5 : type == CacheType::bf16 ? 0.03 : 0.05;
        for (size_t i = 0; i < out.size(); ++i)
          ASSERT_NEAR(out[i], expected[i], tolerance) << isa.name << " element " << i;
      }
  }
}

// To the last bit, over several segments of keys: in one call, in chunks, token by token, with other threads.
TEST(PagedAttention, ChunksAndThreadsChangeNothing) {
  const int64_t T = 1100;
  for (const TestedIsa& isa : tested_isas()) {
    if (isa.table == &kAvx512EmulatedTable) continue;  // minutes
    const WithTable with(isa.table);
    for (const PagedShape& shape : kShapes) {
      Case c(CacheType::bf16, shape, T);
      const int64_t whole[] = {T}, parts[] = {1, 60, 64, 513, 1090, T};
      std::vector<int64_t> steps(static_cast<size_t>(T));
      std::iota(steps.begin(), steps.end(), 1);
      const std::vector<float> expected = c.attend_in_chunks(whole);
      for (const int threads : {1, 3}) {
        const WithThreads some(threads);
        EXPECT_EQ(c.attend_in_chunks(parts), expected) << isa.name << " " << threads;
        EXPECT_EQ(c.attend_in_chunks(steps), expected) << isa.name << " " << threads;
      }
    }
  }
}

// Several sequences in one call.
TEST(PagedAttention, OthersInTheBatchChangeNothing) {
  const PagedShape shape{6, 2, 16, 0.25f, 0};
  Case a(CacheType::bf16, shape, 70), b(CacheType::bf16, shape, 600);
  const int64_t a_ends[] = {70}, b_ends[] = {600};
  const std::vector<float> a_out = a.attend_in_chunks(a_ends), b_out = b.attend_in_chunks(b_ends);
  // The last row of a and the last 10 of b, with pages in one memory.
  std::vector<std::byte> memory(a.memory.size() + b.memory.size());
  auto* data = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) % 64;
  const int64_t a_pages = 4;
  std::memcpy(data, a.cache.data, static_cast<size_t>(a_pages * a.stride));
  std::memcpy(data + a_pages * a.stride, b.cache.data, static_cast<size_t>(20 * b.stride));
  std::vector<int32_t> b_order = b.order;
  for (int32_t& page : b_order) page += static_cast<int32_t>(a_pages);
  const int64_t row = shape.H * shape.D;
  std::vector<float> q(a.q.end() - row, a.q.end()), out(static_cast<size_t>(11 * row));
  q.insert(q.end(), b.q.end() - 10 * row, b.q.end());
  const PagedSequence sequences[] = {{0, 1, 69, a.order}, {1, 10, 590, b_order}};
  paged_attention(out.data(), q.data(), {CacheType::bf16, data, a.stride}, sequences, shape, 2);
  EXPECT_EQ(std::vector<float>(out.begin(), out.begin() + row),
            std::vector<float>(a_out.end() - row, a_out.end()));
  EXPECT_EQ(std::vector<float>(out.begin() + row, out.end()),
            std::vector<float>(b_out.end() - 10 * row, b_out.end()));
}

}  // namespace
}  // namespace tumbler::kernels
