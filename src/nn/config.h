// ModelConfig: one description of the transformers that tumbler trains and opens. Families differ in a few
// switches, not in code.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "kernels/dtype.h"

namespace tumbler::nn {

// How much of a layer's activations the forward pass keeps for the backward pass.
//   none   keeps residuals, qkv, attention output and the first half of the MLP; norms, rope and activation
//   functions, which
//          are bound by memory and not by arithmetic, are always computed again
//   block  keeps only the input of each layer and runs the layer's forward pass again: 1/3 more arithmetic
enum class Recomputation { none, block };

// The defaults describe nothing that can be trained: take one of the functions below, or read a Hugging Face
// config.json.
struct ModelConfig {
  std::string family =
      "qwen3";             // gpt2 | llama | qwen2 | qwen3 | gemma3: Hugging Face's `model_type` (gemma3_text)
  int64_t vocab_size = 0;  // V
  int64_t n_embd = 0;      // C
  int64_t n_layer = 0;     // L
  int64_t n_head = 0;      // H
  int64_t n_kv_head = 0;   // KV, divides H
  int64_t head_dim = 0;    // D, even; H*D need not be C
  int64_t n_ff = 0;        // F
  int64_t max_positions = 0;  // longest T
  std::string norm = "rms";   // rms | layer
  double norm_eps = 1e-6;
  std::string mlp = "silu_glu";   // gelu (one matrix up) | silu_glu | gelu_glu (gate and up)
  std::string position = "rope";  // rope | learned
  double rope_theta = 1e6;
  std::string rope_scaling = "none";  // none | linear | llama3
  double rope_factor = 1;
  double rope_low_freq_factor = 1;
  double rope_high_freq_factor = 4;
  int64_t rope_original_positions = 8192;
  double rope_theta_local = 1e4;  // of local layers, whose frequencies are never scaled
  double attention_scale = 0;     // of scores; 0: 1/sqrt(head_dim)
  int64_t sliding_window = 0;     // keys that a local layer sees, itself included; 0: all layers are global
  int64_t global_every = 0;       // layers global_every-1, 2*global_every-1, ... are global, the others local
  double embedding_scale = 1;     // token embeddings are multiplied by it (Gemma: gemma_embedding_scale)
  bool post_norms = false;        // RMSNorm of what attention and MLP put out, before it is added (Gemma)
  bool qk_norm = false;           // RMSNorm over each head of q and k before rope (Qwen3, Gemma 3)
  bool qkv_bias = false;          // Qwen2, GPT-2
  bool out_bias = false;          // attention output: GPT-2
  bool mlp_bias = false;          // GPT-2
  bool tied = true;               // the head is the token embedding

  template <class V>
  void visit_fields(V& v) {
    v("family", family, "gpt2|llama|qwen2|qwen3|gemma3", "Hugging Face model_type");
    v("vocab_size", vocab_size, "tokens", "rows of the token embedding");
    v("n_embd", n_embd, "", "width of the residual stream");
    v("n_layer", n_layer, "", "transformer layers");
    v("n_head", n_head, "", "query heads");
    v("n_kv_head", n_kv_head, "", "key/value heads");
    v("head_dim", head_dim, "", "size of one head");
    v("n_ff", n_ff, "", "inner width of the MLP");
    v("max_positions", max_positions, "tokens", "longest context");
    v("norm", norm, "rms|layer", "kind of normalisation");
    v("norm_eps", norm_eps, "", "added to the variance");
    v("mlp", mlp, "gelu|silu_glu|gelu_glu", "activation, gated or not");
    v("position", position, "rope|learned", "how positions are told");
    v("rope_theta", rope_theta, "", "base of the rotary frequencies");
    v("rope_scaling", rope_scaling, "none|linear|llama3",
      "how rotary frequencies are stretched for long contexts");
    v("rope_factor", rope_factor, "", "stretch of rope_scaling");
    v("rope_low_freq_factor", rope_low_freq_factor, "", "llama3 scaling");
    v("rope_high_freq_factor", rope_high_freq_factor, "", "llama3 scaling");
    v("rope_original_positions", rope_original_positions, "tokens", "llama3 scaling");
    v("rope_theta_local", rope_theta_local, "", "base of the rotary frequencies of local layers");
    v("attention_scale", attention_scale, "", "of attention scores; 0: 1/sqrt(head_dim)");
    v("sliding_window", sliding_window, "tokens", "keys that a local layer sees; 0: all layers are global");
    v("global_every", global_every, "layers", "every so many layers one is global, the others local");
    v("embedding_scale", embedding_scale, "", "factor of token embeddings");
    v("post_norms", post_norms, "", "RMSNorm of what attention and MLP put out");
    v("qk_norm", qk_norm, "", "RMSNorm on each query and key head");
    v("qkv_bias", qkv_bias, "", "bias on queries, keys and values");
    v("out_bias", out_bias, "", "bias on the attention output");
    v("mlp_bias", mlp_bias, "", "biases in the MLP");
    v("tied", tied, "", "output head shares the token embedding");
  }

