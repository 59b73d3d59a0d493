// Both ways between this program and `transformers`, by tests/golden/transformers_parity.py, which sets
// TUMBLER_PARITY_DIR; to llama.cpp by tests/golden/llama_cpp_parity.py, in the same way.
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include <gtest/gtest.h>

#include "engine/decoder.h"
#include "engine/sampler.h"
#include "formats/gguf_engine.h"
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
    if (config.rope()) config.n_embd = 20;  // a multiple of n_head, as its version 5 wants
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

// Gemma's norms are stored less 1, which may take their last bits.
void expect_same(const nn::Parameters& a, const nn::Parameters& b, const char* what) {
  for (const nn::Tensor& t : a.tensors()) {
    const auto x = a.master(t), y = b.master(*b.find(t.name));
    const float tolerance = t.kind == nn::TensorKind::norm ? 3e-7f : 0;
    for (size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(x[i], y[i], tolerance) << what << ": " << t.name;
  }
}

// "NAME_sharp" has attention that is sharp and magnifies what rounding changes.
constexpr std::string_view kSharp = "_sharp";

nn::ModelConfig peer_config(std::string name) {
  if (name.ends_with(kSharp)) name.resize(name.size() - kSharp.size());
  nn::ModelConfig c = nn::tiny_config(name);
  c.vocab_size = 49152;     // many candidates, so that leads are small, as in real models
  c.n_embd = c.n_ff = 256;  // rows that every type fits
  c.n_layer = 3;
  c.n_head = 4;
  c.n_kv_head = name == "gpt2" ? 4 : 2;
  c.head_dim = 64;
  c.max_positions = 256;
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

// Of every one of `prompt` and of the `generated` greedy tokens that follow it, which are appended, on packed
// weights. Only products round: the cache is f32.
std::vector<float> packed_logits(const engine::Model& model, std::vector<int32_t>& prompt, int generated) {
  engine::Decoder decoder(model, {.capacity = 128, .cache = kernels::CacheType::f32});
  const engine::Decoder::Piece piece{.slot = 0, .tokens = prompt, .all_logits = true};
  decoder.read({&piece, 1});
  const auto all = decoder.piece_logits(0);
  std::vector<float> logits(all.begin(), all.end());
  for (int i = 0; i < generated; ++i) {
    const int32_t token = engine::argmax(decoder.logits(0));
    prompt.push_back(token);
    decoder.extend(0, {&prompt.back(), 1});
    const auto next = decoder.logits(0);
    logits.insert(logits.end(), next.begin(), next.end());
  }
  return logits;
}

// For llama.cpp to open: DIR/TYPE.gguf, and the same values as f32 in DIR/TYPE-f32.gguf. In
// DIR/TYPE.safetensors are tokens, the last 24 of them greedy, and our logits of both. Back in a directory of
// Hugging Face's the values are the same to the bit.
TEST(LlamaCppParity, Writes) {
  const char *root = std::getenv("TUMBLER_PARITY_DIR"), *family = std::getenv("TUMBLER_PARITY_FAMILY");
  if (root == nullptr || family == nullptr) GTEST_SKIP() << "run by tests/golden/llama_cpp_parity.py";
  using kernels::WeightType;
  const tokens::Tokenizer tokenizer = small_tokenizer();
  const ModelFiles files{.dtype = kernels::DType::f32, .eos_token_ids = {257}};
  nn::Parameters random(peer_config(family), {.gradients = false});
  nn::randomize(random, 1);
  if (std::string_view(family).ends_with(kSharp)) {
    random.initialize(1);
    for (float& w : random.master()) w *= 2;
    random.refresh_copy();
  }
  // As people do: from a directory.
  save_model(fs::path(root) / "source", random, files);
  const LoadedModel source = load_model(fs::path(root) / "source", {.gradients = false});
  for (const WeightType type :
       {WeightType::f16, WeightType::bf16, WeightType::q8_0, WeightType::q4_0, WeightType::q4_1,
        WeightType::q5_0, WeightType::q5_1, WeightType::q4_k, WeightType::q5_k, WeightType::q6_k}) {
    const std::string path = fmt::format("{}/{}", root, kernels::weight_type_name(type));
    const auto save = [&](const std::string& to, const nn::Parameters& p, WeightType as) {
      save_gguf(to, p, files, &tokenizer, {.type = as, .name = family, .chat_template = ""});
    };
    save(path + ".gguf", *source.parameters, type);
    const GgufFile file(path + ".gguf");
    const LoadedModel dense = load_gguf(file, {.gradients = false});
    save(path + "-f32.gguf", *dense.parameters, WeightType::f32);
    save_model(path, *dense.parameters, files);
    const LoadedModel back = load_model(path, {.gradients = false});
    EXPECT_EQ(back.config, random.config());
    expect_same(*back.parameters, *dense.parameters, "by way of a directory");
    save_gguf(path + "-again.gguf", *back.parameters, files, &tokenizer,
              {.type = WeightType::f32, .name = family, .chat_template = ""});
    expect_same(*load_gguf(GgufFile(path + "-again.gguf"), {.gradients = false}).parameters,
                *dense.parameters, "and back");
    fs::remove(path + "-again.gguf");
    fs::remove_all(path);
    std::vector<int32_t> ids = nn::TinyBatch(random.config(), 1, 40, 2).tokens;
    const engine::Model packed = load_packed_gguf(file);
    const std::vector<float> rounded = packed_logits(packed, ids, 24);
    const std::vector<float> exact = logits_of(*dense.parameters, ids);
    SafetensorsWriter writer;
    const std::vector<int64_t> tokens(ids.begin(), ids.end());
    const auto T = static_cast<int64_t>(ids.size()), V = random.config().vocab_size;
    writer.add("tokens", {T}, tokens);
    writer.add("exact", {T, V}, exact, kernels::DType::f32);
    writer.add("rounded", {T, V}, rounded, kernels::DType::f32);
    writer.write(path + ".safetensors");
  }
}

}  // namespace
}  // namespace tumbler::formats
