#include "nn/optimizer.h"

#include <cmath>
#include <cstring>
#include <limits>

#include <gtest/gtest.h>

#include "base/error.h"
#include "nn/test_models.h"

namespace tumbler::nn {
namespace {

void random_gradients(Parameters& p, uint64_t seed, double scale) {
  Rng rng(seed);
  for (const Tensor& t : p.tensors())
    for (float& g : p.gradient(t)) g = static_cast<float>(scale * rng.normal());
}

double norm_of(std::span<const float> x) {
  double square = 0;
  for (const float v : x) square += static_cast<double>(v) * static_cast<double>(v);
  return std::sqrt(square);
}

// The paper's algorithm 2 in double precision; f32 state drifts by a few roundings a step of numbers near
// 1e-2.
TEST(AdamW, FollowsThePaper) {
  for (const auto dtype : {kernels::DType::f32, kernels::DType::bf16}) {
    Parameters p(tiny_config("gpt2"), {.dtype = dtype});
    randomize(p, 1);
    OptimizerConfig config{.lr = 0.01, .embedding_lr = 0.5, .clip = 0.7};
    Optimizer optimizer(config, p);
    std::vector<double> w(p.master().begin(), p.master().end()), m(w.size()), v(w.size());
    for (int step = 1; step <= 4; ++step) {
      random_gradients(p, static_cast<uint64_t>(step), step == 2 ? 1e-3 : 0.1);
      const double norm = norm_of(p.gradients()), clip = std::min(1.0, 0.7 / norm), factor = 1.0 / step;
      for (const Tensor& t : p.tensors()) {
        const double lr = 0.01 * factor * (t.kind == TensorKind::embedding ? 0.5 : 1.0);
        for (int64_t k = 0; k < t.size(); ++k) {
          const auto i = static_cast<size_t>(t.offset + k);
          const double g = clip * static_cast<double>(p.gradients()[i]);
          m[i] = 0.9 * m[i] + 0.1 * g;
          v[i] = 0.95 * v[i] + 0.05 * g * g;
          if (t.kind == TensorKind::matrix) w[i] -= lr * 0.1 * w[i];
          w[i] -=
              lr * m[i] / (1 - std::pow(0.9, step)) / (std::sqrt(v[i] / (1 - std::pow(0.95, step))) + 1e-8);
        }
      }
      const StepResult result = optimizer.step(factor);
      EXPECT_TRUE(result.applied);
      EXPECT_NEAR(result.gradient_norm, norm, 1e-6 * norm);
    }
    for (size_t i = 0; i < w.size(); ++i) ASSERT_NEAR(p.master()[i], w[i], 5e-6) << i;
    for (const Tensor& t : p.tensors()) {
      const auto copy = p.copy(t);
      for (size_t i = 0; i < copy.size(); ++i) ASSERT_EQ(copy[i].bits, kernels::to_bf16(p.master(t)[i]).bits);
    }
    EXPECT_EQ(optimizer.step_count(), 4);
  }
}

TEST(Optimizer, ChangesNothingWhenTheGradientIsNotFinite) {
  for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    Parameters p(tiny_config("qwen3"), {});
    randomize(p, 1);
    Optimizer optimizer({}, p);
    random_gradients(p, 2, 0.1);
    p.gradient(p.tensors()[3])[5] = bad;
    const std::vector<float> before(p.master().begin(), p.master().end());
    EXPECT_FALSE(optimizer.step(1).applied);
    EXPECT_EQ(std::memcmp(before.data(), p.master().data(), p.master().size_bytes()), 0);
    EXPECT_EQ(optimizer.step_count(), 0);
    for (const StateTensor& s : optimizer.state()) EXPECT_EQ(norm_of(s.values), 0);
  }
}

// Newton-Schulz leaves singular values between about 0.7 and 1.2 (Jordan et al. 2024): the update of a (rows,
// cols) slice has norm 0.2 * sqrt(max) * sqrt(min) within those, which is a root mean square of 0.14 to 0.24.
TEST(Muon, UpdatesEachSliceWithTheSizeOfAdamW) {
  Parameters p(tiny_config("qwen3"), {});
  randomize(p, 1);
  const OptimizerConfig config{.optimizer = "muon", .lr = 0.01, .weight_decay = 0};
  Optimizer optimizer(config, p);
  random_gradients(p, 2, 0.1);
  const std::vector<float> before(p.master().begin(), p.master().end());
  ASSERT_TRUE(optimizer.step(1).applied);
  int slices = 0;
  for (const Tensor& t : p.tensors()) {
    if (t.kind != TensorKind::matrix) continue;
    for (const RowSlice& s : t.slices) {
      double square = 0;
      for (int64_t i = s.first_row * t.cols; i < (s.first_row + s.rows) * t.cols; ++i) {
        const auto k = static_cast<size_t>(t.offset + i);
        square += std::pow(static_cast<double>(p.master()[k]) - static_cast<double>(before[k]), 2);
      }
      const double rms = std::sqrt(square / static_cast<double>(s.rows * t.cols));
      EXPECT_GT(rms, 0.01 * 0.2 * 0.65) << s.name;
      EXPECT_LT(rms, 0.01 * 0.2 * 1.25) << s.name;
      ++slices;
    }
  }
  EXPECT_EQ(slices, 2 * (3 + 1 + 2 + 1));
}

TEST(Muon, WeightDecayIsLrTimesDecay) {
  Parameters p(tiny_config("qwen3"), {}), plain(tiny_config("qwen3"), {});
  randomize(p, 1);
  randomize(plain, 1);
  Optimizer with({.optimizer = "muon", .lr = 0.01, .weight_decay = 0.5}, p);
  Optimizer without({.optimizer = "muon", .lr = 0.01, .weight_decay = 0}, plain);
  const std::vector<float> before(p.master().begin(), p.master().end());
  random_gradients(p, 2, 0.1);
  random_gradients(plain, 2, 0.1);
  with.step(1);
  without.step(1);
  for (const Tensor& t : p.tensors()) {
    const double decay = t.kind == TensorKind::matrix ? 0.01 * 0.5 : 0.0;
    for (int64_t i = t.offset; i < t.offset + t.size(); ++i) {
      const auto k = static_cast<size_t>(i);
      EXPECT_NEAR(plain.master()[k] - p.master()[k], decay * before[k], 1e-6);
    }
  }
}

// Restoring state and step count into a new optimiser continues bit for bit.
TEST(Optimizer, StateIsAllThereIs) {
  for (const char* kind : {"adamw", "muon"}) {
    const OptimizerConfig config{.optimizer = kind, .lr = 0.01};
    Parameters a(tiny_config("qwen3"), {}), b(tiny_config("qwen3"), {});
    randomize(a, 1);
    Optimizer first(config, a);
    for (uint64_t s = 0; s < 3; ++s) {
      random_gradients(a, s, 0.1);
      first.step(1);
    }
    std::copy(a.master().begin(), a.master().end(), b.master().begin());
    Optimizer second(config, b);
    ASSERT_EQ(first.state().size(), second.state().size());
    for (size_t i = 0; i < first.state().size(); ++i) {
      EXPECT_EQ(first.state()[i].name, second.state()[i].name);
      std::copy(first.state()[i].values.begin(), first.state()[i].values.end(),
                second.state()[i].values.begin());
    }
    second.set_step_count(first.step_count());
    random_gradients(a, 9, 0.1);
    random_gradients(b, 9, 0.1);
    first.step(0.5);
    second.step(0.5);
    EXPECT_EQ(std::memcmp(a.master().data(), b.master().data(), a.master().size_bytes()), 0) << kind;
  }
}

TEST(Optimizer, RefusesValuesOutOfRange) {
  Parameters p(tiny_config("qwen3"), {});
  EXPECT_THROW(Optimizer({.optimizer = "sgd"}, p), Error);
  EXPECT_THROW(Optimizer({.lr = -1}, p), Error);
  EXPECT_THROW(Optimizer({.beta2 = 1}, p), Error);
  EXPECT_THROW(Optimizer({.eps = 0}, p), Error);
}

}  // namespace
}  // namespace tumbler::nn
