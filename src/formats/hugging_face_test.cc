#include "formats/hugging_face.h"

#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

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
INSTANTIATE_TEST_SUITE_P(Families, HuggingFace, testing::ValuesIn(nn::tiny_names()),
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
    for (const nn::Tensor& t : p.tensors()) {
      // Gemma's files hold norms less 1.
      const float offset = GetParam() == "gemma3" && t.kind == nn::TensorKind::norm ? 1 : 0;
      const auto values = p.master(t);
      for (size_t i = 0; i < values.size(); ++i) {
        const float x = values[i] - offset;
        const float kept = stored == DType::f32 ? x : kernels::to_float(kernels::to_bf16(x));
        ASSERT_EQ(loaded.parameters->master(t)[i], kept + offset) << t.name;
      }
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

TEST_P(HuggingFace, SeveralFilesAreOneModel) {
  nn::Parameters p(nn::tiny_config(GetParam()), {});
  nn::randomize(p, 2);
  save_model(directory_, p, {});
  save_model(directory_, p, {}, 5000);
  EXPECT_FALSE(fs::exists(directory_ / "model.safetensors"));
  const nlohmann::json index =
      nlohmann::json::parse(io::read_file(directory_ / "model.safetensors.index.json"));
  std::set<std::string> names;
  for (const auto& [tensor, file] : index["weight_map"].items()) names.insert(file);
  EXPECT_GT(names.size(), 2u);
  EXPECT_TRUE(names.begin()->starts_with("model-00001-of-0000")) << *names.begin();
  EXPECT_EQ(index["metadata"]["total_size"], 4 * p.count());
  const LoadedModel loaded = load_model(directory_, {.gradients = false});
  for (const nn::Tensor& t : p.tensors())
    for (size_t i = 0; i < p.master(t).size(); ++i)
      ASSERT_NEAR(loaded.parameters->master(t)[i], p.master(t)[i], 1e-6) << t.name;
  // A name that leads elsewhere, a missing file, one that is no object.
  const auto refused = [&](const nlohmann::json& changed) {
    io::write_file(directory_ / "model.safetensors.index.json", changed.dump());
    EXPECT_THROW(load_model(directory_, {}), Error) << changed.dump().substr(0, 100);
  };
  for (const char* name : {"../x.safetensors", "/etc/x.safetensors", "a/b.safetensors", "no.safetensors",
                           "config.json", "..", ""}) {
    nlohmann::json changed = index;
    changed["weight_map"].begin().value() = name;
    refused(changed);
  }
  refused({{"weight_map", 3}});
  refused(nlohmann::json::array());
  nlohmann::json fewer = {{"weight_map", {{"x", *names.begin()}}}};
  refused(fewer);  // the other files' tensors are missing
  save_model(directory_, p, {});
  EXPECT_FALSE(fs::exists(directory_ / "model.safetensors.index.json"));
  EXPECT_FALSE(fs::exists(directory_ / *names.begin()));
  load_model(directory_, {});
}

// As published: the text part of a model of text and images, whose file states what differs from the class.
TEST(HuggingFaceGemma, TextAndImages) {
  const std::string published =
      R"({"architectures":["Gemma3ForConditionalGeneration"],"boi_token_index":255999,
    "eos_token_id":[1,106],"image_token_index":262144,"initializer_range":0.02,"mm_tokens_per_image":256,
    "model_type":"gemma3","text_config":{"hidden_size":2560,"intermediate_size":10240,
    "model_type":"gemma3_text","num_hidden_layers":34,"rope_scaling":{"factor":8.0,"rope_type":"linear"},
    "sliding_window":1024},"torch_dtype":"bfloat16","vision_config":{"hidden_size":1152,"image_size":896}})";
  ModelFiles files;
  const nn::ModelConfig c = config_from_json(published, "gemma-3-4b-it", &files);
  EXPECT_EQ(c.family, "gemma3");
  EXPECT_EQ(c.vocab_size, 262208);
  EXPECT_EQ(c.n_head, 8);
  EXPECT_EQ(c.n_kv_head, 4);
  EXPECT_EQ(c.head_dim, 256);
  EXPECT_EQ(c.rope_theta, 1e6);
  EXPECT_EQ(c.rope_theta_local, 1e4);
  EXPECT_EQ(c.rope_scaling, "linear");
  EXPECT_EQ(c.rope_factor, 8);
  EXPECT_EQ(c.sliding_window, 1024);
  EXPECT_EQ(c.global_every, 6);
  EXPECT_EQ(c.attention_scale, 0);     // 1/sqrt(256) is that of the heads
  EXPECT_EQ(c.embedding_scale, 50.5);  // sqrt(2560) = 50.596 in bf16
  EXPECT_TRUE(c.tied);
  EXPECT_EQ(files.eos_token_ids, (std::vector<int64_t>{1, 106}));
  EXPECT_EQ(files.dtype, DType::bf16);
}

