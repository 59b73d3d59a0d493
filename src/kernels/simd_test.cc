// The vector functions on each instruction set, against the standard library in f64.
#include <bit>
#include <limits>

#include "kernels/kernel_testing.h"

namespace tumbler::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
const float kNan = std::numeric_limits<float>::quiet_NaN();

using Function = void (*)(float*, const float*, int64_t);

// The largest error in units of the last place of the exact result, over all floats first, first + stride, …
// as bit patterns.
double largest_ulp_error(Function f, double (*exact)(double), float from, float to, uint32_t stride) {
  std::vector<float> x, y;
  for (uint32_t bits = std::bit_cast<uint32_t>(from); bits <= std::bit_cast<uint32_t>(to); bits += stride)
    x.push_back(std::bit_cast<float>(bits));
  EXPECT_GT(x.size(), 1000u);
  y.resize(x.size());
  f(y.data(), x.data(), static_cast<int64_t>(x.size()));
  double worst = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double expected = exact(x[i]);
    const float rounded = std::abs(static_cast<float>(expected));
    const double ulp = std::max(0x1p-149, static_cast<double>(std::nextafter(rounded, kInf)) - rounded);
    worst = std::max(worst, std::abs(y[i] - expected) / ulp);
  }
  return worst;
}

float apply(Function f, float x) {
  float y[3], in[3] = {0.5f, x, 0.5f};
  f(y, in, 3);
  return y[1];
}

TEST(Simd, exp_is_accurate) {
  for (const TestedIsa& isa : tested_isas()) {
    SCOPED_TRACE(isa.name);
    const Function f = isa.probe->exp;
    const auto exact = [](double x) { return std::exp(x); };
    EXPECT_LE(largest_ulp_error(f, exact, 1e-30f, 88.72f, 10007), 2);
    EXPECT_LE(largest_ulp_error(f, exact, -1e-30f, -103.9f, 10007), 2);
    EXPECT_EQ(apply(f, 0), 1);
    EXPECT_EQ(apply(f, -kInf), 0);
    EXPECT_EQ(apply(f, -1e30f), 0);
    EXPECT_EQ(apply(f, kInf), kInf);
    EXPECT_EQ(apply(f, 89.5f), kInf);
    EXPECT_TRUE(std::isnan(apply(f, kNan)));
  }
}

TEST(Simd, log_is_accurate) {
  for (const TestedIsa& isa : tested_isas()) {
    SCOPED_TRACE(isa.name);
    const Function f = isa.probe->log;
    EXPECT_LE(largest_ulp_error(
                  f, [](double x) { return std::log(x); }, 1.2e-38f, 3.4e38f, 10007),
              2);
    EXPECT_LE(largest_ulp_error(
                  f, [](double x) { return std::log(x); }, 0.7f, 1.5f, 101),
              2);
    EXPECT_EQ(apply(f, 1), 0);
    EXPECT_EQ(apply(f, 0), -kInf);
    EXPECT_EQ(apply(f, kInf), kInf);
    EXPECT_TRUE(std::isnan(apply(f, -1)));
    EXPECT_TRUE(std::isnan(apply(f, kNan)));
  }
}

TEST(Simd, tanh_and_sigmoid_are_accurate) {
  for (const TestedIsa& isa : tested_isas()) {
    SCOPED_TRACE(isa.name);
    const auto tanh = [](double x) { return std::tanh(x); };
    const auto sigmoid = [](double x) { return 1 / (1 + std::exp(-x)); };
    EXPECT_LE(largest_ulp_error(isa.probe->tanh, tanh, 1e-30f, 100.0f, 10007), 3);
    EXPECT_LE(largest_ulp_error(isa.probe->tanh, tanh, -1e-30f, -100.0f, 10007), 3);
    EXPECT_LE(largest_ulp_error(isa.probe->sigmoid, sigmoid, 1e-30f, 100.0f, 10007), 3);
    EXPECT_LE(largest_ulp_error(isa.probe->sigmoid, sigmoid, -1e-30f, -80.0f, 10007), 4);
    EXPECT_EQ(apply(isa.probe->tanh, kInf), 1);
    EXPECT_EQ(apply(isa.probe->tanh, -kInf), -1);
    EXPECT_TRUE(std::isnan(apply(isa.probe->tanh, kNan)));
    EXPECT_EQ(apply(isa.probe->sigmoid, kInf), 1);
    EXPECT_EQ(apply(isa.probe->sigmoid, -kInf), 0);
    EXPECT_TRUE(std::isnan(apply(isa.probe->sigmoid, kNan)));
  }
}

TEST(Simd, bf16_rounds_as_the_scalar_does) {
  std::vector<float> x;
  for (uint64_t bits = 0; bits <= 0xffffffffu; bits += 40009)
    x.push_back(std::bit_cast<float>(static_cast<uint32_t>(bits)));
  for (const uint32_t bits : {0x3f808000u, 0x3f818000u, 0x7f7fffffu, 0x7f800000u, 0xff800000u, 0x7f800001u,
                              0x7fffffffu, 0x00000001u, 0x80008000u})
    x.push_back(std::bit_cast<float>(bits));
  for (const TestedIsa& isa : tested_isas()) {
    std::vector<float> y(x.size());
    isa.probe->round_bf16(y.data(), x.data(), static_cast<int64_t>(x.size()));
    std::vector<bf16> stored(x.size());
    isa.table->to_bf16(stored.data(), x.data(), static_cast<int64_t>(x.size()));
    for (size_t i = 0; i < x.size(); ++i) {
      const bf16 expected = to_bf16(x[i]);
      ASSERT_EQ(std::bit_cast<uint32_t>(y[i]), static_cast<uint32_t>(expected.bits) << 16)
          << isa.name << " " << x[i];
      ASSERT_EQ(stored[i].bits, expected.bits) << isa.name << " " << x[i];
    }
  }
}

TEST(Simd, sums_and_maxima_of_every_length) {
  for (const TestedIsa& isa : tested_isas()) {
    for (const int64_t n : test_lengths()) {
      Array<float> x(n, static_cast<uint64_t>(n));
      double sum = 0, size = 0, top = -1e30;
      for (int64_t i = 0; i < n; ++i) {
        sum += x.at(i);
        size += std::abs(x.at(i));
        top = std::max(top, static_cast<double>(x.at(i)));
      }
      // At most n additions, each of which is off by half a unit of a partial sum <= size.
      EXPECT_NEAR(isa.probe->sum(x, n), sum, static_cast<double>(n) * kFloatEps * size)
          << isa.name << " " << n;
      EXPECT_EQ(isa.probe->max(x, n), top) << isa.name << " " << n;
    }
  }
}

}  // namespace
}  // namespace tumbler::kernels
