// config.json and generation_config.json of the families that nn/ runs, with the keys and spellings of
// `transformers`.
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "formats/hugging_face.h"

namespace tumbler::formats {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

constexpr const char* kTransformersVersion = "4.51.0";  // the first with Qwen3; newer ones read its files

// Typed look-ups with messages; keys that are absent or null take the default.
class Reader {
 public:
  Reader(const json& object, std::string_view where) : object_(object), where_(where) {}

  const json* find(const char* key) const {
    const auto found = object_.find(key);
    return found != object_.end() && !found->is_null() ? &*found : nullptr;
  }
  int64_t integer(const char* key, int64_t otherwise) const {
    const json* value = find(key);
    return value != nullptr ? as_integer(key, *value) : otherwise;
  }
  int64_t integer(const char* key) const { return as_integer(key, required(key)); }
  double number(const char* key, double otherwise) const {
    const json* value = find(key);
    if (value == nullptr) return otherwise;
    if (!value->is_number()) wrong(key, "a number", *value);
    return value->get<double>();
  }
  bool flag(const char* key, bool otherwise) const {
    const json* value = find(key);
    if (value == nullptr) return otherwise;
    if (!value->is_boolean()) wrong(key, "true or false", *value);
    return value->get<bool>();
  }
  std::string text(const char* key, std::string_view otherwise) const {
    const json* value = find(key);
    if (value == nullptr) return std::string(otherwise);
    if (!value->is_string()) wrong(key, "a string", *value);
    return value->get<std::string>();
  }
  std::vector<int64_t> integers(const char* key) const {
    const json* value = find(key);
    if (value == nullptr) return {};
    if (!value->is_array()) return {as_integer(key, *value)};
    std::vector<int64_t> all;
    for (const json& item : *value) all.push_back(as_integer(key, item));
    return all;
  }
  const std::string& where() const noexcept { return where_; }

