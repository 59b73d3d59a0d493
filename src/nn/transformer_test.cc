#include "nn/transformer.h"

#include <cmath>
#include <cstring>

#include <gtest/gtest.h>

#include "kernels/isa.h"
#include "nn/reference_model.h"
#include "nn/test_models.h"

namespace tumbler::nn {
namespace {

using kernels::DType;

class EveryFamily : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Transformer, EveryFamily, testing::ValuesIn(tiny_names()),
                         [](const auto& family) { return family.param; });

TransformerOptions options_for(const TinyBatch& batch) {
  return {.max_tokens = batch.B * batch.T, .max_time = batch.T};
}

std::vector<float> gradients_of(Parameters& p, const TransformerOptions& options, const Batch& batch,
                                double* loss = nullptr) {
  p.zero_gradients();
  Transformer transformer(p, options);
  const double sum = transformer.forward_backward(batch);
  if (loss != nullptr) *loss = sum;
  const auto g = p.gradients();
  return {g.begin(), g.end()};
}

double relative_difference(std::span<const float> a, std::span<const float> b) {
  double difference = 0, size = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
    size += std::pow(static_cast<double>(b[i]), 2);
  }
  return std::sqrt(difference / size);
}

// The arithmetic is f32 over sums of at most 64 terms and two layers: errors of a few dozen roundings of 6e-8
// each.
constexpr double kForwardTolerance = 1e-5;

TEST_P(EveryFamily, LossesAreTheReferences) {
  for (const bool packed : {false, true}) {
    Parameters p(tiny_config(GetParam()), {});
    randomize(p, 1);
    const TinyBatch batch(p.config(), 3, 11, 2, packed);
    Transformer transformer(p, options_for(batch));
    std::vector<float> losses(batch.tokens.size());
    std::vector<double> expected;
    const double sum = ReferenceModel(p).loss(batch.view(), &expected);
    EXPECT_NEAR(transformer.forward_loss(batch.view(), losses), sum, kForwardTolerance * (1 + sum));
    for (size_t i = 0; i < losses.size(); ++i)
      EXPECT_NEAR(losses[i], expected[i], kForwardTolerance * (1 + expected[i]));
  }
}

// Along a random direction through each slice of each tensor, and along single entries, the gradient must be
// the slope that central differences of the f64 reference give. The differences are exact to h^2 ~ 1e-10; the
// f32 gradient to about 1e-6 of its norm a rounding, and a few hundred roundings add up as a random walk:
// 1e-4 of the norm.
TEST_P(EveryFamily, GradientsAreSlopesOfTheReference) {
  Parameters p(tiny_config(GetParam()), {});
  randomize(p, 3);
  const TinyBatch batch(p.config(), 2, 9, 4, /*packed=*/true);
  gradients_of(p, options_for(batch), batch.view());
  ReferenceModel reference(p);
  const double h = 1e-5;
  for (const Tensor& t : p.tensors()) {
    const auto g = p.gradient(t);
    std::vector<double>& w = reference.w.at(t.name);
    const std::vector<double> kept = w;
    const auto slope = [&](auto move) {
      move(h);
      const double up = reference.loss(batch.view());
      w = kept;
      move(-h);
      const double down = reference.loss(batch.view());
      w = kept;
      return (up - down) / (2 * h);
    };
    double norm = 0;
    for (const float x : g) norm += static_cast<double>(x) * static_cast<double>(x);
    norm = std::sqrt(norm);
    EXPECT_GT(norm, 0) << t.name;
    for (const RowSlice& s : t.slices) {
      Rng rng(5, static_cast<uint64_t>(s.first_row));
      std::vector<double> direction(static_cast<size_t>(s.rows * t.cols));
      double expected = 0;
      const auto begin = static_cast<size_t>(s.first_row * t.cols);
      for (size_t i = 0; i < direction.size(); ++i) {
        direction[i] = rng.normal();
        expected += direction[i] * static_cast<double>(g[begin + i]);
      }
      const double got = slope([&](double step) {
        for (size_t i = 0; i < direction.size(); ++i) w[begin + i] += step * direction[i];
      });
      EXPECT_NEAR(expected, got, 1e-4 * (norm + 1e-3)) << s.name;
      for (int k = 0; k < 3; ++k) {
        const size_t i = begin + rng.below(direction.size());
        EXPECT_NEAR(g[i], slope([&](double step) { w[i] += step; }), 1e-4 * (norm + 1e-3))
            << s.name << " " << i;
      }
    }
  }
}

