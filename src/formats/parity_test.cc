// Both ways between this program and `transformers`, by tests/golden/transformers_parity.py, which sets
// TUMBLER_PARITY_DIR; to llama.cpp by tests/golden/llama_cpp_parity.py, in the same way.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include <gtest/gtest.h>

#include "formats/gguf_model.h"
#include "formats/gguf_testing.h"
#include "formats/hugging_face.h"
#include "nn/test_models.h"
#include "nn/transformer.h"

namespace tumbler::formats {
namespace {

namespace fs = std::filesystem;

std::vector<float> logits_of(nn::Parameters& p, const std::vector<int32_t>& tokens) {
  const auto T = static_cast<int64_t>(tokens.size());
  nn::Transformer transformer(p, {.max_tokens = T, .max_time = T, .training = false});
  transformer.forward({.B = 1, .T = T, .tokens = tokens});
  std::vector<int64_t> rows(tokens.size());
  for (size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<int64_t>(i);
  std::vector<float> logits(tokens.size() * static_cast<size_t>(p.config().vocab_size));
  transformer.logits(rows, logits);
  return logits;
}

// DIR/ours/NAME: models for transformers to open, with tokens and our logits in expected.safetensors.
TEST(TransformersParity, Writes) {
  const char* root = std::getenv("TUMBLER_PARITY_DIR");
  if (root == nullptr) GTEST_SKIP() << "run by tests/golden/transformers_parity.py";
  for (const std::string& name : nn::tiny_names()) {
    nn::ModelConfig config = nn::tiny_config(name);
    if (name == "llama") {
      config.rope_scaling = "llama3";
      config.rope_factor = 8;
      config.rope_original_positions = 16;
    }
    if (name == "qwen2") config.n_embd = config.n_head * config.head_dim;  // its class knows no other
    if (name == "gemma3") {
      config.n_embd = 16;  // with f32 weights its class does not round sqrt(n_embd) to bf16
      config.embedding_scale = 4;
    }
    nn::Parameters p(config, {.gradients = false});
    nn::randomize(p, 1);
    const nn::TinyBatch batch(config, 1, config.max_positions, 2);
    const fs::path directory = fs::path(root) / "ours" / name;
    save_model(directory, p, {.dtype = kernels::DType::f32, .bos_token_id = 0, .eos_token_ids = {1}});
    const std::vector<float> logits = logits_of(p, batch.tokens);
    const std::vector<int64_t> tokens(batch.tokens.begin(), batch.tokens.end());
    SafetensorsWriter writer;
    writer.add("tokens", {batch.T}, tokens);
    writer.add("logits", {batch.T, config.vocab_size}, logits, kernels::DType::f32);
    writer.write(directory / "expected.safetensors");
  }
}

// DIR/theirs/*: models that transformers has written.
TEST(TransformersParity, Reads) {
  const char* root = std::getenv("TUMBLER_PARITY_DIR");
  if (root == nullptr) GTEST_SKIP() << "run by tests/golden/transformers_parity.py";
  int models = 0;
  for (const auto& entry : fs::directory_iterator(fs::path(root) / "theirs")) {
    LoadedModel model = load_model(entry.path(), {.gradients = false});
    const SafetensorsFile file(entry.path() / "expected.safetensors");
    const TensorInfo *tokens = file.find("tokens"), *logits = file.find("logits");
    ASSERT_TRUE(tokens != nullptr && logits != nullptr && tokens->type == TensorType::I32);
    std::vector<int32_t> ids(static_cast<size_t>(tokens->count()));
    std::memcpy(ids.data(), file.bytes(*tokens).data(), ids.size() * sizeof(int32_t));
    std::vector<float> expected(static_cast<size_t>(logits->count()));
    file.read(*logits, expected);
    const std::vector<float> got = logits_of(*model.parameters, ids);
    for (size_t i = 0; i < got.size(); ++i)
      ASSERT_NEAR(got[i], expected[i], 1e-4) << entry.path() << " " << i;
    ++models;
  }
  EXPECT_GT(models, 0);
}

nn::ModelConfig peer_config(const std::string& name) {
  nn::ModelConfig c = nn::tiny_config(name);
  c.vocab_size = 264;
  c.n_embd = c.n_ff = 256;  // rows that every type fits
  c.n_head = 4;
  c.n_kv_head = name == "gpt2" ? 4 : 2;
  c.head_dim = 64;
  c.max_positions = 128;
  if (name == "llama_bias") c.mlp = "silu_glu";
  if (name == "llama") {
    c.rope_scaling = "llama3";
    c.rope_factor = 8;
    c.rope_original_positions = 32;
  } else if (name == "gemma3") {
    c.n_layer = 7;
    c.global_every = 6;
    c.sliding_window = 8;
    c.rope_theta = 1e6;
    c.rope_theta_local = 1e4;
    c.attention_scale = 0;
    c.embedding_scale = 16;
  }
  return c;
}

// DIR/NAME-TYPE.gguf for llama.cpp to open, with tokens, our logits of the same packed weights and the greedy
// tokens that follow, in NAME-TYPE.safetensors.
TEST(LlamaCppParity, Writes) {
  const char* root = std::getenv("TUMBLER_PARITY_DIR");
  if (root == nullptr) GTEST_SKIP() << "run by tests/golden/llama_cpp_parity.py";
  using kernels::WeightType;
  const tokens::Tokenizer tokenizer = small_tokenizer();
  for (const std::string& name : nn::tiny_names()) {
    nn::Parameters random(peer_config(name), {.gradients = false});
    nn::randomize(random, 1);
    const nn::TinyBatch batch(random.config(), 1, 40, 2);
    for (const WeightType type :
         {WeightType::f16, WeightType::q8_0, WeightType::q4_0, WeightType::q4_k, WeightType::q6_k}) {
      const std::string file = fmt::format("{}/{}-{}", root, name, kernels::weight_type_name(type));
      save_gguf(file + ".gguf", random, {.eos_token_ids = {257}}, &tokenizer,
                {.type = type, .name = name, .chat_template = ""});
      LoadedModel packed = load_gguf(GgufFile(file + ".gguf"), {.gradients = false});
      std::vector<int32_t> ids = batch.tokens;
      const std::vector<float> logits = logits_of(*packed.parameters, ids);
      for (int i = 0; i < 24; ++i) {
        const std::vector<float> all = logits_of(*packed.parameters, ids);
        const auto last = all.end() - packed.config.vocab_size;
        ids.push_back(static_cast<int32_t>(std::max_element(last, all.end()) - last));
      }
      SafetensorsWriter writer;
      const std::vector<int64_t> tokens(batch.tokens.begin(), batch.tokens.end()),
          greedy(ids.begin() + batch.T, ids.end());
      writer.add("tokens", {batch.T}, tokens);
      writer.add("greedy", {24}, greedy);
      writer.add("logits", {batch.T, packed.config.vocab_size}, logits, kernels::DType::f32);
      writer.write(file + ".safetensors");
    }
  }
}

}  // namespace
}  // namespace tumbler::formats
