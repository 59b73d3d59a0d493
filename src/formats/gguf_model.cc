#include "formats/gguf_model.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <set>

#include "base/check.h"
#include "base/error.h"
#include "formats/gguf_rope.h"
#include "formats/gguf_tokenizer.h"

namespace tumbler::formats {
namespace {

using kernels::WeightType;

// Keys of one architecture: "llama.block_count".
class Keys {
 public:
  Keys(const GgufFile& file, std::string_view architecture)
      : file_(file), prefix_(std::string(architecture) + ".") {}
  int64_t integer(const char* key) const { return file_.get_integer(prefix_ + key); }
  int64_t integer(const char* key, int64_t otherwise) const {
    return file_.find_integer(prefix_ + key).value_or(otherwise);
  }
  // Files hold f32: the shortest decimal that is this f32 is what was meant (1e-6, not 9.99999997e-7).
  double number(const char* key, double otherwise) const {
    const std::optional<double> value = file_.find_number(prefix_ + key);
    if (!value) return otherwise;
    return std::strtod(fmt::format("{}", static_cast<float>(*value)).c_str(), nullptr);
  }
  std::string_view text(const char* key, std::string_view otherwise) const {
    return file_.find_text(prefix_ + key).value_or(otherwise);
  }
  std::string name(const char* key) const { return prefix_ + key; }

