// Weights straight from a GGUF file must compute what the same file unpacked to f32 computes.
#include "formats/gguf_engine.h"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/error.h"
#include "engine/decoder.h"
#include "formats/gguf_model.h"
#include "io/file.h"

namespace tumbler::formats {
namespace {

namespace fs = std::filesystem;
using engine::Decoder;
using engine::Model;
using kernels::WeightType;

nn::ModelConfig small(const std::string& family) {
  nn::ModelConfig c = nn::family_defaults(family);
  c.vocab_size = 100;  // no multiple of 16
  c.n_embd = 256;      // blocks of 256 fit
  c.n_layer = 2;
  c.n_head = 4;
  c.n_kv_head = family == "gpt2" ? 4 : 2;
  c.head_dim = 64;
  c.n_ff = 512;
  c.max_positions = 128;
  if (family == "gemma3") {
    c.n_layer = 4;  // local, local, global, local
    c.global_every = 3;
    c.sliding_window = 8;
    c.rope_theta_local = 1e4;
    c.embedding_scale = nn::gemma_embedding_scale(c.n_embd);
  }
  return c;
}

class GgufEngine : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    path_ = fs::temp_directory_path() / fmt::format("tumbler_model_{}.gguf", ::getpid());
  }
  void TearDown() override { fs::remove(path_); }
  void save(WeightType type) {
    nn::Parameters parameters(small(GetParam()), {.gradients = false});
    parameters.initialize(9);
    // Twice Gemma's norms of queries and keys make scores so large that attention magnifies any rounding.
    if (GetParam() != "gemma3")
      for (float& w : parameters.master()) w *= 2;
    parameters.refresh_copy();
    save_gguf(path_, parameters, {}, nullptr, {.type = type, .name = "small", .chat_template = ""});
  }
  static std::vector<float> logits_of(const Model& model) {
    Decoder decoder(model, {.capacity = 64, .cache = kernels::CacheType::f32});
    std::vector<int32_t> tokens;
    for (int32_t i = 0; i < 40; ++i) tokens.push_back(i * 37 % 100);
    decoder.extend(0, tokens);
    const auto logits = decoder.logits(0);
    return {logits.begin(), logits.end()};
  }
  fs::path path_;
};
INSTANTIATE_TEST_SUITE_P(Families, GgufEngine, testing::Values("gpt2", "llama", "qwen2", "qwen3", "gemma3"),
                         [](const auto& test) { return test.param; });

TEST_P(GgufEngine, PackedComputesWhatTheUnpackedFileDoes) {
  for (const WeightType type : {WeightType::f32, WeightType::f16, WeightType::bf16, WeightType::q8_0,
                                WeightType::q4_0, WeightType::q4_1, WeightType::q5_0, WeightType::q5_1,
                                WeightType::q4_k, WeightType::q5_k, WeightType::q6_k}) {
    save(type);
    const GgufFile file(path_);
    const Model packed = load_packed_gguf(file);
    EXPECT_NE(packed.weight_types().find(kernels::weight_type_name(type)), std::string::npos)
        << packed.weight_types();
    const LoadedModel loaded = load_gguf(file, {.gradients = false});
    const std::vector<float> got = logits_of(packed), want = logits_of(Model(*loaded.parameters));
    double difference = 0, size = 0;
    for (size_t i = 0; i < want.size(); ++i) {
      difference += std::pow(got[i] - want[i], 2);
      size += std::pow(want[i], 2);
    }
    // Inputs rounded to 8 bits are off by 1/127/sqrt(12) of a block's largest, in each of 9 products in a
    // row.
    const bool rounded = type != WeightType::f32 && type != WeightType::f16 && type != WeightType::bf16;
    EXPECT_LT(std::sqrt(difference / size), rounded ? 0.03 : 1e-5) << kernels::weight_type_name(type);
  }
}

TEST_P(GgufEngine, ScalesThatAreNotFiniteAreRefused) {
  save(WeightType::q8_0);
  std::string bytes = io::read_file(path_);
  {
    const GgufFile file(path_);
    const GgufTensor down = *file.contents().find_tensor("blk.1.ffn_down.weight");
    // The file is mapped whole: where the tensor is in memory is where it is in the file.
    const auto* begin = file.contents().find_tensor("token_embd.weight")->bytes.data();
    const size_t embedding = bytes.find(std::string(reinterpret_cast<const char*>(begin), 64));
    ASSERT_NE(embedding, std::string::npos);
    const size_t at = embedding + static_cast<size_t>(down.bytes.data() - begin);
    bytes[at] = 0;
    bytes[at + 1] = 0x7c;  // f16 infinity
  }
  io::write_file(path_, bytes);
  const GgufFile file(path_);
  EXPECT_THROW(load_packed_gguf(file), Error);
}

TEST_P(GgufEngine, UpdateTakesNewValues) {
  nn::Parameters parameters(small(GetParam()), {.gradients = false});
  parameters.initialize(1);
  Model model(parameters);
  parameters.initialize(2);
  for (float& w : parameters.master()) w *= 2;
  parameters.refresh_copy();
  EXPECT_NE(logits_of(model), logits_of(Model(parameters)));
  model.update(parameters);
  EXPECT_EQ(logits_of(model), logits_of(Model(parameters)));
}

}  // namespace
}  // namespace tumbler::formats
