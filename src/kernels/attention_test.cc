#include "kernels/attention.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "base/rng.h"
#include "kernels/attention_ref.h"
#include "kernels/isa.h"
#include "kernels/kernel_testing.h"

namespace tumbler::kernels {
namespace {

template <class T>
struct Problem {
  AttentionShape shape;
  int64_t stride;  // of q, k, v tokens in one packed buffer, as nn/ has them
  std::vector<T> qkv, d_out;
  std::vector<int32_t> first_key;

  Problem(AttentionShape s, bool documents, float magnitude) : shape(s), stride((s.H + 2 * s.KV) * s.D + 3) {
    Rng rng(static_cast<uint64_t>(s.T * 1000 + s.D + s.H));
    qkv.resize(static_cast<size_t>(s.B * s.T * stride));
    d_out.resize(static_cast<size_t>(s.B * s.T * s.H * s.D));
    for (T& x : qkv) x = from_float<T>(magnitude * static_cast<float>(rng.normal()));
    for (T& x : d_out) x = from_float<T>(static_cast<float>(rng.normal()));
    if (!documents) return;
    for (int64_t b = 0; b < s.B; ++b) {
      int32_t start = 0;
      for (int64_t t = 0; t < s.T; ++t)
        first_key.push_back(start = rng.below(20) == 0 ? static_cast<int32_t>(t) : start);
    }
  }
  const int32_t* documents() const { return first_key.empty() ? nullptr : first_key.data(); }
  HeadView<const T> q() const { return {qkv.data(), stride}; }
  HeadView<const T> k() const { return {qkv.data() + shape.H * shape.D, stride}; }
  HeadView<const T> v() const { return {qkv.data() + (shape.H + shape.KV) * shape.D, stride}; }
};

template <class T>
struct Results {
  std::vector<T> out, d_q, d_k, d_v;
  std::vector<float> lse;
  explicit Results(const AttentionShape& s)
      : out(static_cast<size_t>(s.B * s.T * s.H * s.D)),
        d_q(out),
        d_k(static_cast<size_t>(s.B * s.T * s.KV * s.D)),
        d_v(d_k),
        lse(static_cast<size_t>(s.B * s.H * s.T)) {}
};

template <class T>
Results<T> run(const Problem<T>& p, bool reference) {
  const AttentionShape& s = p.shape;
  Results<T> r(s);
  const int64_t q_row = s.H * s.D, kv_row = s.KV * s.D;
  if (reference) {
    ref::attention_forward<T>({r.out.data(), q_row}, r.lse.data(), p.q(), p.k(), p.v(), p.documents(), s);
    ref::attention_backward<T>({r.d_q.data(), q_row}, {r.d_k.data(), kv_row}, {r.d_v.data(), kv_row},
                               {p.d_out.data(), q_row}, {r.out.data(), q_row}, r.lse.data(), p.q(), p.k(),
                               p.v(), p.documents(), s);
    return r;
  }
  std::vector<char> scratch(static_cast<size_t>(attention_scratch(s)) + 64,
                            0x7f);  // not zero: nothing may rely on it
  void* aligned = scratch.data() + (64 - reinterpret_cast<uintptr_t>(scratch.data()) % 64);
  attention_forward<T>({r.out.data(), q_row}, r.lse.data(), p.q(), p.k(), p.v(), p.documents(), s, aligned);
  attention_backward<T>({r.d_q.data(), q_row}, {r.d_k.data(), kv_row}, {r.d_v.data(), kv_row},
                        {p.d_out.data(), q_row}, {r.out.data(), q_row}, r.lse.data(), p.q(), p.k(), p.v(),
                        p.documents(), s, aligned);
  return r;
}

// Both sides sum up to T products of f32 in different orders and round the result to T; entries are of the
// order of `size`. 2^-24 * T is the bound of a f32 sum (Higham 2002, 3.1), bf16 rounds to 2^-9 of the value;
// gradients also see the rounded `out` through delta.
template <class T>
void expect_close(const std::vector<T>& got, const std::vector<T>& want, const AttentionShape& s, double size,
                  const char* what) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    const double w = to_float(want[i]), rounding = std::is_same_v<T, bf16> ? 0x1p-7 : 0x1p-20;
    ASSERT_NEAR(to_float(got[i]), w, (rounding + 0x1p-22 * static_cast<double>(s.T)) * (std::abs(w) + size))
        << what << " at " << i;
  }
}

