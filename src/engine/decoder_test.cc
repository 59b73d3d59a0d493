// Decoding with a cache must give what the training forward pass gives.
#include "engine/decoder.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "base/rng.h"
#include "engine/generate.h"
#include "nn/config.h"
#include "nn/parameters.h"
#include "nn/transformer.h"

namespace tumbler::engine {
namespace {

nn::ModelConfig tiny(const std::string& family) {
  nn::ModelConfig c = nn::family_defaults(family);
  c.vocab_size = 97;
  c.n_embd = 48;
  c.n_layer = 3;
  c.n_head = 6;
  c.n_kv_head = family == "gpt2" ? 6 : 2;
  c.head_dim = family == "qwen3" ? 16 : 8;
  c.n_ff = 80;
  c.max_positions = 600;
  if (family == "gemma3") {
    c.global_every = 2;
    c.sliding_window = 20;
    c.attention_scale = 0.2;  // 1/sqrt(8) = 0.35
    c.embedding_scale = nn::gemma_embedding_scale(c.n_embd);
  }
  return c;
}

std::vector<int32_t> random_tokens(int64_t n, uint64_t seed) {
  Rng rng(seed);
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < n; ++i) tokens.push_back(static_cast<int32_t>(rng.below(97)));
  return tokens;
}

// (n, V): what the training forward pass makes of the tokens.
std::vector<float> forward_logits(nn::Parameters& parameters, const std::vector<int32_t>& tokens) {
  const int64_t n = static_cast<int64_t>(tokens.size());
  nn::Transformer transformer(parameters, {.max_tokens = n, .max_time = n, .training = false});
  transformer.forward({.B = 1, .T = n, .tokens = tokens});
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < n; ++i) rows.push_back(i);
  std::vector<float> out(static_cast<size_t>(n * 97));
  transformer.logits(rows, out);
  return out;
}

// The cache as exact as the forward pass.
DecoderOptions exact(int64_t sequences, int64_t capacity, int64_t chunk = 512) {
  return {.sequences = sequences, .capacity = capacity, .chunk = chunk, .cache = kernels::CacheType::f32};
}

class DecoderTest : public testing::TestWithParam<std::tuple<std::string, kernels::DType>> {
 protected:
  DecoderTest()
      : config_(tiny(std::get<0>(GetParam()))),
        parameters_(config_, nn::ParametersOptions{.dtype = std::get<1>(GetParam()), .gradients = false}) {
    parameters_.initialize(7);
    // Larger weights than at the start of training, so that attention and every layer matter.
    for (float& w : parameters_.master()) w *= 3;
    parameters_.refresh_copy();
  }
  // The same sums in another order and, in bf16, other roundings of activations: relative to the size of the
  // logits.
  void expect_close(std::span<const float> got, std::span<const float> want, const std::string& what) const {
    double size = 0;
    for (const float x : want) size = std::max(size, std::abs(static_cast<double>(x)));
    // The forward pass rounds its activations to bf16 and the decoder does not; Gemma's larger scores feel
    // that most.
    const double bf16 = config_.family == "gemma3" ? 0.2 : 0.06;
    const double tolerance = (std::get<1>(GetParam()) == kernels::DType::bf16 ? bf16 : 2e-4) * size;
    for (size_t i = 0; i < want.size(); ++i)
      ASSERT_NEAR(got[i], want[i], tolerance) << what << " logit " << i;
  }
  std::span<const float> row(const std::vector<float>& logits, size_t i) const {
    return std::span(logits).subspan(i * 97, 97);
  }

  nn::ModelConfig config_;
  nn::Parameters parameters_;
};

TEST_P(DecoderTest, PrefillAndStepsGiveTheForwardPass) {
  const auto tokens = random_tokens(80, 1);
  const auto want = forward_logits(parameters_, tokens);
  for (const int64_t prompt : {1, 7, 64, 79}) {
    Decoder decoder(parameters_, exact(1, 80, 32));
    decoder.extend(0, std::span(tokens).first(static_cast<size_t>(prompt)));
    expect_close(decoder.logits(0), row(want, static_cast<size_t>(prompt - 1)), "after the prompt");
    for (int64_t i = prompt; i < 80; ++i) {
      const int64_t slot = 0;
      decoder.step(std::span(&slot, 1), std::span(&tokens[static_cast<size_t>(i)], 1));
      expect_close(decoder.logits(0), row(want, static_cast<size_t>(i)), "after token " + std::to_string(i));
    }
  }
}