 private:
  const GgufFile& file_;
  std::string prefix_;
};

void read_rope(nn::ModelConfig& c, const GgufFile& file, const Keys& keys) {
  c.rope_theta = keys.number("rope.freq_base", 1e4);
  const int64_t rotated = keys.integer("rope.dimension_count", c.head_dim);
  if (rotated != c.head_dim)
    throw Error("gguf", "{}: {}: got {}, expected the head's size {}", file.path().string(),
                keys.name("rope.dimension_count"), rotated, c.head_dim);
  const std::string_view type = keys.text("rope.scaling.type", "none");
  const double linear = keys.number("rope.scaling.factor", keys.number("rope.scale_linear", 1));
  if (type == "linear" ||
      (type == "none" && linear != 1 && !file.contents().find(keys.name("rope.scaling.type")))) {
    c.rope_scaling = "linear";
    c.rope_factor = linear;
  } else if (type != "none") {
    throw Error("gguf", "{}: {}: got '{}', expected none or linear", file.path().string(),
                keys.name("rope.scaling.type"), printable(type));
  }
  if (const auto divisors = file.contents().find_tensor("rope_freqs.weight")) {
    c.rope_low_freq_factor = keys.number("rope.scaling.low_freq_factor", 1);
    c.rope_high_freq_factor = keys.number("rope.scaling.high_freq_factor", 4);
    c.rope_original_positions = keys.integer("rope.scaling.original_context_length", 8192);
    read_rope_divisors(c, *divisors, file.path().string());
  }
}

void read_gemma(nn::ModelConfig& c, const GgufFile& file, const Keys& keys) {
  for (const char* key : {"final_logit_softcapping", "attn_logit_softcapping"})
    if (keys.number(key, 0) != 0)
      throw Error("gguf", "{}: {}: got {}, expected none", file.path().string(), keys.name(key),
                  keys.number(key, 0));
  c.embedding_scale = c.n_embd > 0 ? nn::gemma_embedding_scale(c.n_embd) : 1;
  if (c.n_head < 1 || c.head_dim < 1) return;  // nn::check will say so
  const double scale = gguf_gemma_score_scale(c);
  if (static_cast<float>(scale) != static_cast<float>(c.score_scale())) c.attention_scale = scale;
  c.sliding_window = keys.integer("attention.sliding_window", 0);
  if (c.sliding_window > 0) c.global_every = keys.integer("attention.sliding_window_pattern", 6);
  if (c.global_every == 1) c.sliding_window = c.global_every = 0;
  c.rope_theta_local = keys.number("rope.freq_base_swa", 1e4);
}

// Which of the optional tensors are there decides the switches that no key tells.
void read_switches(nn::ModelConfig& c, const GgufFile& file) {
  const auto has = [&](const char* name) { return file.contents().find_tensor(name).has_value(); };
  c.tied = !has("output.weight");
  if (c.family == "gpt2") {
    // Some programs write the embedding twice.
    const auto head = file.contents().find_tensor("output.weight"),
               embedding = file.contents().find_tensor("token_embd.weight");
    c.tied = !head || (embedding && head->type == embedding->type &&
                       std::equal(head->bytes.begin(), head->bytes.end(), embedding->bytes.begin(),
                                  embedding->bytes.end()));
    return;
  }
  if (c.family != "qwen2") c.qkv_bias = c.out_bias = has("blk.0.attn_q.bias");
  if (c.family == "llama") c.mlp_bias = has("blk.0.ffn_up.bias");
}

void check_vocabulary(const nn::ModelConfig& c, const GgufFile& file, const Keys& keys) {
  const int64_t named = keys.integer("vocab_size", c.vocab_size);
  const auto tokens = file.find_texts("tokenizer.ggml.tokens");
  const int64_t listed = tokens ? static_cast<int64_t>(tokens->count) : c.vocab_size;
  if (named != c.vocab_size || listed > c.vocab_size)
    throw Error(
        "gguf",
        "{}: token_embd.weight: got {} rows, expected {} (vocab_size) and at least {} (tokens); the file is "
        "damaged",
        file.path().string(), c.vocab_size, named, listed);
}

int64_t head_dim_of(const nn::ModelConfig& c, const GgufFile& file, const Keys& keys) {
  const int64_t otherwise = c.n_head > 0 ? c.n_embd / c.n_head : 0;
  const int64_t key = keys.integer("attention.key_length", otherwise),
                value = keys.integer("attention.value_length", key);
  if (key != value)
    throw Error("gguf", "{}: attention.value_length: got {}, expected that of keys, {}", file.path().string(),
                value, key);
  return key;
}

}  // namespace

double gguf_gemma_score_scale(const nn::ModelConfig& c) noexcept {
  constexpr int64_t kLayersOf27B = 62;
  const int64_t divisor = c.n_layer == kLayersOf27B ? c.n_embd / c.n_head : c.head_dim;
  return 1 / std::sqrt(static_cast<double>(divisor));
}

int64_t gguf_row(int64_t row, int64_t head_dim) noexcept {
  const int64_t head = row / head_dim, i = row % head_dim, half = head_dim / 2;
  return head * head_dim + (i < half ? 2 * i : 2 * (i - half) + 1);
}

std::vector<GgufSlot> gguf_slots(const nn::ModelConfig& c) {
  std::vector<GgufSlot> slots;
  const int64_t C = c.n_embd, F = c.n_ff, D = c.head_dim, HD = c.n_head * D, KD = c.n_kv_head * D;
  const auto add = [&](std::string name, std::string parameter, int64_t first, int64_t rows, int64_t cols,
                       bool interleaved = false) {
    slots.push_back({std::move(name), std::move(parameter), first, rows, cols, interleaved});
  };
  const auto vector = [&](const std::string& name, const std::string& parameter, int64_t rows) {
    add(name, parameter, 0, rows, 1);
  };
  const bool gpt2 = c.family == "gpt2", interleaved = c.family == "llama";
  add("token_embd.weight", "embedding", 0, c.vocab_size, C);
  if (!c.rope()) add("position_embd.weight", "positions", 0, c.max_positions, C);
  for (int64_t l = 0; l < c.n_layer; ++l) {
    const std::string blk = fmt::format("blk.{}.", l), own = fmt::format("layers.{}.", l);
    const auto norm = [&](const char* name, const char* parameter) {
      vector(blk + name + ".weight", own + parameter, C);
      if (c.layer_norm()) vector(blk + name + ".bias", own + parameter + "_bias", C);
    };
    norm("attn_norm", "attn_norm");
    // cols 1 is the bias.
    const auto qkv = [&](const char* suffix, const char* parameter, int64_t cols) {
      if (gpt2) return add(blk + "attn_qkv" + suffix, own + parameter, 0, c.qkv_rows(), cols);
      add(blk + "attn_q" + suffix, own + parameter, 0, HD, cols, interleaved);
      add(blk + "attn_k" + suffix, own + parameter, HD, KD, cols, interleaved);
      add(blk + "attn_v" + suffix, own + parameter, HD + KD, KD, cols);
    };
    qkv(".weight", "qkv", C);
    if (c.qkv_bias) qkv(".bias", "qkv_bias", 1);
    if (c.qk_norm) {
      vector(blk + "attn_q_norm.weight", own + "q_norm", D);
      vector(blk + "attn_k_norm.weight", own + "k_norm", D);
    }
    add(blk + "attn_output.weight", own + "out", 0, C, HD);
    if (c.out_bias) vector(blk + "attn_output.bias", own + "out_bias", C);
    if (c.post_norms) vector(blk + "post_attention_norm.weight", own + "attn_post_norm", C);
    norm("ffn_norm", "mlp_norm");
    const auto up = [&](const char* suffix, const char* parameter, int64_t cols) {
      if (c.gated()) add(blk + "ffn_gate" + suffix, own + parameter, 0, F, cols);
      add(blk + "ffn_up" + suffix, own + parameter, c.gated() ? F : 0, F, cols);
    };
    up(".weight", "up", C);
    if (c.mlp_bias) up(".bias", "up_bias", 1);
    add(blk + "ffn_down.weight", own + "down", 0, C, F);
    if (c.mlp_bias) vector(blk + "ffn_down.bias", own + "down_bias", C);
    if (c.post_norms) vector(blk + "post_ffw_norm.weight", own + "mlp_post_norm", C);
  }
  vector("output_norm.weight", "final_norm", C);
  if (c.layer_norm()) vector("output_norm.bias", "final_norm_bias", C);
  if (!c.tied) add("output.weight", "head", 0, c.vocab_size, C);
  return slots;
}

nn::ModelConfig read_gguf_config(const GgufFile& file, ModelFiles* files) {
  const std::string where = file.path().string();
  const std::string_view architecture = file.get_text("general.architecture");
  if (architecture == "gemma" || architecture == "gemma2")
    throw Error("gguf", "{}: general.architecture: got '{}': of the Gemma models only Gemma 3 can be run",
                where, architecture);
  if (architecture != "gpt2" && architecture != "llama" && architecture != "qwen2" &&
      architecture != "qwen3" && architecture != "gemma3")
    throw Error("gguf", "{}: general.architecture: got '{}', expected gpt2, llama, qwen2, qwen3 or gemma3",
                where, printable(architecture));
  if (file.find_integer("split.count").value_or(1) > 1)
    throw Error("gguf", "{}: split.count: got a model in several files, expected one; join them first",
                where);
  const Keys keys(file, architecture);
  nn::ModelConfig c = nn::family_defaults(architecture);
  if (keys.integer("expert_count", 0) > 0)
    throw Error("gguf", "{}: {}: got a mixture of experts, expected none", where, keys.name("expert_count"));
  if (architecture != "gemma3" && keys.integer("attention.sliding_window", 0) > 0)
    throw Error("gguf", "{}: {}: got a window, expected none", where, keys.name("attention.sliding_window"));
  c.n_layer = keys.integer("block_count");
  c.max_positions = keys.integer("context_length");
  c.n_embd = keys.integer("embedding_length");
  c.n_ff = keys.integer("feed_forward_length");
  c.n_head = keys.integer("attention.head_count");
  c.n_kv_head = keys.integer("attention.head_count_kv", c.n_head);
  c.head_dim = head_dim_of(c, file, keys);
  c.norm_eps = keys.number(
      c.layer_norm() ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon", c.norm_eps);
  const auto embedding = file.contents().find_tensor("token_embd.weight");
  if (!embedding || embedding->shape.size() != 2)
    throw Error("gguf", "{}: no tensor 'token_embd.weight' of two dimensions; is this a language model?",
                where);
  c.vocab_size = embedding->shape[0];
  check_vocabulary(c, file, keys);
  if (c.n_layer > file.contents().tensor_count())
    throw Error("gguf", "{}: {}: got {} layers, expected at most one a tensor", where,
                keys.name("block_count"), c.n_layer);
  read_switches(c, file);
  if (c.family == "gemma3") read_gemma(c, file, keys);
  nn::check(c, where);  // before sizes are used
  if (c.rope()) read_rope(c, file, keys);
  nn::check(c, where);
  if (files != nullptr) {
    const auto matrix = file.contents().find_tensor("blk.0.ffn_down.weight");
    files->dtype = matrix && matrix->type == WeightType::bf16 ? kernels::DType::bf16 : kernels::DType::f32;
    read_gguf_token_ids(file, c.vocab_size, *files);
  }
  return c;
}

namespace {

// values (rows, cols) of the slot from the file's tensor.
void unpack_slot(std::span<float> values, const GgufSlot& slot, const GgufTensor& tensor, int64_t head_dim) {
  if (slot.cols == 1) {
    std::vector<float> stored(values.size());
    kernels::dequantize(stored.data(), tensor.bytes.data(), tensor.type, slot.rows);
    for (int64_t r = 0; r < slot.rows; ++r)
      values[static_cast<size_t>(r)] =
          stored[static_cast<size_t>(slot.interleaved ? gguf_row(r, head_dim) : r)];
    return;
  }
  const int64_t row_bytes = kernels::row_bytes(tensor.type, slot.cols);
#pragma omp parallel for schedule(static)
  for (int64_t r = 0; r < slot.rows; ++r) {
    const int64_t from = slot.interleaved ? gguf_row(r, head_dim) : r;
    kernels::dequantize(values.data() + r * slot.cols, tensor.bytes.data() + from * row_bytes, tensor.type,
                        slot.cols);
  }
}

// What a file may hold beside the slots.
bool superfluous(std::string_view name, const nn::ModelConfig& config) {
  return name == "rope_freqs.weight" || (config.tied && name == "output.weight");
}

}  // namespace

void check_gguf_tensors(const GgufFile& file, const nn::ModelConfig& config) {
  const std::vector<GgufSlot> slots = gguf_slots(config);
  std::set<std::string_view> names;
  for (const GgufSlot& slot : slots) {
    file.get_tensor(slot.name, slot.shape());
    names.insert(slot.name);
  }
  for (int64_t i = 0; i < file.contents().tensor_count(); ++i) {
    const std::string_view name = file.contents().tensor(i).name;
    if (!names.contains(name) && !superfluous(name, config))
      throw Error("gguf", "{}: got tensor '{}', which this architecture has no place for",
                  file.path().string(), printable(name));
  }
}

LoadedModel load_gguf(const GgufFile& file, const nn::ParametersOptions& options) {
  LoadedModel model;
  model.config = read_gguf_config(file, &model.files);
  // All shapes before any memory: the file may announce more than it holds.
  check_gguf_tensors(file, model.config);
  const std::vector<GgufSlot> slots = gguf_slots(model.config);
  model.parameters = std::make_unique<nn::Parameters>(model.config, options);
  for (const GgufSlot& slot : slots) {
    const nn::Tensor* t = model.parameters->find(slot.parameter);
    CHECK(t != nullptr && t->cols == slot.cols, "{}", slot.parameter);
    const auto values = model.parameters->master(*t).subspan(static_cast<size_t>(slot.first_row * slot.cols),
                                                             static_cast<size_t>(slot.rows * slot.cols));
    unpack_slot(values, slot, file.get_tensor(slot.name, slot.shape()), model.config.head_dim);
    // Scales are f16, which may be infinite or no number.
    if (!std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); }))
      throw Error("gguf",
                  "{}: tensor '{}': got values that are not finite, expected numbers; the file is damaged",
                  file.path().string(), slot.name);
  }
  model.parameters->refresh_copy();
  return model;
}

}  // namespace tumbler::formats