template <class T>
void compare(const AttentionShape& s, bool documents, float magnitude = 1) {
  SCOPED_TRACE(testing::Message() << "B=" << s.B << " T=" << s.T << " H=" << s.H << " KV=" << s.KV
                                  << " D=" << s.D << " documents=" << documents
                                  << " bf16=" << (std::is_same_v<T, bf16>));
  const Problem<T> p(s, documents, magnitude);
  const Results<T> got = run(p, false), want = run(p, true);
  const double size = magnitude * std::sqrt(static_cast<double>(s.D));
  expect_close(got.out, want.out, s, size, "out");
  expect_close(got.d_q, want.d_q, s, size, "d_q");
  expect_close(got.d_k, want.d_k, s, 4 * size, "d_k");
  expect_close(got.d_v, want.d_v, s, 4 * size, "d_v");
  for (size_t i = 0; i < got.lse.size(); ++i)
    ASSERT_NEAR(got.lse[i], want.lse[i], 1e-5 * (4 + std::abs(want.lse[i])));
}

class AttentionTest : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override { set_active_isa(GetParam()); }
  void TearDown() override { set_active_isa(host_isas().back()); }
};

AttentionShape shape(int64_t B, int64_t T, int64_t H, int64_t KV, int64_t D) {
  return {B, T, H, KV, D, 1 / std::sqrt(static_cast<float>(D))};
}

TEST_P(AttentionTest, AgreesWithPlainLoopsAroundBlockSizes) {
  for (const int64_t T : {1, 2, 7, 31, 33, 63, 64, 65, 127, 129, 200})
    for (const bool documents : {false, true}) {
      compare<float>(shape(2, T, 4, 2, 32), documents);
      compare<bf16>(shape(1, T, 3, 1, 64), documents);
    }
}

TEST_P(AttentionTest, AgreesForEveryHeadSizeAndGrouping) {
  for (const int64_t D : {2, 6, 16, 20, 32, 64, 80, 96, 128})
    for (const auto& [H, KV] : {std::pair{1, 1}, {4, 4}, {4, 2}, {6, 2}, {4, 1}}) {
      compare<float>(shape(1, 70, H, KV, D), false);
      compare<bf16>(shape(1, 70, H, KV, D), true);
    }
}

TEST_P(AttentionTest, LargeScoresNeitherOverflowNorVanish) {
  const Problem<float> p(shape(1, 100, 2, 1, 64), false,
                         30);  // scores in the thousands: softmax is a choice of one key
  const Results<float> got = run(p, false), want = run(p, true);
  for (size_t i = 0; i < got.out.size(); ++i) {
    ASSERT_TRUE(std::isfinite(got.out[i]));
    ASSERT_NEAR(got.out[i], want.out[i], 0.05 * (1 + std::abs(want.out[i])));
  }
  for (const float x : got.d_k) ASSERT_TRUE(std::isfinite(x));
}

TEST_P(AttentionTest, TheSameBitsForAnyNumberOfThreads) {
  const int threads = thread_count();
  const Problem<float> p(shape(3, 150, 6, 2, 64), true, 1);
  set_thread_count(1);
  const Results<float> one = run(p, false);
  for (const int n : {2, 3, 5}) {
    set_thread_count(n);
    const Results<float> many = run(p, false);
    EXPECT_EQ(one.out, many.out);
    EXPECT_EQ(one.d_q, many.d_q);
    EXPECT_EQ(one.d_k, many.d_k);
    EXPECT_EQ(one.d_v, many.d_v);
  }
  set_thread_count(threads);
}

