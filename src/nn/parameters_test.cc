#include "nn/parameters.h"

#include <cmath>
#include <cstring>
#include <set>

#include <gtest/gtest.h>

#include "base/error.h"
#include "kernels/isa.h"
#include "nn/test_models.h"

namespace tumbler::nn {
namespace {

TEST(Config, DepthDialDerivesTheRest) {
  const ModelConfig c = qwen3_from_depth(6, 8192, 512);
  EXPECT_EQ(c.n_layer, 6);
  EXPECT_EQ(c.n_embd, 384);
  EXPECT_EQ(c.n_head, 6);
  EXPECT_EQ(c.n_kv_head, 3);
  EXPECT_EQ(c.head_dim, 64);
  EXPECT_EQ(c.n_ff, 1024);
  for (int64_t depth = 1; depth <= 32; ++depth) {
    const ModelConfig d = qwen3_from_depth(depth, 1000, 64);
    EXPECT_EQ(d.n_head % d.n_kv_head, 0);
    EXPECT_EQ(d.n_ff % 64, 0);
  }
  EXPECT_NE(describe(c).find("6 layers, width 384"), std::string::npos);
}

TEST(Config, CountsOfGpt2AreThePublishedOnes) {
  const ModelConfig c = gpt2_config(12, 768, 12);
  const ParameterCount n = count_parameters(c);
  EXPECT_EQ(n.total(), 124439808);
  EXPECT_EQ(n.matrices, 84934656);
  // 6 * (84,934,656 + 50,257 * 768) + 6 * 12 * 768 * 1025
  EXPECT_DOUBLE_EQ(flops_per_token(c, 1024), 797870592.0);
}

TEST(Config, MemoryOfGpt2AtFourTimes1024FitsTheTarget) {
  const ModelConfig c = gpt2_config(12, 768, 12);
  for (const auto dtype : {kernels::DType::f32, kernels::DType::bf16}) {
    const MemoryEstimate all = estimate_training_memory(c, 4, 1024, dtype, Recomputation::none);
    EXPECT_LT(all.total(), int64_t{4'300} << 20);
    EXPECT_LT(estimate_training_memory(c, 4, 1024, dtype, Recomputation::block).activations,
              all.activations / 3);
  }
}

TEST(Config, RefusesWhatCannotBe) {
  const auto refused = [](auto change) {
    ModelConfig c = tiny_config("qwen3");
    change(c);
    EXPECT_THROW(check(c, "test"), Error);
  };
  check(tiny_config("qwen3"), "test");
  refused([](ModelConfig& c) { c.vocab_size = 0; });
  refused([](ModelConfig& c) { c.n_embd = int64_t{1} << 40; });
  refused([](ModelConfig& c) { c.n_layer = -1; });
  refused([](ModelConfig& c) { c.n_kv_head = 3; });
  refused([](ModelConfig& c) { c.head_dim = 7; });
  refused([](ModelConfig& c) { c.norm_eps = NAN; });
  refused([](ModelConfig& c) { c.norm = "batch"; });
  refused([](ModelConfig& c) { c.qk_norm = false; });
  refused([](ModelConfig& c) { c.family = "bert"; });
  refused([](ModelConfig& c) { c.rope_scaling = "yarn"; });
  // Gemma's switches are Gemma's alone, and belong together.
  refused([](ModelConfig& c) { c.post_norms = true; });
  refused([](ModelConfig& c) { c.embedding_scale = 2; });
  refused([](ModelConfig& c) { c.attention_scale = 2; });
  refused([](ModelConfig& c) { c.sliding_window = 2, c.global_every = 2; });
  check(tiny_config("gemma3"), "test");
  const auto refused_gemma = [](auto change) {
    ModelConfig c = tiny_config("gemma3");
    change(c);
    EXPECT_THROW(check(c, "test"), Error);
  };
  refused_gemma([](ModelConfig& c) { c.global_every = 0; });
  refused_gemma([](ModelConfig& c) { c.global_every = 1; });
  refused_gemma([](ModelConfig& c) { c.sliding_window = 0; });
  refused_gemma([](ModelConfig& c) { c.sliding_window = -1; });
  refused_gemma([](ModelConfig& c) { c.attention_scale = -1; });
  refused_gemma([](ModelConfig& c) { c.embedding_scale = 1; });
  refused_gemma([](ModelConfig& c) { c.post_norms = false; });
  refused_gemma([](ModelConfig& c) { c.mlp = "silu_glu"; });
  refused_gemma([](ModelConfig& c) { c.rope_theta_local = 0; });
}

TEST(Parameters, CountAndSlicesCoverEverything) {
  for (const std::string& name : tiny_names()) {
    const Parameters p(tiny_config(name), {});
    EXPECT_EQ(p.count(), count_parameters(p.config()).total()) << name;
    std::set<std::string> names;
    for (const Tensor& t : p.tensors()) {
      int64_t row = 0;
      EXPECT_EQ(t.offset * 4 % kArenaAlignment, 0);
      for (const RowSlice& s : t.slices) {
        EXPECT_EQ(s.first_row, row);
        row += s.rows;
        EXPECT_TRUE(names.insert(s.name).second) << s.name;
      }
      EXPECT_EQ(row, t.rows) << t.name;
    }
  }
}

TEST(Parameters, InitialisationDependsOnTheSeedAlone) {
  const ModelConfig c = qwen3_from_depth(2, 600, 64);
  const int threads = kernels::thread_count();
  Parameters a(c, {}), b(c, {}), other(c, {});
  kernels::set_thread_count(1);
  a.initialize(7);
  kernels::set_thread_count(3);
  b.initialize(7);
  other.initialize(8);
  kernels::set_thread_count(threads);
  EXPECT_EQ(std::memcmp(a.master().data(), b.master().data(), a.master().size_bytes()), 0);
  EXPECT_NE(std::memcmp(a.master().data(), other.master().data(), a.master().size_bytes()), 0);
}

TEST(Parameters, InitialisationHasTheStatedDeviations) {
  for (const std::string& name : tiny_names()) {
    ModelConfig c = tiny_config(name);
    c.vocab_size = 2000;
    Parameters p(c, {});
    p.initialize(1);
    for (const Tensor& t : p.tensors()) {
      double square = 0;
      for (const float x : p.master(t)) square += static_cast<double>(x) * static_cast<double>(x);
      const double deviation = std::sqrt(square / static_cast<double>(t.size()));
      double expected = 0.02;
      if (t.kind == TensorKind::norm) expected = 1;
      if (t.kind == TensorKind::bias) expected = 0;
      if (t.kind == TensorKind::matrix && name != "gpt2")
        expected = 1 / std::sqrt(static_cast<double>(t.cols));
      if (t.residual_projection && !c.post_norms) expected *= name == "gpt2" ? 0.5 : 0;  // 1/sqrt(2L), L = 2
      // The deviation of n draws is off by 1/sqrt(2n) of itself; five of those, and 1.5 % that the cut at 3
      // sigma takes.
      EXPECT_NEAR(deviation, expected,
                  expected * (5 / std::sqrt(2.0 * static_cast<double>(t.size())) + 0.015))
          << name << " " << t.name;
    }
  }
}

TEST(Parameters, ComputeCopyIsTheRoundedMaster) {
  Parameters p(tiny_config("qwen3"), {.dtype = kernels::DType::bf16});
  p.initialize(3);
  for (const Tensor& t : p.tensors()) {
    const auto copy = p.copy(t);
    EXPECT_EQ(copy.empty(), t.kind == TensorKind::norm || t.kind == TensorKind::bias);
    for (size_t i = 0; i < copy.size(); ++i) EXPECT_EQ(copy[i].bits, kernels::to_bf16(p.master(t)[i]).bits);
  }
}

}  // namespace
}  // namespace tumbler::nn