 private:
  const json& required(const char* key) const {
    const json* value = find(key);
    if (value == nullptr)
      throw Error(where_, "{}: missing; is this the config.json of a language model?", key);
    return *value;
  }
  [[noreturn]] void wrong(const char* key, const char* expected, const json& got) const {
    throw Error(where_, "{}: got {}, expected {}", key,
                got.dump(-1, ' ', false, json::error_handler_t::replace).substr(0, 100), expected);
  }
  int64_t as_integer(const char* key, const json& value) const {
    if (!value.is_number_integer() ||
        (value.is_number_unsigned() && value.get<uint64_t>() > (uint64_t{1} << 62))) {
      wrong(key, "a whole number", value);
    }
    return value.get<int64_t>();
  }
  const json& object_;
  std::string where_;
};

ordered_json token_ids(const std::vector<int64_t>& ids) {
  if (ids.empty()) return nullptr;
  if (ids.size() == 1) return ids[0];
  return ids;
}
ordered_json token_id(int64_t id) {
  return id >= 0 ? ordered_json(id) : ordered_json(nullptr);
}

const char* dtype_name(kernels::DType type) {
  return type == kernels::DType::bf16 ? "bfloat16" : "float32";
}

void write_gpt2(ordered_json& j, const nn::ModelConfig& c) {
  j["activation_function"] = "gelu_new";
  j["attn_pdrop"] = 0.0;
  j["embd_pdrop"] = 0.0;
  j["initializer_range"] = 0.02;
  j["layer_norm_epsilon"] = c.norm_eps;
  j["n_ctx"] = c.max_positions;
  j["n_embd"] = c.n_embd;
  j["n_head"] = c.n_head;
  j["n_inner"] = c.n_ff == 4 * c.n_embd ? ordered_json(nullptr) : ordered_json(c.n_ff);
  j["n_layer"] = c.n_layer;
  j["n_positions"] = c.max_positions;
  j["resid_pdrop"] = 0.0;
  j["scale_attn_weights"] = true;
  j["scale_attn_by_inverse_layer_idx"] = false;
  j["reorder_and_upcast_attn"] = false;
}

ordered_json rope_scaling(const nn::ModelConfig& c) {
  if (c.rope_scaling == "none") return nullptr;
  ordered_json j{{"rope_type", c.rope_scaling}, {"factor", c.rope_factor}};
  if (c.rope_scaling == "llama3") {
    j["low_freq_factor"] = c.rope_low_freq_factor;
    j["high_freq_factor"] = c.rope_high_freq_factor;
    j["original_max_position_embeddings"] = c.rope_original_positions;
  }
  return j;
}

void write_llama_like(ordered_json& j, const nn::ModelConfig& c) {
  if (c.family != "qwen2") j["attention_bias"] = c.qkv_bias;
  j["attention_dropout"] = 0.0;
  if (c.family != "qwen2" || c.n_head * c.head_dim != c.n_embd) j["head_dim"] = c.head_dim;
  j["hidden_act"] = c.mlp == "silu_glu" ? "silu" : "gelu_pytorch_tanh";
  j["hidden_size"] = c.n_embd;
  j["initializer_range"] = 0.02;
  j["intermediate_size"] = c.n_ff;
  j["max_position_embeddings"] = c.max_positions;
  if (c.family == "llama")
    j["mlp_bias"] = c.mlp_bias;
  else
    j["max_window_layers"] = c.n_layer;
  j["num_attention_heads"] = c.n_head;
  j["num_hidden_layers"] = c.n_layer;
  j["num_key_value_heads"] = c.n_kv_head;
  if (c.family == "llama") j["pretraining_tp"] = 1;
  j["rms_norm_eps"] = c.norm_eps;
  j["rope_scaling"] = rope_scaling(c);
  j["rope_theta"] = c.rope_theta;
  if (c.family != "llama") {
    j["sliding_window"] = nullptr;
    j["use_sliding_window"] = false;
  }
}

void read_gpt2(nn::ModelConfig& c, const Reader& r) {
  const std::string activation = r.text("activation_function", "gelu_new");
  if (activation != "gelu_new" && activation != "gelu_pytorch_tanh")
    throw Error(r.where(), "activation_function: got '{}', expected gelu_new", activation);
  if (!r.flag("scale_attn_weights", true) || r.flag("scale_attn_by_inverse_layer_idx", false))
    throw Error(r.where(), "got unusual attention scaling, expected scale_attn_weights alone");
  c.n_embd = r.integer("n_embd");
  c.n_head = c.n_kv_head = r.integer("n_head");
  c.n_layer = r.integer("n_layer");
  c.n_ff = r.integer("n_inner", c.n_embd > 0 && c.n_embd <= (1 << 20) ? 4 * c.n_embd : 0);
  c.max_positions = r.integer("n_positions");
  c.norm_eps = r.number("layer_norm_epsilon", 1e-5);
  c.head_dim = c.n_head > 0 ? c.n_embd / c.n_head : 0;
  c.tied = r.flag("tie_word_embeddings", true);
}

void read_rope(nn::ModelConfig& c, const Reader& r) {
  // Newer files hold both in rope_parameters, older ones in rope_theta and rope_scaling.
  const json* parameters = r.find("rope_parameters");
  const json* scaling = parameters != nullptr ? parameters : r.find("rope_scaling");
  c.rope_theta = r.number("rope_theta", 1e4);
  if (scaling == nullptr) return;
  if (!scaling->is_object()) throw Error(r.where(), "rope_scaling: got something else, expected an object");
  const Reader s(*scaling, r.where() + " rope_scaling");
  c.rope_theta = s.number("rope_theta", c.rope_theta);
  const std::string type = s.text("rope_type", s.text("type", "default"));
  if (type == "default") return;
  if (type != "linear" && type != "llama3")
    throw Error(s.where(), "rope_type: got '{}', expected default, linear or llama3", type);
  c.rope_scaling = type;
  c.rope_factor = s.number("factor", 1);
  c.rope_low_freq_factor = s.number("low_freq_factor", 1);
  c.rope_high_freq_factor = s.number("high_freq_factor", 4);
  c.rope_original_positions = s.integer("original_max_position_embeddings", 8192);
}

void read_llama_like(nn::ModelConfig& c, const Reader& r) {
  const std::string activation = r.text("hidden_act", "silu");
  if (activation == "silu" || activation == "swish")
    c.mlp = "silu_glu";
  else if (activation == "gelu_pytorch_tanh" || activation == "gelu_new")
    c.mlp = "gelu_glu";
  else
    throw Error(r.where(), "hidden_act: got '{}', expected silu or gelu_pytorch_tanh", activation);
  c.n_embd = r.integer("hidden_size");
  c.n_layer = r.integer("num_hidden_layers");
  c.n_head = r.integer("num_attention_heads");
  c.n_kv_head = r.integer("num_key_value_heads", c.n_head);
  c.head_dim = r.integer("head_dim", c.n_head > 0 ? c.n_embd / c.n_head : 0);
  c.n_ff = r.integer("intermediate_size");
  c.max_positions = r.integer("max_position_embeddings", 2048);
  c.norm_eps = r.number("rms_norm_eps", 1e-6);
  c.tied = r.flag("tie_word_embeddings", false);
  if (c.family != "qwen2") c.qkv_bias = c.out_bias = r.flag("attention_bias", false);
  if (c.family == "llama") c.mlp_bias = r.flag("mlp_bias", false);
  read_rope(c, r);
  if (r.flag("use_sliding_window", false) && r.integer("sliding_window", c.max_positions) < c.max_positions)
    throw Error(r.where(), "use_sliding_window: got true, expected false; windows are not supported");
}

void read_files(ModelFiles& files, const Reader& r) {
  const std::string dtype = r.text("torch_dtype", r.text("dtype", "float32"));
  files.dtype = dtype == "float32" ? kernels::DType::f32 : kernels::DType::bf16;
  files.bos_token_id = r.integer("bos_token_id", -1);
  files.eos_token_ids = r.integers("eos_token_id");
  files.pad_token_id = r.integer("pad_token_id", -1);
}

}  // namespace

