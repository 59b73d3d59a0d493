#include "nn/config.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/error.h"
#include "nn/activations.h"
#include "nn/arena.h"

namespace tumbler::nn {
namespace {

void in_range(std::string_view where, const char* name, int64_t value, int64_t low, int64_t high) {
  if (value < low || value > high) {
    throw Error(where, "{}: got {}, expected {} to {}", name, value, low, high);
  }
}

void one_of(std::string_view where, const char* name, std::string_view value,
            std::initializer_list<std::string_view> allowed) {
  if (std::find(allowed.begin(), allowed.end(), value) == allowed.end()) {
    throw Error(where, "{}: got '{}', expected one of {}", name, value, fmt::join(allowed, ", "));
  }
}

void positive(std::string_view where, const char* name, double value) {
  if (!(std::isfinite(value) && value > 0))
    throw Error(where, "{}: got {}, expected more than 0", name, value);
}

// What each family's other programs can express; anything else could not be written as their config.json.
void check_family(const ModelConfig& c, std::string_view where) {
  const bool gpt2 = c.family == "gpt2";
  const auto require = [&](bool ok, const char* what) {
    if (!ok) throw Error(where, "family {}: got a different setting, expected {}", c.family, what);
  };
  require(c.layer_norm() == gpt2, gpt2 ? "norm layer" : "norm rms");
  require(c.rope() != gpt2, gpt2 ? "position learned" : "position rope");
  require(c.gated() != gpt2, gpt2 ? "mlp gelu" : "a gated mlp");
  const bool gemma = c.family == "gemma3";
  require(c.qk_norm == (gemma || c.family == "qwen3"), "qk_norm with qwen3 and gemma3 only");
  require(c.post_norms == gemma, "post_norms with gemma3 only");
  require(gemma || (c.attention_scale == 0 && c.sliding_window == 0),
          "attention_scale and sliding_window with gemma3 only");
  require(!gemma || c.mlp == "gelu_glu", "mlp gelu_glu");
  const double scale = gemma ? gemma_embedding_scale(c.n_embd) : 1;
  if (c.embedding_scale != scale)
    throw Error(where, "embedding_scale: got {}, expected {} (family {})", c.embedding_scale, scale,
                c.family);
  if (gpt2) {
    require(c.qkv_bias && c.out_bias && c.mlp_bias, "all biases");
    require(c.n_kv_head == c.n_head && c.n_head * c.head_dim == c.n_embd,
            "n_kv_head = n_head, head_dim = n_embd / n_head");
  } else if (c.family == "qwen2") {
    require(c.qkv_bias && !c.out_bias && !c.mlp_bias, "qkv_bias and no other");
  } else {
    require(c.qkv_bias == c.out_bias, "qkv_bias = out_bias (attention_bias)");
    require(c.family == "llama" || !c.mlp_bias, "no mlp_bias");
  }
}

}  // namespace

void check(const ModelConfig& c, std::string_view where) {
  one_of(where, "family", c.family, {"gpt2", "llama", "qwen2", "qwen3", "gemma3"});
  one_of(where, "norm", c.norm, {"rms", "layer"});
  one_of(where, "mlp", c.mlp, {"gelu", "silu_glu", "gelu_glu"});
  one_of(where, "position", c.position, {"rope", "learned"});
  one_of(where, "rope_scaling", c.rope_scaling, {"none", "linear", "llama3"});
  // The product of any of these that becomes a size stays below 2^56.
  in_range(where, "vocab_size", c.vocab_size, 1, int64_t{1} << 22);
  in_range(where, "n_embd", c.n_embd, 1, 1 << 16);
  in_range(where, "n_layer", c.n_layer, 1, 1024);
  in_range(where, "n_head", c.n_head, 1, 1024);
  in_range(where, "n_kv_head", c.n_kv_head, 1, c.n_head);
  in_range(where, "head_dim", c.head_dim, 1, 1024);
  in_range(where, "n_ff", c.n_ff, 1, 1 << 20);
  in_range(where, "max_positions", c.max_positions, 1, int64_t{1} << 24);
  if (c.n_head % c.n_kv_head != 0) {
    throw Error(where, "n_kv_head: got {}, expected a divisor of n_head {}", c.n_kv_head, c.n_head);
  }
  if (c.rope() && c.head_dim % 2 != 0)
    throw Error(where, "head_dim: got {}, expected an even number", c.head_dim);
  positive(where, "norm_eps", c.norm_eps);
  if (c.attention_scale != 0) positive(where, "attention_scale", c.attention_scale);
  in_range(where, "sliding_window", c.sliding_window, 0, int64_t{1} << 24);
  in_range(where, "global_every", c.global_every, 0, 1 << 16);
  if ((c.sliding_window > 0) != (c.global_every > 1))
    throw Error(where,
                "global_every: got {} with sliding_window {}, expected 2 or more with a window, else 0",
                c.global_every, c.sliding_window);
  if (c.rope()) {
    positive(where, "rope_theta", c.rope_theta);
    positive(where, "rope_theta_local", c.rope_theta_local);
    positive(where, "rope_factor", c.rope_factor);
    if (c.rope_scaling == "llama3") {
      positive(where, "rope_low_freq_factor", c.rope_low_freq_factor);
      if (!(c.rope_high_freq_factor > c.rope_low_freq_factor)) {
        throw Error(where, "rope_high_freq_factor: got {}, expected more than rope_low_freq_factor {}",
                    c.rope_high_freq_factor, c.rope_low_freq_factor);
      }
      in_range(where, "rope_original_positions", c.rope_original_positions, 1, int64_t{1} << 24);
    }
  }
  check_family(c, where);
}

double ModelConfig::score_scale() const noexcept {
  return static_cast<float>(attention_scale != 0 ? attention_scale
                                                 : 1 / std::sqrt(static_cast<double>(head_dim)));
}

double gemma_embedding_scale(int64_t n_embd) {
  return static_cast<double>(
      kernels::to_float(kernels::to_bf16(static_cast<float>(std::sqrt(static_cast<double>(n_embd))))));
}

double mean_keys(const ModelConfig& c, int64_t layer, int64_t T) {
  const auto t = static_cast<double>(T), window = static_cast<double>(c.sliding_window);
  if (!c.is_local(layer) || T <= c.sliding_window) return (t + 1) / 2;
  return window - window * (window - 1) / (2 * t);
}

ModelConfig family_defaults(std::string_view family) {
  ModelConfig c;
  c.family = family;
  if (family == "gpt2") {
    c.norm = "layer";
    c.norm_eps = 1e-5;
    c.mlp = "gelu";
    c.position = "learned";
    c.qkv_bias = c.out_bias = c.mlp_bias = true;
    c.max_positions = 1024;
  } else if (family == "llama") {
    c.norm_eps = 1e-5;
    c.rope_theta = 1e4;
  } else if (family == "qwen2") {
    c.qkv_bias = true;
  } else if (family == "qwen3") {
    c.qk_norm = true;
  } else if (family == "gemma3") {
    c.mlp = "gelu_glu";
    c.qk_norm = c.post_norms = true;
  } else {
    throw Error("nn.config", "family: got '{}', expected one of gpt2, llama, qwen2, qwen3, gemma3", family);
  }
  return c;
}

ModelConfig qwen3_from_depth(int64_t depth, int64_t vocab_size, int64_t max_positions) {
  in_range("nn.config", "depth", depth, 1, 64);
  ModelConfig c = family_defaults("qwen3");
  c.vocab_size = vocab_size;
  c.max_positions = max_positions;
  c.n_layer = depth;
  c.n_embd = 64 * depth;
  c.head_dim = 64;
  c.n_head = depth;
  c.n_kv_head = 1;
  for (int64_t kv = 1; 2 * kv <= depth; ++kv) {
    if (depth % kv == 0) c.n_kv_head = kv;
  }
  c.n_ff = round_up<int64_t>((8 * c.n_embd + 2) / 3, 64);
  // Contexts here are short: a base of 1e4 spends the frequencies on them (Su et al. 2021), 1e6 is for 32k
  // tokens and more.
  c.rope_theta = 1e4;
  check(c, "nn.config");
  return c;
}

ModelConfig gpt2_config(int64_t n_layer, int64_t n_embd, int64_t n_head, int64_t vocab_size,
                        int64_t max_positions) {
  in_range("nn.config", "n_head", n_head, 1, 1024);
  ModelConfig c = family_defaults("gpt2");
  c.vocab_size = vocab_size;
  c.max_positions = max_positions;
  c.n_layer = n_layer;
  c.n_embd = n_embd;
  c.n_head = c.n_kv_head = n_head;
  c.head_dim = n_embd / n_head;
  c.n_ff = 4 * n_embd;
  check(c, "nn.config");
  return c;
}

ParameterCount count_parameters(const ModelConfig& c) {
  const int64_t C = c.n_embd, HD = c.n_head * c.head_dim, F = c.n_ff;
  const int64_t up_rows = c.gated() ? 2 * F : F, norm = c.layer_norm() ? 2 * C : C;
  ParameterCount n{};
  n.matrices = c.n_layer * (c.qkv_rows() * C + C * HD + up_rows * C + C * F);
  n.embeddings = c.vocab_size * C + (c.rope() ? 0 : c.max_positions * C);
  n.head = c.tied ? 0 : c.vocab_size * C;
  int64_t vectors = 2 * norm + (c.post_norms ? 2 * C : 0);
  if (c.qk_norm) vectors += 2 * c.head_dim;
  if (c.qkv_bias) vectors += c.qkv_rows();
  if (c.out_bias) vectors += C;
  if (c.mlp_bias) vectors += up_rows + C;
  n.vectors = c.n_layer * vectors + norm;
  return n;
}

double flops_per_token(const ModelConfig& c, int64_t T) {
  const double products =
      static_cast<double>(count_parameters(c).matrices) + static_cast<double>(c.vocab_size * c.n_embd);
  double keys = 0;
  for (int64_t l = 0; l < c.n_layer; ++l) keys += mean_keys(c, l, T);
  return 6 * products + 12 * keys * static_cast<double>(c.n_head * c.head_dim);
}

MemoryEstimate estimate_training_memory(const ModelConfig& config, int64_t B, int64_t T, kernels::DType dtype,
                                        Recomputation recomputation) {
  const ParameterCount n = count_parameters(config);
  const bool bf16 = dtype == kernels::DType::bf16;
  MemoryEstimate m{};
  m.master = m.gradients = 4 * n.total();
  m.optimizer = 8 * n.total();
  m.compute_copy = bf16 ? 2 * (n.total() - n.vectors) : 0;
  const ActivationShape shape{
      .config = config, .N = B * T, .training = true, .recomputation = recomputation, .chunk_rows = 0};
  m.activations = bf16 ? activation_bytes<kernels::bf16>(shape) : activation_bytes<float>(shape);
  return m;
}

std::string describe(const ModelConfig& c) {
  const ParameterCount n = count_parameters(c);
  std::string text = fmt::format(
      "{}: {} layers, width {}, {} heads of {} ({} key/value), MLP {} ({}), vocabulary {}, context {}{}\n",
      c.family, c.n_layer, c.n_embd, c.n_head, c.head_dim, c.n_kv_head, c.n_ff, c.mlp, c.vocab_size,
      c.max_positions, c.tied ? ", tied" : "");
  text += fmt::format(
      "{:.2f} M parameters: {:.2f} M in matrices, {:.2f} M in embeddings and head; {:.1f} Mflop a token at "
      "T={}",
      n.total() / 1e6, n.matrices / 1e6, (n.embeddings + n.head) / 1e6,
      flops_per_token(c, c.max_positions) / 1e6, c.max_positions);
  return text;
}

}  // namespace tumbler::nn