TEST_P(EveryFamily, RecomputationChangesNoBit) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    Parameters p(tiny_config(GetParam()), {.dtype = dtype});
    randomize(p, 6);
    const TinyBatch batch(p.config(), 2, 13, 7, true);
    TransformerOptions options = options_for(batch);
    const std::vector<float> kept = gradients_of(p, options, batch.view());
    options.recomputation = Recomputation::block;
    const std::vector<float> again = gradients_of(p, options, batch.view());
    EXPECT_EQ(std::memcmp(kept.data(), again.data(), kept.size() * sizeof(float)), 0);
    EXPECT_LT(Transformer(p, options).activation_bytes(),
              Transformer(p, options_for(batch)).activation_bytes());
  }
}

TEST_P(EveryFamily, ForwardOnlyGivesTheSameLossInLessMemory) {
  Parameters p(tiny_config(GetParam()), {});
  randomize(p, 8);
  const TinyBatch batch(p.config(), 2, 13, 9);
  TransformerOptions options = options_for(batch);
  double trained = 0;
  gradients_of(p, options, batch.view(), &trained);
  options.training = false;
  Transformer evaluator(p, options);
  EXPECT_EQ(evaluator.forward_loss(batch.view()), trained);
  EXPECT_LT(evaluator.activation_bytes(), Transformer(p, options_for(batch)).activation_bytes());
}

// A product over fewer rows may add in another order; sums of 24 terms differ by a few roundings.
TEST_P(EveryFamily, ChunksOfTheHeadChangeOnlyRounding) {
  Parameters p(tiny_config(GetParam()), {});
  randomize(p, 10);
  const TinyBatch batch(p.config(), 3, 11, 11);
  TransformerOptions options = options_for(batch);
  double whole_loss = 0, chunked_loss = 0;
  const std::vector<float> whole = gradients_of(p, options, batch.view(), &whole_loss);
  for (const int64_t rows : {1, 4, 32}) {
    options.head_chunk_rows = rows;
    const std::vector<float> chunked = gradients_of(p, options, batch.view(), &chunked_loss);
    EXPECT_NEAR(chunked_loss, whole_loss, 1e-6 * whole_loss);
    EXPECT_LT(relative_difference(chunked, whole), 1e-6) << rows;
  }
}

TEST_P(EveryFamily, MicroBatchesAddUp) {
  Parameters p(tiny_config(GetParam()), {});
  randomize(p, 12);
  const TinyBatch batch(p.config(), 4, 6, 13);
  const std::vector<float> whole = gradients_of(p, options_for(batch), batch.view());
  p.zero_gradients();
  Transformer transformer(p, options_for(batch));
  for (size_t b = 0; b < 4; ++b) {
    const Batch all = batch.view();
    transformer.forward_backward({.B = 1,
                                  .T = 6,
                                  .tokens = all.tokens.subspan(b * 6, 6),
                                  .targets = all.targets.subspan(b * 6, 6),
                                  .weights = all.weights.subspan(b * 6, 6),
                                  .first_key = {},
                                  .positions = {}});
  }
  EXPECT_LT(relative_difference(p.gradients(), whole), 1e-6);
}

// Two documents in one row, kept apart by first_key and positions, are two rows of their own.
TEST_P(EveryFamily, PackedDocumentsDoNotSeeOneAnother) {
  Parameters p(tiny_config(GetParam()), {});
  randomize(p, 14);
  const TinyBatch packed(p.config(), 1, 12, 15, true);
  Batch apart = packed.view();
  apart.B = 2;
  apart.T = 6;
  apart.first_key = {};
  apart.positions = {};
  Transformer transformer(p, options_for(packed));
  std::vector<float> together(12), alone(12);
  transformer.forward_loss(packed.view(), together);
  transformer.forward_loss(apart, alone);
  for (size_t i = 0; i < 12; ++i) EXPECT_NEAR(together[i], alone[i], kForwardTolerance * (1 + alone[i])) << i;
}

// bf16 has 8 bits of mantissa: each stored activation is off by up to 2^-9 of itself. About 20 of them lie
// between the input and the loss of two layers, and errors add as a random walk: sqrt(20) * 2^-9 ~ 1 %;
// gradients pass twice as many: a few per cent.
TEST_P(EveryFamily, Bf16IsCloseToF32) {
  Parameters f32(tiny_config(GetParam()), {}), bf16(tiny_config(GetParam()), {.dtype = DType::bf16});
  randomize(f32, 16);
  randomize(bf16, 16);
  const TinyBatch batch(f32.config(), 3, 16, 17);
  double exact = 0, rounded = 0;
  const std::vector<float> a = gradients_of(f32, options_for(batch), batch.view(), &exact);
  const std::vector<float> b = gradients_of(bf16, options_for(batch), batch.view(), &rounded);
  EXPECT_NEAR(rounded, exact, 0.02 * exact);
  EXPECT_LT(relative_difference(b, a), 0.06);
  EXPECT_GT(relative_difference(b, a), 1e-5);  // it did compute in bf16
}

