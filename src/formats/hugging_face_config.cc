// config.json and generation_config.json of the families that nn/ runs, with the keys and spellings of
// `transformers`.
#include <algorithm>
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
  // Not the same as a key that is not there, whose value is the class's default.
  bool states_null(const char* key) const {
    const auto found = object_.find(key);
    return found != object_.end() && found->is_null();
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

// query_pre_attn_scalar, from whose root scores are divided. `transformers` wants a whole number.
int64_t scores_divisor(const nn::ModelConfig& c) {
  if (c.attention_scale == 0) return c.head_dim;
  const double divisor = 1 / (c.attention_scale * c.attention_scale);
  if (!(divisor < 1e9) || std::abs(divisor - std::round(divisor)) > 1e-6 * divisor)
    throw Error("config.json", "attention_scale: got {}, expected 1 / sqrt(n) of a whole number n",
                c.attention_scale);
  return std::llround(divisor);
}

void write_gemma(ordered_json& j, const nn::ModelConfig& c) {
  j["attention_bias"] = c.qkv_bias;
  j["attention_dropout"] = 0.0;
  j["attn_logit_softcapping"] = nullptr;
  j["cache_implementation"] = "hybrid";
  j["final_logit_softcapping"] = nullptr;
  j["head_dim"] = c.head_dim;
  j["hidden_activation"] = "gelu_pytorch_tanh";
  j["hidden_size"] = c.n_embd;
  j["initializer_range"] = 0.02;
  j["intermediate_size"] = c.n_ff;
  ordered_json types = ordered_json::array();
  for (int64_t l = 0; l < c.n_layer; ++l)
    types.push_back(c.is_local(l) ? "sliding_attention" : "full_attention");
  j["layer_types"] = types;
  j["max_position_embeddings"] = c.max_positions;
  j["num_attention_heads"] = c.n_head;
  j["num_hidden_layers"] = c.n_layer;
  j["num_key_value_heads"] = c.n_kv_head;
  j["query_pre_attn_scalar"] = scores_divisor(c);
  j["rms_norm_eps"] = c.norm_eps;
  j["rope_local_base_freq"] = c.rope_theta_local;
  j["rope_scaling"] = rope_scaling(c);
  j["rope_theta"] = c.rope_theta;
  // Where all layers are global their class still wants a window.
  j["sliding_window"] = c.sliding_window > 0 ? c.sliding_window : c.max_positions;
  j["sliding_window_pattern"] = c.sliding_window > 0 ? c.global_every : 1;
}

void read_gpt2(nn::ModelConfig& c, const Reader& r) {
  const std::string activation = r.text("activation_function", "gelu_new");
  if (activation != "gelu_new" && activation != "gelu_pytorch_tanh")
    throw Error(r.where(), "activation_function: got '{}', expected gelu_new", activation);
  if (!r.flag("scale_attn_weights", true) || r.states_null("scale_attn_weights") ||
      r.flag("scale_attn_by_inverse_layer_idx", false))
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

void read_rope_scaling(nn::ModelConfig& c, const Reader& s) {
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

void read_rope(nn::ModelConfig& c, const Reader& r, double default_theta) {
  // Newer files hold both in rope_parameters, older ones in rope_theta and rope_scaling.
  const json* parameters = r.find("rope_parameters");
  const json* scaling = parameters != nullptr ? parameters : r.find("rope_scaling");
  c.rope_theta = r.number("rope_theta", default_theta);
  if (scaling == nullptr) return;
  if (!scaling->is_object()) throw Error(r.where(), "rope_scaling: got something else, expected an object");
  read_rope_scaling(c, Reader(*scaling, r.where() + " rope_scaling"));
}

// Local and global layers have frequencies of their own; newer files hold both in rope_parameters.
void read_gemma_rope(nn::ModelConfig& c, const Reader& r) {
  c.rope_theta_local = r.number("rope_local_base_freq", 1e4);
  const json* parameters = r.find("rope_parameters");
  if (parameters == nullptr || !parameters->is_object() || !parameters->contains("full_attention"))
    return read_rope(c, r, 1e6);
  const Reader by_type(*parameters, r.where() + " rope_parameters");
  c.rope_theta = 1e6;
  for (const char* type : {"full_attention", "sliding_attention"}) {
    const json* found = by_type.find(type);
    if (found == nullptr) continue;
    if (!found->is_object()) throw Error(by_type.where(), "{}: expected an object", type);
    const Reader own(*found, by_type.where() + " " + type);
    if (std::string_view(type) == "full_attention") {
      read_rope_scaling(c, own);
    } else {
      c.rope_theta_local = own.number("rope_theta", c.rope_theta_local);
      if (const std::string kind = own.text("rope_type", "default"); kind != "default")
        throw Error(own.where(), "rope_type: got '{}', expected default", kind);
    }
  }
}

// Which layers are local: every n-th is not, by sliding_window_pattern or, in newer files, layer_types.
void read_gemma_layers(nn::ModelConfig& c, const Reader& r) {
  c.sliding_window = r.states_null("sliding_window") ? 0 : r.integer("sliding_window", 4096);
  c.global_every = r.integer("sliding_window_pattern", r.integer("_sliding_window_pattern", 6));
  if (const json* types = r.find("layer_types")) {
    if (!types->is_array() || static_cast<int64_t>(types->size()) != c.n_layer)
      throw Error(r.where(), "layer_types: expected a list of {} layers", c.n_layer);
    const auto global = std::find(types->begin(), types->end(), "full_attention");
    if (global != types->end()) c.global_every = global - types->begin() + 1;
    // Without a global layer any number beyond the last will do.
    if (global == types->end() && c.global_every <= c.n_layer) c.global_every = c.n_layer + 1;
    for (int64_t l = 0; l < c.n_layer; ++l) {
      const bool local = (l + 1) % c.global_every != 0;
      if ((*types)[static_cast<size_t>(l)] != (local ? "sliding_attention" : "full_attention"))
        throw Error(r.where(), "layer_types: got '{}' at {}, expected every {}th full_attention alone",
                    (*types)[static_cast<size_t>(l)].dump(-1, ' ', false, json::error_handler_t::replace), l,
                    c.global_every);
    }
  }
  if (c.global_every == 1) c.sliding_window = c.global_every = 0;
  if (c.global_every > 1 && c.sliding_window == 0)
    throw Error(
        r.where(),
        "sliding_window: got null or 0, expected the window of the layers that are sliding_attention");
}

// Gemma 3. Its multimodal files state only what differs from these defaults of the class.
void read_gemma(nn::ModelConfig& c, const Reader& r) {
  for (const char* key : {"attn_logit_softcapping", "final_logit_softcapping"})
    if (r.find(key) != nullptr) throw Error(r.where(), "{}: got a number, expected null", key);
  if (r.flag("use_bidirectional_attention", false))
    throw Error(r.where(), "use_bidirectional_attention: got true, expected false");
  if (const std::string activation = r.text("hidden_activation", "gelu_pytorch_tanh");
      activation != "gelu_pytorch_tanh")
    throw Error(r.where(), "hidden_activation: got '{}', expected gelu_pytorch_tanh", activation);
  c.vocab_size = r.integer("vocab_size", 262208);
  c.n_embd = r.integer("hidden_size", 2304);
  c.n_layer = r.integer("num_hidden_layers", 26);
  c.n_head = r.integer("num_attention_heads", 8);
  c.n_kv_head = r.integer("num_key_value_heads", 4);
  c.head_dim = r.integer("head_dim", 256);
  c.n_ff = r.integer("intermediate_size", 9216);
  c.max_positions = r.integer("max_position_embeddings", 131072);
  c.norm_eps = r.number("rms_norm_eps", 1e-6);
  c.tied = r.flag("tie_word_embeddings", true);
  c.qkv_bias = c.out_bias = r.flag("attention_bias", false);
  const double divisor = r.number("query_pre_attn_scalar", 256);
  if (!(divisor > 0 && divisor < 1e9) || divisor != std::round(divisor))
    throw Error(r.where(), "query_pre_attn_scalar: got {}, expected a whole number above 0", divisor);
  c.attention_scale = divisor == static_cast<double>(c.head_dim) ? 0 : 1 / std::sqrt(divisor);
  c.embedding_scale = c.n_embd > 0 ? nn::gemma_embedding_scale(c.n_embd) : 1;
  read_gemma_layers(c, r);
  read_gemma_rope(c, r);
}

// null asks for what follows from other keys; a key that is not there for the default of the family's class.
void read_llama_like_defaults(nn::ModelConfig& c, const Reader& r) {
  const bool llama = c.family == "llama";
  const int64_t size = c.n_head > 0 ? c.n_embd / c.n_head : 0;
  c.n_kv_head =
      r.integer("num_key_value_heads", llama || r.states_null("num_key_value_heads") ? c.n_head : 32);
  c.head_dim = r.integer("head_dim", c.family == "qwen3" && !r.states_null("head_dim") ? 128 : size);
  c.max_positions = r.integer("max_position_embeddings", llama ? 2048 : 32768);
}

// Qwen's layers from max_window_layers on have windows, if any has.
bool has_windows(const nn::ModelConfig& c, const Reader& r) {
  if (c.family == "llama" || !r.flag("use_sliding_window", false) || r.states_null("sliding_window"))
    return false;
  return r.integer("sliding_window", 4096) < c.max_positions &&
         r.integer("max_window_layers", 28) < c.n_layer;
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
  read_llama_like_defaults(c, r);
  c.n_ff = r.integer("intermediate_size");
  c.norm_eps = r.number("rms_norm_eps", 1e-6);
  c.tied = r.flag("tie_word_embeddings", false);
  if (c.family != "qwen2") c.qkv_bias = c.out_bias = r.flag("attention_bias", false);
  if (c.family == "llama") c.mlp_bias = r.flag("mlp_bias", false);
  read_rope(c, r, 1e4);
  if (const json* types = r.find("layer_types");
      types != nullptr && !(types->is_array() && std::all_of(types->begin(), types->end(), [](const json& t) {
                              return t == "full_attention";
                            })))
    throw Error(r.where(), "layer_types: expected full_attention alone; windows are Gemma 3's only");
  if (has_windows(c, r))
    throw Error(r.where(), "use_sliding_window: got true, expected false; windows are not supported");
}

// Overwrites what is said here; the rest stays.
void read_files(ModelFiles& files, const Reader& r) {
  const std::string dtype = r.text("torch_dtype", r.text("dtype", ""));
  if (!dtype.empty()) files.dtype = dtype == "float32" ? kernels::DType::f32 : kernels::DType::bf16;
  files.bos_token_id = r.integer("bos_token_id", files.bos_token_id);
  if (r.find("eos_token_id") != nullptr) files.eos_token_ids = r.integers("eos_token_id");
  files.pad_token_id = r.integer("pad_token_id", files.pad_token_id);
}

}  // namespace

std::string config_to_json(const nn::ModelConfig& config, const ModelFiles& files) {
  nn::check(config, "config.json");
  ordered_json j;
  const char* architecture = config.family == "gpt2"    ? "GPT2LMHeadModel"
                             : config.family == "llama" ? "LlamaForCausalLM"
                             : config.family == "qwen2" ? "Qwen2ForCausalLM"
                             : config.family == "qwen3" ? "Qwen3ForCausalLM"
                                                        : "Gemma3ForCausalLM";
  j["architectures"] = {architecture};
  j["model_type"] = config.family == "gemma3" ? "gemma3_text" : config.family;
  if (config.family == "gpt2")
    write_gpt2(j, config);
  else if (config.family == "gemma3")
    write_gemma(j, config);
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
  // Models of text and images keep the language model's part in an object of its own.
  const json* text_config = type == "gemma3" ? r.find("text_config") : nullptr;
  if (text_config != nullptr && !text_config->is_object())
    throw Error(where, "text_config: got something else, expected an object");
  const Reader own(text_config != nullptr ? *text_config : j, where);
  const std::string family = type.starts_with("gemma3") ? own.text("model_type", "gemma3_text") : type;
  if (family == "gemma" || family == "gemma2")
    throw Error(where, "model_type: got '{}': of the Gemma models only Gemma 3 can be run", type);
  if (family != "gpt2" && family != "llama" && family != "qwen2" && family != "qwen3" &&
      family != "gemma3_text")
    throw Error(where, "model_type: got '{}', expected gpt2, llama, qwen2, qwen3 or gemma3", type);
  nn::ModelConfig c = nn::family_defaults(family == "gemma3_text" ? "gemma3" : family);
  if (c.family != "gemma3") c.vocab_size = r.integer("vocab_size");
  if (c.family == "gpt2")
    read_gpt2(c, r);
  else if (c.family == "gemma3")
    read_gemma(c, own);
  else
    read_llama_like(c, r);
  nn::check(c, where);
  if (files != nullptr) {
    *files = {};
    read_files(*files, own);
    if (text_config != nullptr) read_files(*files, r);
  }
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