std::string config_to_json(const nn::ModelConfig& config, const ModelFiles& files) {
  nn::check(config, "config.json");
  if (config.family == "gemma3")
    throw Error("config.json", "family: got gemma3, which cannot be written yet");
  ordered_json j;
  const char* architecture = config.family == "gpt2"    ? "GPT2LMHeadModel"
                             : config.family == "llama" ? "LlamaForCausalLM"
                             : config.family == "qwen2" ? "Qwen2ForCausalLM"
                                                        : "Qwen3ForCausalLM";
  j["architectures"] = {architecture};
  j["model_type"] = config.family;
  if (config.family == "gpt2")
    write_gpt2(j, config);
  else
    write_llama_like(j, config);
  j["bos_token_id"] = token_id(files.bos_token_id);
  j["eos_token_id"] = token_ids(files.eos_token_ids);
  if (files.pad_token_id >= 0) j["pad_token_id"] = files.pad_token_id;
  j["tie_word_embeddings"] = config.tied;
  j["torch_dtype"] = dtype_name(files.dtype);
  j["transformers_version"] = kTransformersVersion;
  j["use_cache"] = true;
  j["vocab_size"] = config.vocab_size;
  return j.dump(2) + "\n";
}

nn::ModelConfig config_from_json(std::string_view text, std::string_view where, ModelFiles* files) {
  const json j = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!j.is_object())
    throw Error(where, "got something that is not a JSON object, expected a model's config.json");
  const Reader r(j, where);
  const std::string type = r.text("model_type", "");
  if (type != "gpt2" && type != "llama" && type != "qwen2" && type != "qwen3")
    throw Error(where, "model_type: got '{}', expected gpt2, llama, qwen2 or qwen3", type);
  nn::ModelConfig c = nn::family_defaults(type);
  c.vocab_size = r.integer("vocab_size");
  if (type == "gpt2")
    read_gpt2(c, r);
  else
    read_llama_like(c, r);
  nn::check(c, where);
  if (files != nullptr) read_files(*files, r);
  return c;
}

std::string generation_config_to_json(const ModelFiles& files) {
  ordered_json j;
  j["_from_model_config"] = true;
  j["bos_token_id"] = token_id(files.bos_token_id);
  j["eos_token_id"] = token_ids(files.eos_token_ids);
  if (files.pad_token_id >= 0) j["pad_token_id"] = files.pad_token_id;
  j["transformers_version"] = kTransformersVersion;
  return j.dump(2) + "\n";
}

}  // namespace tumbler::formats