TEST(HuggingFaceGemma, TensorsOfTextAndImages) {
  const fs::path directory = fs::temp_directory_path() / fmt::format("tumbler_gemma_{}", ::getpid());
  nn::Parameters p(nn::tiny_config("gemma3"), {});
  nn::randomize(p, 3);
  save_model(directory, p, {});
  const SafetensorsFile text(directory / "model.safetensors");
  const nlohmann::json config = nlohmann::json::parse(io::read_file(directory / "config.json"));
  const auto renamed = [&](auto rename, const char* extra) {
    SafetensorsWriter writer;
    for (const TensorInfo& t : text.tensors())
      writer.add(rename(t.name), t.type, t.shape,
                 [&text, &t](const SafetensorsWriter::Sink& sink) { sink(text.bytes(t)); });
    const std::vector<float> image(4, 1);
    writer.add(extra, {4}, image, DType::f32);
    writer.write(directory / "both" / "model.safetensors");
    io::write_file(directory / "both" / "config.json",
                   nlohmann::json{{"model_type", "gemma3"}, {"text_config", config}}.dump());
    const LoadedModel loaded = load_model(directory / "both", {.gradients = false});
    EXPECT_EQ(loaded.config, p.config());
    EXPECT_NEAR(loaded.parameters->master(p.tensors()[3])[1], p.master(p.tensors()[3])[1], 1e-6);
  };
  io::make_directories(directory / "both");
  renamed([](const std::string& name) { return "language_model." + name; }, "vision_tower.x.weight");
  renamed([](const std::string& name) { return "model.language_model." + name.substr(6); },
          "model.multi_modal_projector.x");
  EXPECT_THROW(renamed([](const std::string& name) { return name; }, "model.audio.x"), Error);
  fs::remove_all(directory);
}

