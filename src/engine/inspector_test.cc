// What the inspector shows is what the reference pass, in f64 and plain loops, computes.
#include "engine/inspector.h"

#include <cmath>

#include <gtest/gtest.h>

#include "base/error.h"
#include "nn/reference_model.h"
#include "nn/test_models.h"

namespace tumbler::engine {
namespace {

class InspectorTest : public testing::TestWithParam<std::string> {
 protected:
  InspectorTest()
      : config(nn::tiny_config(GetParam())),
        parameters(config, {.gradients = false}),
        batch(config, 1, config.max_positions, 2) {
    nn::randomize(parameters, 5);
  }
  nn::ModelConfig config;
  nn::Parameters parameters;
  nn::TinyBatch batch;
};

TEST_P(InspectorTest, LensIsAModelThatEndsEarlier) {
  const Model model(parameters);
  const auto layers = Inspector(model).lens(batch.tokens, 3);
  ASSERT_EQ(static_cast<int64_t>(layers.size()), config.n_layer);
  const nn::ReferenceModel reference(parameters);
  for (int64_t l = 0; l < config.n_layer; ++l) {
    const auto hidden = reference.hidden(batch.view(), 0, l + 1);
    ASSERT_EQ(layers[static_cast<size_t>(l)].size(), hidden.size());
    for (size_t t = 0; t < hidden.size(); ++t) {
      const auto logits = reference.logits(hidden[t]);
      double total = 0;
      for (const double x : logits) total += std::exp(x);
      const LensCell& cell = layers[static_cast<size_t>(l)][t];
      ASSERT_EQ(cell.top.size(), 3u);
      EXPECT_GT(cell.norm, 0);
      for (const Candidate& c : cell.top)
        EXPECT_NEAR(c.log_prob, logits[static_cast<size_t>(c.id)] - std::log(total), 2e-4) << l << " " << t;
    }
  }
}

TEST_P(InspectorTest, AttentionIsTheReferencesAttention) {
  const Model model(parameters);
  nn::ReferenceModel reference(parameters);
  std::vector<std::vector<std::vector<std::vector<float>>>> maps;
  for (int64_t l = 0; l < config.n_layer; ++l) maps.push_back(Inspector(model).attention(batch.tokens, l));
  int64_t compared = 0;
  reference.on_attention = [&](int64_t layer, int64_t head, size_t t, size_t first,
                               const std::vector<double>& p) {
    const std::vector<float>& row = maps[static_cast<size_t>(layer)][static_cast<size_t>(head)][t];
    for (size_t s = 0; s < row.size(); ++s) {
      const bool read = s >= first && s <= t;
      EXPECT_NEAR(row[s], read ? p[s - first] : 0.0, 2e-5) << layer << " " << head << " " << t << " " << s;
      ++compared;
    }
  };
  reference.hidden(batch.view(), 0);
  EXPECT_GT(compared, 0);
  const auto small = Inspector(model).attention_maps(batch.tokens, 4);
  ASSERT_EQ(small.size(), maps.size());
  ASSERT_EQ(small[0][0].size(), 4u);
  double sum = 0, all = 0;
  for (const auto& row : small[0][0])
    for (const float x : row) sum += x;
  for (const auto& row : maps[0][0])
    for (const float x : row) all += x;
  const auto squares = static_cast<double>(maps[0][0].size() * maps[0][0].size()) / 16;
  if (maps[0][0].size() % 4 == 0) {
    EXPECT_NEAR(sum * squares, all, 1e-3);
  }
}

TEST_P(InspectorTest, WrongQuestionsAreErrors) {
  const Model model(parameters);
  EXPECT_THROW(Inspector(model).lens({}, 3), Error);
  EXPECT_THROW(Inspector(model).lens(std::vector<int32_t>{-1}, 3), Error);
  EXPECT_THROW(Inspector(model).lens(std::vector<int32_t>(5000, 1), 3), Error);
  EXPECT_THROW(Inspector(model).attention(batch.tokens, config.n_layer), Error);
}

INSTANTIATE_TEST_SUITE_P(Families, InspectorTest, testing::ValuesIn(nn::tiny_names()));

}  // namespace
}  // namespace tumbler::engine