TEST_P(AttentionTest, DecodingAgreesWithTheLastRowOfTheForwardPass) {
  for (const int64_t D : {16, 64, 80})
    for (const int64_t T : {1, 5, 64, 130}) {
      const AttentionShape s = shape(2, T, 6, 2, D);
      const Problem<float> p(s, false, 1);
      const Results<float> whole = run(p, true);
      const int64_t capacity = T + 3, row = s.KV * D;
      std::vector<float> q(static_cast<size_t>(s.B * s.H * D)),
          k(static_cast<size_t>(s.B * capacity * row), 9e9f), v(k), out(q);
      for (int64_t b = 0; b < s.B; ++b) {
        for (int64_t t = 0; t < T; ++t) {
          const float* from = p.qkv.data() + (b * T + t) * p.stride + s.H * D;
          std::copy_n(from, row, k.begin() + (b * capacity + t) * row);
          std::copy_n(from + row, row, v.begin() + (b * capacity + t) * row);
        }
        std::copy_n(p.qkv.data() + (b * T + T - 1) * p.stride, s.H * D, q.begin() + b * s.H * D);
      }
      const std::vector<int64_t> lengths(static_cast<size_t>(s.B), T);
      attention_decode<float>(out.data(), q.data(), k.data(), v.data(), lengths.data(), capacity, s);
      for (int64_t b = 0; b < s.B; ++b)
        for (int64_t i = 0; i < s.H * D; ++i)
          ASSERT_NEAR(out[static_cast<size_t>(b * s.H * D + i)],
                      whole.out[static_cast<size_t>((b * T + T - 1) * s.H * D + i)], 1e-5);
    }
}

TEST(AttentionScratch, GrowsWithTAndNotWithItsSquare) {
  const int64_t small = attention_scratch(shape(1, 1024, 12, 12, 64)),
                large = attention_scratch(shape(1, 16384, 12, 12, 64));
  EXPECT_LT(large, 17 * small);
}

// The oracle itself against central differences of its own forward pass, in f32 with a step that balances
// rounding (2^-24 / h) and truncation (h^2): h = 2^-7 leaves about 1e-4.
TEST(AttentionRef, GradientsMatchFiniteDifferences) {
  const AttentionShape s = shape(1, 9, 4, 2, 6);
  Problem<float> p(s, true, 1);
  const Results<float> analytic = run(p, true);
  const auto objective = [&] {
    Results<float> r(s);
    ref::attention_forward<float>({r.out.data(), s.H * s.D}, r.lse.data(), p.q(), p.k(), p.v(), p.documents(),
                                  s);
    double sum = 0;
    for (size_t i = 0; i < r.out.size(); ++i) sum += static_cast<double>(r.out[i]) * p.d_out[i];
    return sum;
  };
  const float h = 0x1p-7f;
  for (int64_t t = 0; t < s.T; ++t)
    for (int64_t i = 0; i < (s.H + 2 * s.KV) * s.D; ++i) {
      float& x = p.qkv[static_cast<size_t>(t * p.stride + i)];
      const float saved = x;
      x = saved + h;
      const double up = objective();
      x = saved - h;
      const double down = objective();
      x = saved;
      const int64_t Q = s.H * s.D, K = s.KV * s.D;
      const float got = i < Q       ? analytic.d_q[static_cast<size_t>(t * Q + i)]
                        : i < Q + K ? analytic.d_k[static_cast<size_t>(t * K + i - Q)]
                                    : analytic.d_v[static_cast<size_t>(t * K + i - Q - K)];
      ASSERT_NEAR(got, (up - down) / (2 * h), 2e-3) << "token " << t << " element " << i;
    }
}

// The AVX-512 bodies on any machine; shapes around the blocks of 64 and the vectors of 16.
TEST(AttentionEmulated, Avx512BodiesAgreeWithPlainLoops) {
  const WithTable with(&kAvx512EmulatedTable);
  compare<float>({2, 67, 4, 2, 40, 0.2f}, true);
  compare<bf16>({2, 67, 4, 2, 40, 0.2f}, false);
  compare<float>({1, 130, 2, 1, 64, 0.125f}, false);
}

INSTANTIATE_TEST_SUITE_P(Isas, AttentionTest, testing::ValuesIn(host_isas()),
                         [](const auto& p) { return isa_name(p.param); });

}  // namespace
}  // namespace tumbler::kernels