TEST(HuggingFaceGemma, LayersAndRopeInEverySpelling) {
  const nn::ModelConfig c = nn::tiny_config("gemma3");
  const nlohmann::json written = nlohmann::json::parse(config_to_json(c, {}));
  EXPECT_EQ(written["query_pre_attn_scalar"], 4);
  EXPECT_EQ(written["layer_types"][1], "full_attention");
  nlohmann::json old = written;  // transformers 4.50
  old.erase("layer_types");
  EXPECT_EQ(config_from_json(old.dump(), "test"), c);
  nlohmann::json now = written;  // transformers 5
  for (const char* key : {"sliding_window_pattern", "rope_theta", "rope_local_base_freq", "rope_scaling"})
    now.erase(key);
  now["rope_parameters"] = {
      {"full_attention", {{"rope_type", "linear"}, {"factor", 2.0}, {"rope_theta", 100.0}}},
      {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 30.0}}}};
  EXPECT_EQ(config_from_json(now.dump(), "test"), c);
  const auto refused = [&](const char* key, nlohmann::json value, const char* said) {
    nlohmann::json j = now;
    j[nlohmann::json::json_pointer(key)] = std::move(value);
    try {
      config_from_json(j.dump(), "test");
      ADD_FAILURE() << key;
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(said), std::string::npos) << e.what();
    }
  };
  refused("/layer_types", {"full_attention", "sliding_attention", "sliding_attention"}, "layer_types");
  refused("/layer_types", {"sliding_attention", "full_attention"}, "layer_types");
  refused("/layer_types/0", "chunked_attention", "layer_types");
  refused("/layer_types", 7, "layer_types");
  refused("/rope_parameters/sliding_attention/rope_type", "linear", "expected default");
  refused("/rope_parameters/full_attention", 3, "full_attention");
  refused("/final_logit_softcapping", 30.0, "final_logit_softcapping");
  refused("/attn_logit_softcapping", 50.0, "attn_logit_softcapping");
  refused("/query_pre_attn_scalar", 0, "query_pre_attn_scalar");
  refused("/query_pre_attn_scalar", 24.00001, "query_pre_attn_scalar");
  refused("/sliding_window", -1, "sliding_window");
  refused("/sliding_window", 0, "sliding_window: got null or 0");
  refused("/sliding_window", nullptr, "sliding_window: got null or 0");
  refused("/model_type", "gemma2", "only Gemma 3 can be run");
  refused("/model_type", "gemma", "only Gemma 3 can be run");
  // All layers local, and none.
  now["layer_types"] = {"sliding_attention", "sliding_attention", "sliding_attention"};
  const nn::ModelConfig local = config_from_json(now.dump(), "test");
  EXPECT_TRUE(local.is_local(0) && local.is_local(1) && local.is_local(2));
  EXPECT_EQ(config_from_json(config_to_json(local, {}), "test"), local);
  now["layer_types"] = {"full_attention", "full_attention", "full_attention"};
  const nn::ModelConfig global = config_from_json(now.dump(), "test");
  EXPECT_EQ(global.sliding_window, 0);
  now["sliding_window"] = nullptr;  // nothing is local: no window is needed
  EXPECT_EQ(config_from_json(now.dump(), "test"), global);
  EXPECT_EQ(config_from_json(config_to_json(global, {}), "test"), global);
}

// The distilled models of DeepSeek-R1 are Qwen 2 and Llama models; these are the values they were published
// with.
TEST(HuggingFaceConfig, DistilledReasoners) {
  ModelFiles files;
  const nn::ModelConfig qwen = config_from_json(
      R"({"architectures":["Qwen2ForCausalLM"],"attention_dropout":0.0,"bos_token_id":151643,
      "eos_token_id":151643,"hidden_act":"silu","hidden_size":1536,"initializer_range":0.02,
      "intermediate_size":8960,"max_position_embeddings":131072,"max_window_layers":21,"model_type":"qwen2",
      "num_attention_heads":12,"num_hidden_layers":28,"num_key_value_heads":2,"rms_norm_eps":1e-06,
      "rope_theta":10000,"sliding_window":4096,"tie_word_embeddings":false,"torch_dtype":"bfloat16",
      "transformers_version":"4.44.0","use_cache":true,"use_mrope":false,"use_sliding_window":false,
      "vocab_size":151936})",
      "qwen", &files);
  EXPECT_EQ(qwen.rope_theta, 1e4);
  EXPECT_EQ(qwen.head_dim, 128);
  EXPECT_TRUE(qwen.qkv_bias && !qwen.out_bias && !qwen.tied);
  EXPECT_EQ(qwen.sliding_window, 0);
  EXPECT_EQ(files.eos_token_ids, std::vector<int64_t>{151643});
  const nn::ModelConfig llama = config_from_json(
      R"({"architectures":["LlamaForCausalLM"],"attention_bias":false,"attention_dropout":0.0,
      "bos_token_id":128000,"eos_token_id":128001,"hidden_act":"silu","hidden_size":4096,
      "initializer_range":0.02,"intermediate_size":14336,"max_position_embeddings":131072,"mlp_bias":false,
      "model_type":"llama","num_attention_heads":32,"num_hidden_layers":32,"num_key_value_heads":8,
      "pretraining_tp":1,"rms_norm_eps":1e-05,"rope_scaling":{"factor":8.0,"high_freq_factor":4.0,
      "low_freq_factor":1.0,"original_max_position_embeddings":8192,"rope_type":"llama3"},
      "rope_theta":500000.0,"tie_word_embeddings":false,"torch_dtype":"bfloat16","vocab_size":128256})",
      "llama", &files);
  EXPECT_EQ(llama.rope_scaling, "llama3");
  EXPECT_EQ(llama.rope_factor, 8);
  EXPECT_EQ(llama.rope_original_positions, 8192);
  EXPECT_EQ(count_parameters(llama).total(), 8030261248);  // "8B"
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

