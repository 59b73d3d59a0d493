#include "kernels/matmul.h"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "base/rng.h"
#include "kernels/isa.h"
#include "kernels/matmul_ref.h"

namespace tumbler::kernels {
namespace {

template <class T>
std::vector<T> random_values(Rng& rng, int64_t n) {
  std::vector<T> out(static_cast<size_t>(n));
  for (T& x : out) x = from_float<T>(static_cast<float>(rng.normal()));
  return out;
}

// Sums of K products of standard normals have magnitude sqrt(K); f32 accumulation in any order errs by at
// most K * 2^-24 of the sum of magnitudes (Higham 2002, 3.1), in practice by about sqrt(K) * 2^-24; 8 of
// those leave room. A bf16 result is rounded to 2^-8.
template <class O>
double tolerance(int64_t K, double value) {
  return 8 * 0x1p-24 * static_cast<double>(K) +
         (std::is_same_v<O, bf16> ? 0x1p-7 * std::abs(value) + 1e-6 : 0);
}

template <class O>
void expect_close(const std::vector<O>& got, const std::vector<O>& want, int64_t K, const char* what) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t i = 0; i < got.size(); ++i) {
    const double w = to_float(want[i]);
    ASSERT_NEAR(to_float(got[i]), w, tolerance<O>(K, w)) << what << " at " << i;
  }
}

class MatmulTest : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override { set_active_isa(GetParam()); }
  void TearDown() override { set_active_isa(host_isas().back()); }
};

template <class T, class O>
void compare(int64_t N, int64_t OC, int64_t C, int64_t pad, bool accumulate, bool with_bias) {
  SCOPED_TRACE(testing::Message() << "N=" << N << " OC=" << OC << " C=" << C << " pad=" << pad
                                  << " accumulate=" << accumulate);
  Rng rng(static_cast<uint64_t>(N * 10007 + OC * 101 + C));
  const auto inp = random_values<T>(rng, N * (C + pad));
  const auto weight = random_values<T>(rng, OC * (C + pad));
  const auto d_out = random_values<T>(rng, N * (OC + pad));
  const auto bias = random_values<float>(rng, OC);
  const Matrix<const T> inp_view(inp.data(), N, C, C + pad), weight_view(weight.data(), OC, C, C + pad),
      d_out_view(d_out.data(), N, OC, OC + pad);
  {
    auto got = random_values<O>(rng, N * (OC + pad)), want = got;
    const float* b = with_bias ? bias.data() : nullptr;
    matmul_forward<T, O>({got.data(), N, OC, OC + pad}, inp_view, weight_view, b, accumulate);
    ref::matmul_forward<T, O>({want.data(), N, OC, OC + pad}, inp_view, weight_view, b, accumulate);
    expect_close(got, want, C + 2, "forward");
  }
  {
    auto got = random_values<O>(rng, N * (C + pad)), want = got;
    matmul_backward_input<T, O>({got.data(), N, C, C + pad}, d_out_view, weight_view, accumulate);
    ref::matmul_backward_input<T, O>({want.data(), N, C, C + pad}, d_out_view, weight_view, accumulate);
    expect_close(got, want, OC + 2, "backward_input");
  }
  {
    auto got = random_values<float>(rng, OC * (C + pad)), want = got;
    matmul_backward_weight<T>({got.data(), OC, C, C + pad}, d_out_view, inp_view, accumulate);
    ref::matmul_backward_weight<T>({want.data(), OC, C, C + pad}, d_out_view, inp_view, accumulate);
    expect_close(got, want, N + 2, "backward_weight");
  }
  {
    auto got = bias, want = bias;
    bias_backward<T>(got.data(), d_out_view);
    ref::bias_backward<T>(want.data(), d_out_view);
    expect_close(got, want, N + 2, "bias_backward");
  }
}

TEST_P(MatmulTest, AgreesWithPlainLoops) {
  // Around the register tiles of 6, 16 and 24 and the cache tiles of 64 rows that GEMM libraries use.
  for (const int64_t N : {1, 2, 5, 7, 16, 33, 65})
    for (const int64_t OC : {1, 3, 8, 17, 48, 129})
      for (const int64_t C : {1, 2, 9, 16, 31, 64, 130})
        for (const bool accumulate : {false, true}) {
          const int64_t pad = (N + OC + C) % 3;
          compare<float, float>(N, OC, C, pad, accumulate, OC % 2 == 1);
          compare<bf16, bf16>(N, OC, C, pad, accumulate, OC % 2 == 1);
          compare<bf16, float>(N, OC, C, pad, accumulate, OC % 2 == 1);
        }
}

TEST_P(MatmulTest, GivesTheSameBitsTwice) {
  Rng rng(1);
  const int64_t N = 300, OC = 200, C = 500;
  const auto inp = random_values<float>(rng, N * C), weight = random_values<float>(rng, OC * C);
  std::vector<float> first(static_cast<size_t>(N * OC)), second = first;
  for (auto* out : {&first, &second})
    matmul_forward<float, float>({out->data(), N, OC}, {inp.data(), N, C}, {weight.data(), OC, C}, nullptr,
                                 false);
  EXPECT_EQ(first, second);
}

TEST_P(MatmulTest, NaNReachesTheOutput) {
  std::vector<float> inp = {1, std::nanf(""), 3, 4}, weight = {1, 1}, out(2);
  matmul_forward<float, float>({out.data(), 2, 1}, {inp.data(), 2, 2}, {weight.data(), 1, 2}, nullptr, false);
  EXPECT_TRUE(std::isnan(out[0]));
  EXPECT_EQ(out[1], 7);
}

INSTANTIATE_TEST_SUITE_P(Isas, MatmulTest, testing::ValuesIn(host_isas()),
                         [](const auto& p) { return isa_name(p.param); });

}  // namespace
}  // namespace tumbler::kernels
