// save_gguf: nn::Parameters → a GGUF file.
#include <algorithm>
#include <cmath>
#include <map>

#include "base/check.h"
#include "base/error.h"
#include "formats/gguf_model.h"
#include "formats/gguf_rope.h"
#include "formats/gguf_tokenizer.h"

namespace tumbler::formats {
namespace {

using kernels::WeightType;

// general.file_type, which says what most tensors are.
int64_t file_type(WeightType type) {
  switch (type) {
    case WeightType::f32:
      return 0;
    case WeightType::f16:
      return 1;
    case WeightType::q4_0:
      return 2;
    case WeightType::q4_1:
      return 3;
    case WeightType::q8_0:
      return 7;
    case WeightType::q5_0:
      return 8;
    case WeightType::q5_1:
      return 9;
    case WeightType::q4_k:
      return 14;
    case WeightType::q5_k:
      return 16;
    case WeightType::q6_k:
      return 18;
    case WeightType::bf16:
      return 32;
  }
  return 0;
}

bool four_bits(WeightType type) {
  return type == WeightType::q4_0 || type == WeightType::q4_1 || type == WeightType::q4_k;
}

WeightType fallback(WeightType type) {
  switch (type) {
    case WeightType::q4_k:
      return WeightType::q5_0;
    case WeightType::q5_k:
      return WeightType::q5_1;
    case WeightType::q6_k:
      return WeightType::q8_0;
    default:
      return WeightType::f16;
  }
}

struct Choice {
  WeightType type;
  std::string reason;  // where it is not the one asked for, or for vectors
};
Choice choose_type(const GgufSlot& slot, const nn::ModelConfig& config, WeightType wanted) {
  if (slot.cols == 1 || slot.parameter == "positions") return {WeightType::f32, ""};
  Choice choice{wanted, ""};
  const bool head = slot.parameter == "head" || (config.tied && slot.parameter == "embedding");
  if (head && four_bits(wanted)) choice = {WeightType::q6_k, "the head, whose errors are every token's"};
  while (slot.cols % kernels::block_elements(choice.type) != 0)
    choice = {fallback(choice.type), fmt::format("rows of {} are not a multiple of {}", slot.cols,
                                                 kernels::block_elements(choice.type))};
  return choice;
}

void set_rope(GgufWriter& w, const nn::ModelConfig& c, const std::string& prefix) {
  w.set_u32(prefix + "rope.dimension_count", c.head_dim);
  w.set_f32(prefix + "rope.freq_base", c.rope_theta);
  if (c.rope_scaling == "linear") {
    w.set_text(prefix + "rope.scaling.type", "linear");
    w.set_f32(prefix + "rope.scaling.factor", c.rope_factor);
  } else if (c.rope_scaling == "llama3") {
    // The divisors of rope_freqs.weight are what others use; these tell where they came from.
    w.set_u32(prefix + "rope.scaling.original_context_length", c.rope_original_positions);
    w.set_f32(prefix + "rope.scaling.low_freq_factor", c.rope_low_freq_factor);
    w.set_f32(prefix + "rope.scaling.high_freq_factor", c.rope_high_freq_factor);
  }
}

// llama.cpp's older versions know only windows with every 6th layer global and 1e4; newer ones read the rest.
void set_window(GgufWriter& w, const nn::ModelConfig& c, const std::string& prefix) {
  w.set_u32(prefix + "attention.sliding_window", c.sliding_window);
  w.set_u32(prefix + "attention.sliding_window_pattern", c.global_every);
  w.set_f32(prefix + "rope.freq_base_swa", c.rope_theta_local);
}

void set_config(GgufWriter& w, const nn::ModelConfig& c, const GgufOptions& options) {
  const std::string prefix = c.family + ".";
  w.set_text("general.architecture", c.family);
  w.set_text("general.type", "model");
  if (!options.name.empty()) w.set_text("general.name", options.name);
  w.set_u32("general.file_type", file_type(options.type));
  w.set_u32("general.quantization_version", 2);
  w.set_u32(prefix + "block_count", c.n_layer);
  w.set_u32(prefix + "context_length", c.max_positions);
  w.set_u32(prefix + "embedding_length", c.n_embd);
  w.set_u32(prefix + "feed_forward_length", c.n_ff);
  w.set_u32(prefix + "vocab_size", c.vocab_size);
  w.set_u32(prefix + "attention.head_count", c.n_head);
  w.set_u32(prefix + "attention.head_count_kv", c.n_kv_head);
  if (c.layer_norm()) {
    w.set_f32(prefix + "attention.layer_norm_epsilon", c.norm_eps);
  } else {
    w.set_f32(prefix + "attention.layer_norm_rms_epsilon", c.norm_eps);
    w.set_u32(prefix + "attention.key_length", c.head_dim);
    w.set_u32(prefix + "attention.value_length", c.head_dim);
  }
  if (c.rope()) set_rope(w, c, prefix);
  if (c.sliding_window > 0) set_window(w, c, prefix);
}

// What llama.cpp would run wrongly without a word.
void check_runnable(const nn::ModelConfig& c) {
  if (c.family == "gemma3") {
    if (static_cast<float>(c.score_scale()) != static_cast<float>(gguf_gemma_score_scale(c)))
      throw Error("gguf", "attention_scale: got {}, expected {}: GGUF's gemma3 architecture has no other",
                  c.score_scale(), gguf_gemma_score_scale(c));
    if (c.qkv_bias) throw Error("gguf", "qkv_bias: got true, expected none in GGUF's gemma3 architecture");
  } else if (c.mlp == "gelu_glu")
    throw Error("gguf", "mlp: got gelu_glu, expected silu_glu: GGUF's {} architecture has no other",
                c.family);
  if (c.rope_scaling == "llama3" && c.family != "llama")
    throw Error("gguf",
                "rope_scaling: got llama3, expected none or linear: GGUF's {} architecture has no other",
                c.family);
}

void check_finite(std::span<const float> values, const std::string& name) {
  if (!std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); }))
    throw Error("gguf", "tensor '{}': got values that are not finite, expected numbers; the model is damaged",
                name);
}

