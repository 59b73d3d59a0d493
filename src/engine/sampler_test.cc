#include "engine/sampler.h"

#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "base/error.h"

namespace tumbler::engine {
namespace {

// Probabilities 0.4, 0.3, 0.2, 0.1 in an order that is not sorted.
const std::vector<float> kLogits = {std::log(0.2f), std::log(0.4f), std::log(0.1f), std::log(0.3f)};

std::vector<double> frequencies(SamplingOptions options, int draws, uint64_t seed = 1) {
  Sampler sampler(options);
  Rng rng(seed);
  std::vector<double> counts(kLogits.size());
  for (int i = 0; i < draws; ++i) ++counts[sampler.sample(kLogits, rng)];
  return counts;
}

// Chi-square against `expected` probabilities; a token of probability 0 must not be drawn at all.
void expect_distribution(SamplingOptions options, std::vector<double> expected) {
  constexpr int kDraws = 20000;
  const std::vector<double> counts = frequencies(options, kDraws);
  double chi_square = 0, total = 0;
  for (const double p : expected) total += p;
  for (size_t i = 0; i < counts.size(); ++i) {
    const double mean = kDraws * expected[i] / total;
    if (mean == 0) {
      EXPECT_EQ(counts[i], 0) << "token " << i;
    } else {
      chi_square += (counts[i] - mean) * (counts[i] - mean) / mean;
    }
  }
  EXPECT_LT(chi_square, 16.27) << "3 degrees of freedom, p = 0.001; the seed is fixed";
}

TEST(Sampler, DrawsFromTheSoftmax) {
  expect_distribution({}, {0.2, 0.4, 0.1, 0.3});
}

TEST(Sampler, TemperatureSharpensAndFlattens) {
  expect_distribution({.temperature = 0.5}, {0.04, 0.16, 0.01, 0.09});
  expect_distribution({.temperature = 2}, {std::sqrt(0.2), std::sqrt(0.4), std::sqrt(0.1), std::sqrt(0.3)});
  expect_distribution({.temperature = 0}, {0, 1, 0, 0});
}

TEST(Sampler, CutsKeepWhatTheySay) {
  expect_distribution({.top_k = 2}, {0, 0.4, 0, 0.3});
  expect_distribution({.top_k = 99}, {0.2, 0.4, 0.1, 0.3});
  expect_distribution({.top_p = 0.65}, {0, 0.4, 0, 0.3});
  expect_distribution({.top_p = 0.75}, {0.2, 0.4, 0, 0.3});
  expect_distribution({.top_p = 1e-9}, {0, 1, 0, 0});
  expect_distribution({.min_p = 0.6}, {0, 0.4, 0, 0.3});
  expect_distribution({.min_p = 1}, {0, 1, 0, 0});
  // top_p counts within what top_k left: 0.4/0.7 of the mass is the first token's.
  expect_distribution({.top_k = 2, .top_p = 0.55}, {0, 1, 0, 0});
  // Cuts see probabilities after temperature: 0.16/0.3 of the mass is the first token's.
  expect_distribution({.temperature = 0.5, .top_p = 0.53}, {0, 1, 0, 0});
}

TEST(Sampler, EqualLogitsKeepTheSmallestIds) {
  Sampler sampler({.top_k = 2});
  const std::vector<float> equal(6, 1.0f);
  Rng rng(3);
  std::set<int32_t> seen;
  for (int i = 0; i < 100; ++i) seen.insert(sampler.sample(equal, rng));
  EXPECT_EQ(seen, (std::set<int32_t>{0, 1}));
  EXPECT_EQ(argmax(equal), 0);
}

TEST(Sampler, SameSeedSameTokens) {
  Sampler a({}), b({});
  Rng first(7), second(7), other(8);
  std::vector<int32_t> x, y, z;
  for (int i = 0; i < 50; ++i) {
    x.push_back(a.sample(kLogits, first));
    y.push_back(b.sample(kLogits, second));
    z.push_back(b.sample(kLogits, other));
  }
  EXPECT_EQ(x, y);
  EXPECT_NE(x, z);
}

TEST(Sampler, HugeAndMaskedLogits) {
  const float inf = std::numeric_limits<float>::infinity();
  Sampler sampler({});
  Rng rng(1);
  EXPECT_EQ(sampler.sample(std::vector<float>{-inf, 3e38f, -3e38f}, rng), 1);
  EXPECT_THROW(sampler.sample(std::vector<float>{-inf, -inf}, rng), Error);
  EXPECT_THROW(sampler.sample(std::vector<float>{0, std::nanf("")}, rng), Error);
  EXPECT_THROW(sampler.sample(std::vector<float>{0, inf}, rng), Error);
}

TEST(Sampler, RefusesValuesOutOfRange) {
  for (const SamplingOptions& bad : std::vector<SamplingOptions>{{.temperature = -1},
                                                                 {.temperature = std::nan("")},
                                                                 {.top_k = -1},
                                                                 {.top_p = 0},
                                                                 {.top_p = 1.1},
                                                                 {.min_p = 2}})
    EXPECT_THROW(Sampler{bad}, Error);
}

TEST(Sampler, TopCandidatesAreLogProbabilities) {
  const auto top = top_candidates(kLogits, 3);
  ASSERT_EQ(top.size(), 3u);
  EXPECT_EQ(top[0].id, 1);
  EXPECT_EQ(top[1].id, 3);
  EXPECT_EQ(top[2].id, 0);
  EXPECT_NEAR(std::exp(top[0].log_prob), 0.4, 1e-6);
  EXPECT_NEAR(std::exp(top[2].log_prob), 0.2, 1e-6);
  EXPECT_EQ(top_candidates(kLogits, 99).size(), 4u);
}

}  // namespace
}  // namespace tumbler::engine