  int64_t qkv_rows() const noexcept { return (n_head + 2 * n_kv_head) * head_dim; }
  bool gated() const noexcept { return mlp != "gelu"; }
  bool layer_norm() const noexcept { return norm == "layer"; }
  bool rope() const noexcept { return position == "rope"; }
  bool is_local(int64_t layer) const noexcept {
    return sliding_window > 0 && (layer + 1) % global_every != 0;
  }
  double score_scale() const noexcept;  // attention_scale or 1/sqrt(head_dim), rounded to f32
  bool operator==(const ModelConfig&) const = default;
};

// Throws Error where a field is out of range or two fields contradict each other. `where` begins the message.
// Bounds are such that no size computed from a checked config overflows int64_t.
void check(const ModelConfig& config, std::string_view where);

// One dial for models of our own: Qwen3's architecture with n_embd = 64*depth, head_dim 64, depth heads,
// grouped key/value heads (the largest divisor of depth that is at most depth/2), n_ff = 8/3*n_embd rounded
// up to 64, tied.
ModelConfig qwen3_from_depth(int64_t depth, int64_t vocab_size, int64_t max_positions);
// GPT-2 (Radford et al. 2019): gpt2_config(12, 768, 12) is the 124M shape.
ModelConfig gpt2_config(int64_t n_layer, int64_t n_embd, int64_t n_head, int64_t vocab_size = 50257,
                        int64_t max_positions = 1024);
// Gemma's factor of the embeddings: sqrt(n_embd), rounded to bf16 as its embedder does.
double gemma_embedding_scale(int64_t n_embd);
// Keys that a query sees on average in a layer, with one document of T tokens a row.
double mean_keys(const ModelConfig& config, int64_t layer, int64_t T);
// The family's switches (norm, biases, …) without any size: what a reader of config.json or a recipe starts
// from.
ModelConfig family_defaults(std::string_view family);

struct ParameterCount {
  int64_t matrices;    // of the layers
  int64_t embeddings;  // token and learned position embeddings
  int64_t head;        // 0 when tied
  int64_t vectors;     // norms and biases
  int64_t total() const noexcept { return matrices + embeddings + head + vectors; }
};
ParameterCount count_parameters(const ModelConfig& config);

// Floating-point operations that training on one token needs, forward and backward (Chowdhery et al. 2022,
// arXiv:2204.02311, appendix B), with what causality makes unnecessary left out:
//   6 * (matrices + V*C)  +  6 * L * H*D * (T+1)
// Each weight of a matrix or of the head is 2 flop forward and 4 backward; token t attends to t+1 keys,
// (T+1)/2 on average, with 2 products (q k^T, p v) of 2*H*D flop a key forward and twice that backward.
// Recomputation is not counted: it is not needed.
double flops_per_token(const ModelConfig& config, int64_t T);

// Bytes of each part while training on (B, T) at a time; the sum is close to the resident size of the
// process.
struct MemoryEstimate {
  int64_t master, gradients, optimizer, compute_copy, activations;
  int64_t total() const noexcept { return master + gradients + optimizer + compute_copy + activations; }
};
MemoryEstimate estimate_training_memory(const ModelConfig& config, int64_t B, int64_t T, kernels::DType dtype,
                                        Recomputation recomputation);

// A few lines for people: the sizes, what was derived, parameters, flop a token.
std::string describe(const ModelConfig& config);

}  // namespace tumbler::nn