TEST_P(DecoderTest, OthersInTheBatchChangeNothing) {
  const auto a = random_tokens(20, 2), b = random_tokens(33, 3), more = random_tokens(12, 4);
  Decoder alone(parameters_, exact(1, 64)), both(parameters_, exact(3, 64));
  alone.extend(0, a);
  both.extend(0, b);
  both.extend(2, a);
  const std::vector<int64_t> slots = {0, 2};
  const int64_t first = 0;
  for (const int32_t token : more) {
    alone.step(std::span(&first, 1), std::span(&token, 1));
    const std::vector<int32_t> tokens = {96 - token, token};
    both.step(slots, tokens);
    EXPECT_TRUE(std::ranges::equal(both.logits(2), alone.logits(0))) << "to the last bit";
  }
}

TEST_P(DecoderTest, TruncateAndCopyGoBackAndAside) {
  const auto tokens = random_tokens(40, 5);
  const auto want = forward_logits(parameters_, tokens);
  Decoder decoder(parameters_, exact(2, 64));
  decoder.extend(0, tokens);
  decoder.truncate(0, 10);
  decoder.extend(0, std::span(tokens).subspan(10, 15));
  expect_close(decoder.logits(0), row(want, 24), "after going back");
  decoder.copy(0, 1);
  EXPECT_EQ(decoder.length(1), 25);
  decoder.extend(1, std::span(tokens).subspan(25));
  expect_close(decoder.logits(1), row(want, 39), "the copy");
  EXPECT_EQ(decoder.length(0), 25);
}

TEST_P(DecoderTest, AFullSlotAndAWrongTokenAreErrorsThatChangeNothing) {
  Decoder decoder(parameters_, exact(1, 8));
  EXPECT_THROW(decoder.extend(0, random_tokens(9, 1)), Error);
  EXPECT_EQ(decoder.length(0), 0);
  decoder.extend(0, random_tokens(8, 1));
  const int64_t slot = 0;
  const int32_t token = 1, wrong = 97;
  EXPECT_THROW(decoder.step(std::span(&slot, 1), std::span(&token, 1)), Error);
  EXPECT_EQ(decoder.length(0), 8);
  decoder.truncate(0, 3);
  EXPECT_THROW(decoder.extend(0, std::span(&wrong, 1)), Error);
  EXPECT_EQ(decoder.length(0), 3);
}

TEST_P(DecoderTest, GreedyGenerationIsTheArgmaxOfTheForwardPass) {
  const auto prompt = random_tokens(9, 6);
  Decoder decoder(parameters_, exact(1, 64));
  GenerateOptions options;
  options.sampling.temperature = 0;
  options.max_tokens = 12;
  options.top_log_probs = 2;
  const auto generations = generate(decoder, std::span(&prompt, 1), options);
  std::vector<int32_t> tokens = prompt;
  for (const TokenChoice& choice : generations[0].tokens) {
    const auto logits = forward_logits(parameters_, tokens);
    const auto last = row(logits, tokens.size() - 1);
    float best = last[0];
    for (const float x : last) best = std::max(best, x);
    EXPECT_NEAR(last[static_cast<size_t>(choice.id)], best, std::abs(best) * 0.1 + 0.1)
        << "near ties may fall either way";
    ASSERT_EQ(choice.top.size(), 2u);
    EXPECT_EQ(choice.top[0].id, choice.id);
    EXPECT_GE(choice.top[0].log_prob, choice.top[1].log_prob);
    tokens.push_back(choice.id);
  }
  EXPECT_EQ(tokens.size(), 21u);
}

INSTANTIATE_TEST_SUITE_P(Families, DecoderTest,
                         testing::Combine(testing::Values("gpt2", "llama", "qwen2", "qwen3", "gemma3"),
                                          testing::Values(kernels::DType::f32, kernels::DType::bf16)),
                         [](const auto& p) {
                           return std::get<0>(p.param) +
                                  (std::get<1>(p.param) == kernels::DType::f32 ? "_f32" : "_bf16");
                         });

}  // namespace
}  // namespace tumbler::engine