TEST_P(EveryFamily, SameBitsEveryTime) {
  Parameters p(tiny_config(GetParam()), {});
  randomize(p, 18);
  const TinyBatch batch(p.config(), 3, 16, 19);
  const std::vector<float> a = gradients_of(p, options_for(batch), batch.view());
  const std::vector<float> b = gradients_of(p, options_for(batch), batch.view());
  EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)), 0);
}

TEST_P(EveryFamily, LogitsOfAskedRows) {
  Parameters p(tiny_config(GetParam()), {});
  randomize(p, 20);
  const TinyBatch batch(p.config(), 2, 7, 21);
  Transformer transformer(p, {.max_tokens = 14, .max_time = 7, .training = false});
  transformer.forward(batch.view());
  const std::vector<int64_t> rows = {13, 0, 6, 6};
  const auto V = static_cast<size_t>(p.config().vocab_size);
  std::vector<float> out(rows.size() * V);
  transformer.logits(rows, out);
  const ReferenceModel reference(p);
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto x = reference.hidden(batch.view(), rows[i] / 7);
    const auto expected = reference.logits(x[static_cast<size_t>(rows[i] % 7)]);
    for (size_t v = 0; v < V; ++v) EXPECT_NEAR(out[i * V + v], expected[v], kForwardTolerance * 10);
  }
}

TEST_P(EveryFamily, ProfilerNamesWhereTimeGoes) {
  Parameters p(tiny_config(GetParam()), {});
  randomize(p, 22);
  const TinyBatch batch(p.config(), 2, 7, 23);
  Transformer transformer(p, options_for(batch));
  Profiler profiler;
  transformer.set_profiler(&profiler);
  transformer.forward_backward(batch.view());
  double flops = 0;
  for (const Profiler::Entry& e : profiler.entries()) flops += e.flops;
  // Every product of the formula is counted once, forward and backward.
  EXPECT_NEAR(flops, flops_per_token(p.config(), 7) * 14, 1e-9 * flops);
}

TEST(Transformer, LocalLayersSeeTheirWindow) {
  ModelConfig c = tiny_config("gemma3");
  c.n_layer = 1;  // local
  Parameters p(c, {});
  randomize(p, 24);
  const TinyBatch batch(c, 1, 12, 25);
  Transformer transformer(p, {.max_tokens = 12, .max_time = 12, .training = false});
  const auto logits_with = [&](size_t changed) {
    std::vector<int32_t> tokens = batch.tokens;
    tokens[changed] = (tokens[changed] + 1) % 29;
    transformer.forward({.B = 1, .T = 12, .tokens = tokens});
    std::vector<float> out(29);
    transformer.logits(std::vector<int64_t>{11}, out);
    return out;
  };
  EXPECT_EQ(logits_with(0), logits_with(7));  // keys 8 to 11 are in the window of query 11
  EXPECT_NE(logits_with(0), logits_with(8));
}

TEST(Transformer, LocalRopeIsNotScaled) {
  ModelConfig c = tiny_config("gemma3");
  std::vector<float> local(9 * 8), expected(9 * 8);
  rope_table(c, local, 9, /*local=*/true);
  c.rope_theta = c.rope_theta_local;
  c.rope_scaling = "none";
  rope_table(c, expected, 9);
  EXPECT_EQ(local, expected);
}

TEST(Transformer, Llama3ScalingStretchesLongWavesOnly) {
  ModelConfig c = tiny_config("llama");
  c.head_dim = 64;
  c.rope_theta = 500000;
  const int64_t positions = 9, D = 64;
  std::vector<float> plain(positions * D), scaled(positions * D);
  rope_table(c, plain, positions);
  c.rope_scaling = "llama3";
  c.rope_factor = 8;
  rope_table(c, scaled, positions);
  EXPECT_NEAR(scaled[8 * D], plain[8 * D], 1e-6);  // the shortest wave is kept
  // The longest is slowed eightfold: position 8 is where position 1 was.
  EXPECT_NEAR(scaled[8 * D + D - 1], plain[1 * D + D - 1], 1e-9);
}

}  // namespace
}  // namespace tumbler::nn
