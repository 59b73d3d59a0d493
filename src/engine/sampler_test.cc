#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <numeric>
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

// A vocabulary of real size against a plain sort: the cuts look at few candidates only.
TEST(Sampler, CutsOfALargeVocabularyAreThoseOfASort) {
  Rng rng(11);
  std::vector<float> logits(20000);
  for (float& x : logits) x = static_cast<float>(std::round(16 * rng.normal()) / 4);  // many equal ones
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return logits[a] > logits[b]; });
  double total = 0;
  for (const float x : logits) total += std::exp(static_cast<double>(x));
  const auto expect_only_first = [&](const SamplingOptions& options, size_t n) {
    Sampler sampler(options);
    std::set<int32_t> seen;
    for (int i = 0; i < 3000; ++i) seen.insert(sampler.sample(logits, rng));
    const std::set<int32_t> allowed(order.begin(), order.begin() + static_cast<int64_t>(n));
    EXPECT_TRUE(std::includes(allowed.begin(), allowed.end(), seen.begin(), seen.end())) << n;
    EXPECT_GT(seen.size(), n / 2) << n;
  };
  expect_only_first({.top_k = 7}, 7);
  expect_only_first({.top_k = 40}, 40);
  size_t n = 0;
  for (double sum = 0; sum < 0.5 * total; ++n) sum += std::exp(static_cast<double>(logits[order[n]]));
  expect_only_first({.top_p = 0.5}, n);
}

TEST(Sampler, BiasMovesATokenAndRefusesOneThatThereIsNot) {
  expect_distribution({.logit_bias = {{2, std::log(2.0f)}, {1, -100.0f}}}, {0.2, 0, 0.2, 0.3});
  Sampler sampler({.logit_bias = {{4, 1.0f}}});
  Rng rng(1);
  EXPECT_THROW(sampler.sample(kLogits, rng), Error);
}

TEST(Sampler, PenaltiesAreTheirPapers) {
  const std::vector<float> logits = {2.0f, 1.5f, -1.0f, 1.0f};
  const std::vector<int32_t> prompt = {0, 0, 2}, generated = {1, 3, 1};
  Rng rng(1);
  const auto greedy = [&](SamplingOptions options) {
    options.temperature = 0;
    return Sampler(options).sample(logits, rng, {prompt, generated});
  };
  EXPECT_EQ(greedy({}), 0);
  // 2/1.9, 1.5/1.9, -1.9, 1/1.9: once for each token, however often it is there.
  EXPECT_EQ(greedy({.repetition_penalty = 1.9}), 0);
  EXPECT_EQ(greedy({.repetition_penalty = 0.5}), 0);
  // The prompt does not count for these: 2, 1.5 - 2f - p, -1, 1 - f - p.
  EXPECT_EQ(greedy({.presence_penalty = 2, .frequency_penalty = 2}), 0);
  EXPECT_EQ(greedy({.presence_penalty = -0.6}), 1);
  EXPECT_EQ(greedy({.frequency_penalty = -0.3}), 1);  // 1.5 + 0.6
  EXPECT_EQ(greedy({.presence_penalty = -1.1, .frequency_penalty = 0.9}), 0);
  // 2/4 and 1.5/4 of seen tokens against the unseen.
  const std::vector<float> close = {2.0f, 1.0f, -0.5f, -0.1f};
  Sampler sampler({.temperature = 0, .repetition_penalty = 4});
  EXPECT_EQ(sampler.sample(close, rng, {std::vector<int32_t>{0}, {}}), 1);
  EXPECT_EQ(sampler.sample(std::vector<float>{-1.0f, -3.0f}, rng, {std::vector<int32_t>{0}, {}}), 1);
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
                                                                 {.min_p = 2},
                                                                 {.repetition_penalty = 0},
                                                                 {.presence_penalty = 3},
                                                                 {.frequency_penalty = std::nan("")},
                                                                 {.logit_bias = {{0, 101.0f}}}})
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
