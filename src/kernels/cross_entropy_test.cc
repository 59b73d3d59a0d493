#include "kernels/cross_entropy.h"

#include <limits>

#include <fmt/format.h>

#include "kernels/kernel_testing.h"

namespace tumbler::kernels {
namespace {

template <class T>
struct Results {
  Array<T> logits;
  Array<float> losses, losses_again;
  Results(int64_t N, int64_t V, double spread) : logits(N * V, 1, spread, 3), losses(N), losses_again(N) {
    const Array<float> weights(N, 2);
    std::vector<int32_t> targets;
    for (int64_t n = 0; n < N; ++n)
      targets.push_back(n % 4 == 3 ? kIgnoreTarget : static_cast<int32_t>((n * 31 + 5) % V));
    cross_entropy_forward<T>(losses, logits, targets.data(), N, V, V);
    cross_entropy_forward_backward<T>(losses_again, logits, targets.data(), weights, N, V, V);
  }
};

template <class T>
void compare_with_ref(const TestedIsa& isa) {
  const auto run = [](const Table* table, int64_t N, int64_t V, double spread) {
    const WithTable with(table);
    return Results<T>(N, V, spread);
  };
  std::vector<int64_t> lengths = test_lengths();
  lengths.push_back(5003);  // some blocks of 32 vectors and a rest
  for (const int64_t V : lengths) {
    for (const double spread : {1.0, 30.0}) {
      const Results<T> got = run(isa.table, 5, V, spread), expected = run(&kRefTable, 5, V, spread);
      const std::string what = fmt::format("{} {} V {} spread {}", isa.name, sizeof(T), V, spread);
      // A sum of V positive terms in four times kLanes accumulators, each off by 2 ulp for exp and by the
      // rounding of x - max, whose size is up to 8 * spread; a loss is a difference of numbers up to that
      // size.
      const double sum = (static_cast<double>(V) / 32 + 16) * kFloatEps, argument = 8 * spread * kFloatEps;
      expect_close(got.losses, expected.losses, sum, sum + 4 * argument, what);
      expect_equal(got.losses_again, got.losses, what);
      expect_close(got.logits, expected.logits, sum + 2 * argument + storage_eps<T>(), 8 * kFloatEps, what);
    }
  }
}

TEST(CrossEntropy, float_agrees_with_ref) {
  for (const TestedIsa& isa : tested_isas()) compare_with_ref<float>(isa);
}
TEST(CrossEntropy, bf16_agrees_with_ref) {
  for (const TestedIsa& isa : tested_isas()) compare_with_ref<bf16>(isa);
}

std::vector<TestedIsa> all_isas() {
  std::vector<TestedIsa> isas = tested_isas();
  isas.push_back({"ref", &kRefTable, nullptr});
  return isas;
}

TEST(CrossEntropy, gradients_agree_with_finite_differences) {
  const int64_t N = 3, V = 41;
  const int32_t targets[] = {40, kIgnoreTarget, 0};
  const Array<float> start(N * V, 1, 2), weights(N, 2);
  const auto loss = [&](const std::vector<double>& x) {
    double total = 0;
    for (size_t n = 0; n < 3; ++n) {
      if (targets[n] == kIgnoreTarget) continue;
      double sum = 0;
      for (size_t v = 0; v < 41; ++v) sum += std::exp(x[n * 41 + v]);
      total +=
          weights.at(static_cast<int64_t>(n)) * (std::log(sum) - x[n * 41 + static_cast<size_t>(targets[n])]);
    }
    return total;
  };
  for (const TestedIsa& isa : all_isas()) {
    const WithTable with(isa.table);
    Array<float> logits = start, losses(N);
    cross_entropy_forward_backward<float>(losses, logits, targets, weights, N, V, V);
    expect_gradient(logits, to_double(start), loss, 2e-6, isa.name);
    for (int64_t v = 0; v < V; ++v) EXPECT_EQ(logits.at(V + v), 0) << isa.name;
    EXPECT_EQ(losses.at(1), 0) << isa.name;
  }
}

TEST(CrossEntropy, extreme_logits) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  for (const TestedIsa& isa : all_isas()) {
    const WithTable with(isa.table);
    const int64_t V = 1200;
    Array<float> logits(4 * V), losses(4), weights(4);
    const int32_t targets[] = {7, 1190, 3, 0};
    for (int64_t n = 0; n < 4; ++n) weights.data()[n] = 1;
    for (int64_t v = 0; v < V; ++v) {
      logits.data()[v] = 1e30f;                              // all the same and huge
      logits.data()[V + v] = v < 1100 ? -kInf : 2.0f;        // the first blocks masked
      logits.data()[2 * V + v] = v == 3 ? 200.0f : -200.0f;  // certain
      logits.data()[3 * V + v] = v == 900 ? std::nanf("") : 0.0f;
    }
    cross_entropy_forward_backward<float>(losses, logits, targets, weights, 4, V, V);
    EXPECT_NEAR(losses.at(0), std::log(1200.0), 1e24) << isa.name;  // an ulp of 1e30 is 7.6e22
    EXPECT_TRUE(std::isfinite(losses.at(0))) << isa.name;
    EXPECT_NEAR(losses.at(1), std::log(100.0), 1e-5) << isa.name;
    EXPECT_EQ(logits.at(V + 5), 0) << isa.name;
    EXPECT_NEAR(logits.at(V + 1195), 0.01, 1e-7) << isa.name;
    EXPECT_EQ(losses.at(2), 0) << isa.name;
    EXPECT_EQ(logits.at(2 * V + 3), 0) << isa.name;
    EXPECT_TRUE(std::isnan(losses.at(3))) << isa.name;
    EXPECT_TRUE(std::isnan(logits.at(3 * V + 1))) << isa.name;
  }
}

// Near certainty a bf16 gradient must be that of p - 1, not what is left of 1 - 1.
TEST(CrossEntropy, bf16_target_gradient_keeps_its_digits) {
  for (const TestedIsa& isa : all_isas()) {
    const WithTable with(isa.table);
    Array<bf16> logits(2);
    Array<float> losses(1), weights(1);
    weights.data()[0] = 1;
    logits.data()[0] = to_bf16(8.0f);
    const int32_t target = 0;
    cross_entropy_forward_backward<bf16>(losses, logits, &target, weights, 1, 2, 2);
    const double p = 1 / (1 + std::exp(8.0));
    EXPECT_NEAR(logits.at(0), -p, p * kBf16Eps) << isa.name;
    EXPECT_NEAR(logits.at(1), p, p * kBf16Eps) << isa.name;
  }
}

TEST(CrossEntropy, rows_may_lie_apart) {
  const int64_t N = 5, V = 77, stride = 96;
  const Array<float> dense(N * V, 1, 3), weights(N, 2);
  const int32_t targets[] = {0, 76, kIgnoreTarget, 5, 30};
  for (const TestedIsa& isa : all_isas()) {
    const WithTable with(isa.table);
    Array<float> expected = dense, losses(N), apart(N * stride, 4), losses_apart(N), forward(N);
    const Array<float> between = apart;
    for (int64_t n = 0; n < N; ++n) std::copy_n(dense.data() + n * V, V, apart.data() + n * stride);
    cross_entropy_forward<float>(forward, apart, targets, N, V, stride);
    cross_entropy_forward_backward<float>(losses, expected, targets, weights, N, V, V);
    cross_entropy_forward_backward<float>(losses_apart, apart, targets, weights, N, V, stride);
    expect_equal(losses_apart, losses, isa.name);
    expect_equal(forward, losses, isa.name);
    for (int64_t n = 0; n < N; ++n)
      for (int64_t v = 0; v < stride; ++v)
        EXPECT_EQ(apart.at(n * stride + v), v < V ? expected.at(n * V + v) : between.at(n * stride + v))
            << isa.name;
  }
}

TEST(CrossEntropy, threads_change_nothing) {
  const auto run = [](int threads) {
    const WithThreads with(threads);
    return Results<float>(21, 5000, 1);
  };
  const Results<float> one = run(1), three = run(3);
  expect_equal(three.losses, one.losses, "losses");
  expect_equal(three.logits, one.logits, "gradient");
}

TEST(CrossEntropyDeathTest, refuses_a_target_outside_the_vocabulary) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  Array<float> logits(4), losses(1);
  const int32_t target = 4;
  EXPECT_DEATH(cross_entropy_forward<float>(losses, logits, &target, 1, 4, 4),
               "target 0: got 4, expected 0..3");
}

}  // namespace
}  // namespace tumbler::kernels