// As transformers 4.51 and 5.23 do: null follows from other keys, a key that is not there is the class's
// default (tests/golden/transformers_parity.py tries every key of every family both ways).
TEST(HuggingFaceConfig, KeysThatAreNullOrNotThere) {
  const auto changed = [](const char* family, const std::vector<std::pair<const char*, nlohmann::json>>& keys,
                          const std::vector<const char*>& without = {}) {
    nlohmann::json j = nlohmann::json::parse(config_to_json(nn::tiny_config(family), {}));
    for (const auto& [key, value] : keys) j[key] = value;
    for (const char* key : without) j.erase(key);
    return config_from_json(j.dump(), "test");
  };
  for (const char* family : {"llama", "qwen2", "qwen3", "gemma3"}) {
    const nn::ModelConfig c = changed(family, {});
    EXPECT_EQ(
        changed(family, {{"layer_types", nullptr}, {"rope_parameters", nullptr}, {"pad_token_id", nullptr}}),
        c)
        << family;
    if (c.rope_scaling == "none") {
      EXPECT_EQ(changed(family, {{"rope_scaling", nullptr}}), c);
    }
    if (!c.qkv_bias) {
      EXPECT_EQ(changed(family, {}, {"attention_bias", "mlp_bias"}), c);
    }
    if (c.family != "gemma3") {
      EXPECT_EQ(changed(family, {{"num_key_value_heads", nullptr}}).n_kv_head, c.n_head);
    }
  }
  for (const char* family : {"llama", "qwen2", "qwen3"})
    EXPECT_EQ(changed(family, {{"head_dim", nullptr}, {"hidden_size", 24}}).head_dim, 6) << family;
  EXPECT_EQ(changed("llama", {}, {"num_key_value_heads"}).n_kv_head, 4);
  EXPECT_EQ(changed("llama", {{"hidden_size", 24}}, {"head_dim"}).head_dim, 6);
  EXPECT_EQ(changed("qwen3", {}, {"head_dim"}).head_dim, 128);
  EXPECT_EQ(changed("qwen3", {{"num_attention_heads", 64}}, {"num_key_value_heads"}).n_kv_head, 32);
  EXPECT_EQ(changed("qwen2", {}, {"max_position_embeddings"}).max_positions, 32768);
  EXPECT_EQ(changed("llama", {}, {"max_position_embeddings"}).max_positions, 2048);
  // Windows of Qwen's begin at a layer that may not be there, or are none.
  const nn::ModelConfig qwen = changed("qwen2", {});
  EXPECT_EQ(changed("qwen2", {{"use_sliding_window", true}, {"sliding_window", 4}}, {"layer_types"}), qwen);
  EXPECT_EQ(changed("qwen2", {{"use_sliding_window", true}, {"max_window_layers", 0}}), qwen)
      << "window: null";
  EXPECT_THROW(
      changed("qwen2", {{"use_sliding_window", true}, {"sliding_window", 4}, {"max_window_layers", 1}}),
      Error);
  EXPECT_THROW(changed("gpt2", {{"scale_attn_weights", nullptr}}), Error);
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
  refused("layer_types", {"full_attention", "sliding_attention"});
  refused("layer_types", "full_attention");
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
  EXPECT_EQ(shape_of("gemma3", "model.layers.2.pre_feedforward_layernorm.weight"), (Shape{18}));
  EXPECT_EQ(shape_of("gemma3", "model.layers.2.post_feedforward_layernorm.weight"), (Shape{18}));
  EXPECT_EQ(shape_of("gemma3", "model.layers.2.post_attention_layernorm.weight"), (Shape{18}));
  EXPECT_EQ(shape_of("llama", "model.layers.0.mlp.gate_proj.weight"), (Shape{20, 18}));
  fs::remove_all(directory);
}

}  // namespace
}  // namespace tumbler::formats
