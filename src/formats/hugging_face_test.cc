#include "formats/hugging_face.h"

#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/error.h"
#include "nn/test_models.h"

namespace tumbler::formats {
namespace {

namespace fs = std::filesystem;
using kernels::DType;

class HuggingFace : public testing::TestWithParam<std::string> {
 protected:
  void TearDown() override { fs::remove_all(directory_); }
  fs::path directory_ = fs::temp_directory_path() / fmt::format("tumbler_model_{}", ::getpid());
};
INSTANTIATE_TEST_SUITE_P(Families, HuggingFace, testing::ValuesIn(nn::written_names()),
                         [](const auto& family) { return family.param; });

TEST_P(HuggingFace, LoadsWhatItSaved) {
  for (const DType stored : {DType::f32, DType::bf16}) {
    nn::Parameters p(nn::tiny_config(GetParam()), {});
    nn::randomize(p, 1);
    save_model(directory_, p,
               {.dtype = stored, .bos_token_id = 3, .eos_token_ids = {4, 5}, .pad_token_id = 6});
    LoadedModel loaded = load_model(directory_, {.gradients = false});
    EXPECT_EQ(loaded.config, p.config());
    EXPECT_EQ(loaded.files.dtype, stored);
    EXPECT_EQ(loaded.files.bos_token_id, 3);
    EXPECT_EQ(loaded.files.eos_token_ids, (std::vector<int64_t>{4, 5}));
    EXPECT_EQ(loaded.files.pad_token_id, 6);
    for (size_t i = 0; i < p.master().size(); ++i) {
      const float x = p.master()[i],
                  expected = stored == DType::f32 ? x : kernels::to_float(kernels::to_bf16(x));
      ASSERT_EQ(loaded.parameters->master()[i], expected);
    }
  }
}

TEST_P(HuggingFace, ConfigSurvivesItsJson) {
  nn::ModelConfig c = nn::tiny_config(GetParam());
  if (c.rope()) {
    c.rope_scaling = "llama3";
    c.rope_factor = 32;
    c.rope_original_positions = 16;
  }
  ModelFiles files;
  EXPECT_EQ(config_from_json(config_to_json(c, {.dtype = DType::bf16}), "test", &files), c);
  EXPECT_EQ(files.dtype, DType::bf16);
  EXPECT_EQ(files.bos_token_id, -1);
}

TEST_P(HuggingFace, SaysWhatIsWrongWithADirectory) {
  EXPECT_THROW(load_model(directory_, {}), Error);
  nn::Parameters p(nn::tiny_config(GetParam()), {}),
      other(nn::tiny_config(GetParam() == "gpt2" ? "qwen3" : "gpt2"), {});
  save_model(directory_, other, {});
  io::write_file(directory_ / "config.json", config_to_json(p.config(), {}));
  EXPECT_THROW(load_model(directory_, {}), Error);
  save_model(directory_, p, {});
  fs::remove(directory_ / "model.safetensors");
  EXPECT_THROW(load_model(directory_, {}), Error);
}

TEST(HuggingFaceConfig, ReadsOldAndNewSpellings) {
  const std::string common =
      R"("model_type":"llama","vocab_size":32,"hidden_size":16,"num_hidden_layers":1,"num_attention_heads":2,)"
      R"("intermediate_size":32,"max_position_embeddings":64,"rms_norm_eps":1e-5)";
  const nn::ModelConfig a = config_from_json(
      "{" + common + R"(,"rope_theta":500000.0,"rope_scaling":{"type":"linear","factor":2.0}})", "a");
  EXPECT_EQ(a.rope_theta, 500000);
  EXPECT_EQ(a.rope_scaling, "linear");
  EXPECT_EQ(a.head_dim, 8);
  EXPECT_EQ(a.n_kv_head, 2);
  EXPECT_FALSE(a.tied);
  const nn::ModelConfig b = config_from_json(
      "{" + common + R"(,"rope_parameters":{"rope_type":"default","rope_theta":1000},"dtype":"bfloat16"})",
      "b");
  EXPECT_EQ(b.rope_theta, 1000);
  EXPECT_EQ(b.rope_scaling, "none");
}

TEST(HuggingFaceConfig, RefusesWhatItCannotRun) {
  const nlohmann::json good = nlohmann::json::parse(config_to_json(nn::tiny_config("qwen3"), {}));
  const auto refused = [&](const char* key, nlohmann::json value) {
    nlohmann::json j = good;
    j[key] = std::move(value);
    EXPECT_THROW(config_from_json(j.dump(), "test"), Error) << key;
  };
  config_from_json(good.dump(), "test");
  refused("model_type", "mamba");
  refused("hidden_size", "wide");
  refused("hidden_size", -1);
  refused("hidden_size", 1e30);
  refused("num_hidden_layers", nullptr);
  refused("vocab_size", uint64_t{1} << 63);
  refused("num_attention_heads", 0);
  refused("hidden_act", "relu");
  refused("rope_scaling", {{"rope_type", "yarn"}, {"factor", 4.0}});
  refused("rope_scaling", "linear");
  EXPECT_THROW(config_from_json("", "test"), Error);
  EXPECT_THROW(config_from_json("[]", "test"), Error);
  EXPECT_THROW(config_from_json("{\"model_type\":\"gpt2\"}", "test"), Error);
  EXPECT_THROW(config_from_json(std::string(1000000, '['), "test"), Error);
}

TEST(HuggingFaceConfig, NamesAndShapesAreThoseOfTransformers) {
  const fs::path directory = fs::temp_directory_path() / fmt::format("tumbler_names_{}", ::getpid());
  const auto shape_of = [&](const char* family, const char* name) {
    nn::Parameters p(nn::tiny_config(family), {});
    save_model(directory, p, {});
    const SafetensorsFile file(directory / "model.safetensors");
    const TensorInfo* info = file.find(name);
    return info != nullptr ? info->shape : std::vector<int64_t>{-1};
  };
  using Shape = std::vector<int64_t>;
  EXPECT_EQ(shape_of("gpt2", "transformer.h.1.attn.c_attn.weight"), (Shape{24, 72}));
  EXPECT_EQ(shape_of("gpt2", "transformer.h.0.mlp.c_fc.weight"), (Shape{24, 20}));
  EXPECT_EQ(shape_of("gpt2", "transformer.h.0.ln_1.bias"), (Shape{24}));
  EXPECT_EQ(shape_of("gpt2", "lm_head.weight"), (Shape{-1}));
  EXPECT_EQ(shape_of("qwen3", "model.layers.1.self_attn.k_proj.weight"), (Shape{16, 18}));
  EXPECT_EQ(shape_of("qwen3", "model.layers.1.self_attn.q_norm.weight"), (Shape{8}));
  EXPECT_EQ(shape_of("qwen2", "model.layers.0.self_attn.v_proj.bias"), (Shape{16}));
  EXPECT_EQ(shape_of("llama_untied", "lm_head.weight"), (Shape{29, 18}));
  EXPECT_EQ(shape_of("llama", "model.layers.0.mlp.gate_proj.weight"), (Shape{20, 18}));
  fs::remove_all(directory);
}

}  // namespace
}  // namespace tumbler::formats