// The slot's rows in the file's order, packed, some at a time.
void pack_slot(const GgufWriter::Sink& sink, std::span<const float> values, const GgufSlot& slot,
               WeightType type, int64_t head_dim) {
  if (slot.cols == 1) {
    std::vector<float> turned(values.begin(), values.end());
    if (slot.interleaved)
      for (int64_t r = 0; r < slot.rows; ++r)
        turned[static_cast<size_t>(gguf_row(r, head_dim))] = values[static_cast<size_t>(r)];
    return sink(std::as_bytes(std::span(turned)));
  }
  const int64_t row_bytes = kernels::row_bytes(type, slot.cols);
  // A whole head at a time, as interleaving stays within one, and about 4 MB.
  const int64_t step = std::max<int64_t>(1, (4 << 20) / (row_bytes * head_dim)) * head_dim;
  std::vector<std::byte> packed(static_cast<size_t>(std::min(step, slot.rows) * row_bytes));
  for (int64_t begin = 0; begin < slot.rows; begin += step) {
    const int64_t end = std::min(slot.rows, begin + step);
#pragma omp parallel for schedule(static)
    for (int64_t r = begin; r < end; ++r) {
      const int64_t to = slot.interleaved ? gguf_row(r, head_dim) : r;
      kernels::quantize(packed.data() + (to - begin) * row_bytes, values.data() + r * slot.cols, type,
                        slot.cols);
    }
    sink({packed.data(), static_cast<size_t>((end - begin) * row_bytes)});
  }
}

}  // namespace

GgufSummary save_gguf(const std::filesystem::path& path, const nn::Parameters& parameters,
                      const ModelFiles& files, const tokens::Tokenizer* tokenizer,
                      const GgufOptions& options) {
  const nn::ModelConfig& config = parameters.config();
  check_runnable(config);
  GgufWriter writer;
  set_config(writer, config, options);
  if (tokenizer != nullptr)
    write_gguf_tokenizer(writer, *tokenizer, config.vocab_size, files, options.chat_template);
  std::map<WeightType, int64_t> types;
  std::map<std::pair<WeightType, std::string>, int64_t> reasons;
  if (config.rope_scaling == "llama3") {
    const std::vector<float> divisors = rope_divisors(config);
    writer.add("rope_freqs.weight", {static_cast<int64_t>(divisors.size())}, WeightType::f32,
               [divisors](const GgufWriter::Sink& sink) { sink(std::as_bytes(std::span(divisors))); });
    ++types[WeightType::f32];
  }
  for (const GgufSlot& slot : gguf_slots(config)) {
    const nn::Tensor* t = parameters.find(slot.parameter);
    CHECK(t != nullptr && t->cols == slot.cols, "{}", slot.parameter);
    const std::span<const float> values = parameters.master(*t).subspan(
        static_cast<size_t>(slot.first_row * slot.cols), static_cast<size_t>(slot.rows * slot.cols));
    check_finite(values, slot.name);
    const Choice choice = choose_type(slot, config, options.type);
    ++types[choice.type];
    if (!choice.reason.empty()) ++reasons[{choice.type, choice.reason}];
    writer.add(slot.name, slot.shape(), choice.type,
               [values, slot, type = choice.type, head_dim = config.head_dim](const GgufWriter::Sink& sink) {
                 pack_slot(sink, values, slot, type, head_dim);
               });
  }
  writer.write(path);
  GgufSummary summary{.size_bytes = static_cast<int64_t>(std::filesystem::file_size(path)),
                      .tensors = {types.begin(), types.end()},
                      .fallbacks = {}};
  for (const auto& [key, count] : reasons)
    summary.fallbacks.push_back(
        fmt::format("{} × {}: {}", count, kernels::weight_type_name(key.first), key.second));
  if (tokenizer != nullptr && tokenizer->parts().kind == tokens::TokenizerKind::kUnigram &&
      !tokenizer->parts().byte_tokens.empty())
    summary.fallbacks.emplace_back(
        "a character without a token is its bytes here, and the unknown token in llama.cpp, which reads no "
        "bytes in unigram vocabularies");
  return summary;
}

}  // namespace tumbler::formats
