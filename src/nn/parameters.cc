#include "nn/parameters.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include <fmt/format.h>

#include "base/check.h"
#include "base/rng.h"
#include "kernels/activation.h"

namespace tumbler::nn {
namespace {

using kernels::bf16;
using kernels::DType;

constexpr int64_t kFloatsPerLine = kArenaAlignment / static_cast<int64_t>(sizeof(float));

// FNV-1a: a stream number that depends on the tensor's name and on nothing else.
uint64_t hash_name(std::string_view name) noexcept {
  uint64_t hash = 0xcbf29ce484222325ull;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return hash;
}

// Normal numbers, cut at `cut` standard deviations. Blocks have streams of their own, so that threads may
// share a tensor.
void fill_normal(std::span<float> values, uint64_t seed, std::string_view name, double deviation,
                 double cut) {
  constexpr int64_t kBlock = 1 << 16;
  const auto n = static_cast<int64_t>(values.size());
  const uint64_t stream = hash_name(name);
#pragma omp parallel for schedule(static)
  for (int64_t block = 0; block < (n + kBlock - 1) / kBlock; ++block) {
    Rng rng(seed, stream + static_cast<uint64_t>(block));
    for (int64_t i = block * kBlock; i < std::min(n, (block + 1) * kBlock); ++i) {
      double x = rng.normal();
      while (std::abs(x) > cut) x = rng.normal();
      values[static_cast<size_t>(i)] = static_cast<float>(x * deviation);
    }
  }
}

double deviation_of(const Tensor& tensor, const ModelConfig& config) {
  constexpr double kGpt2 = 0.02;
  if (config.family == "gpt2")
    return tensor.residual_projection ? kGpt2 / std::sqrt(2.0 * static_cast<double>(config.n_layer)) : kGpt2;
  if (tensor.kind != TensorKind::matrix) return kGpt2;
  // Layers start as nothing beside the embeddings, which their outputs of size 1 would drown
  // (docs/decisions.md). A norm after them makes any size 1, and has no useful gradient at nothing.
  return tensor.residual_projection && !config.post_norms ? 0
                                                          : 1 / std::sqrt(static_cast<double>(tensor.cols));
}

}  // namespace

Parameters::Parameters(const ModelConfig& config, const ParametersOptions& options)
    : config_(config), options_(options) {
  check(config_, "nn.parameters");
  lay_out();
  master_ = Arena(size_ * static_cast<int64_t>(sizeof(float)));
  if (options_.gradients) gradients_ = Arena(size_ * static_cast<int64_t>(sizeof(float)));
  if (options_.dtype == DType::bf16) copy_ = Arena(copy_size_ * static_cast<int64_t>(sizeof(bf16)));
  bind(layers_f32_, model_f32_);
  if (options_.dtype == DType::bf16) bind(layers_bf16_, model_bf16_);
  if (options_.gradients) bind_gradients();
}

void Parameters::add(std::string name, TensorKind kind, int64_t rows, int64_t cols,
                     std::vector<RowSlice> slices, bool residual) {
  const bool copied = kind != TensorKind::norm && kind != TensorKind::bias;
  Tensor& t = tensors_.emplace_back(Tensor{.name = std::move(name),
                                           .kind = kind,
                                           .rows = rows,
                                           .cols = cols,
                                           .offset = size_,
                                           .copy_offset = copied ? copy_size_ : -1,
                                           .slices = std::move(slices),
                                           .residual_projection = residual});
  size_ += round_up(t.size(), kFloatsPerLine);
  // 64-byte alignment of bf16 takes twice as many elements.
  if (copied) copy_size_ += round_up(t.size(), 2 * kFloatsPerLine);
}

void Parameters::lay_out() {
  const ModelConfig& c = config_;
  const int64_t C = c.n_embd, F = c.n_ff, D = c.head_dim, HD = c.n_head * D, KD = c.n_kv_head * D;
  using enum TensorKind;
  const auto whole = [](std::string name, int64_t rows) {
    return std::vector<RowSlice>{{std::move(name), 0, rows}};
  };
  add("embedding", embedding, c.vocab_size, C, whole("model.embed_tokens.weight", c.vocab_size));
  if (!c.rope())
    add("positions", embedding, c.max_positions, C, whole("model.embed_positions.weight", c.max_positions));
  for (int64_t l = 0; l < c.n_layer; ++l) {
    const std::string own = fmt::format("layers.{}.", l), hf = fmt::format("model.layers.{}.", l);
    const auto norm_pair = [&](const char* name, const char* file_name) {
      add(own + name, norm, C, 1, whole(hf + file_name + ".weight", C));
      if (c.layer_norm()) add(own + name + "_bias", bias, C, 1, whole(hf + file_name + ".bias", C));
    };
    const auto qkv_slices = [&](const char* suffix) {
      return std::vector<RowSlice>{{hf + "self_attn.q_proj" + suffix, 0, HD},
                                   {hf + "self_attn.k_proj" + suffix, HD, KD},
                                   {hf + "self_attn.v_proj" + suffix, HD + KD, KD}};
    };
    const auto up_slices = [&](const char* suffix) {
      if (!c.gated()) return whole(hf + "mlp.up_proj" + suffix, F);
      return std::vector<RowSlice>{{hf + "mlp.gate_proj" + suffix, 0, F},
                                   {hf + "mlp.up_proj" + suffix, F, F}};
    };
    const int64_t up_rows = c.gated() ? 2 * F : F;
    norm_pair("attn_norm", "input_layernorm");
    add(own + "qkv", matrix, c.qkv_rows(), C, qkv_slices(".weight"));
    if (c.qkv_bias) add(own + "qkv_bias", bias, c.qkv_rows(), 1, qkv_slices(".bias"));
    if (c.qk_norm) {
      add(own + "q_norm", norm, D, 1, whole(hf + "self_attn.q_norm.weight", D));
      add(own + "k_norm", norm, D, 1, whole(hf + "self_attn.k_norm.weight", D));
    }
    add(own + "out", matrix, C, HD, whole(hf + "self_attn.o_proj.weight", C), true);
    if (c.out_bias) add(own + "out_bias", bias, C, 1, whole(hf + "self_attn.o_proj.bias", C));
    if (c.post_norms)
      add(own + "attn_post_norm", norm, C, 1, whole(hf + "post_attention_layernorm.weight", C));
    norm_pair("mlp_norm", c.post_norms ? "pre_feedforward_layernorm" : "post_attention_layernorm");
    add(own + "up", matrix, up_rows, C, up_slices(".weight"));
    if (c.mlp_bias) add(own + "up_bias", bias, up_rows, 1, up_slices(".bias"));
    add(own + "down", matrix, C, F, whole(hf + "mlp.down_proj.weight", C), true);
    if (c.mlp_bias) add(own + "down_bias", bias, C, 1, whole(hf + "mlp.down_proj.bias", C));
    if (c.post_norms)
      add(own + "mlp_post_norm", norm, C, 1, whole(hf + "post_feedforward_layernorm.weight", C));
  }
  add("final_norm", norm, C, 1, whole("model.norm.weight", C));
  if (c.layer_norm()) add("final_norm_bias", bias, C, 1, whole("model.norm.bias", C));
  if (!c.tied) add("head", head, c.vocab_size, C, whole("lm_head.weight", c.vocab_size));
}

const Tensor* Parameters::find(std::string_view name) const noexcept {
  const auto found =
      std::find_if(tensors_.begin(), tensors_.end(), [&](const Tensor& t) { return t.name == name; });
  return found != tensors_.end() ? &*found : nullptr;
}

int64_t Parameters::count() const noexcept {
  int64_t count = 0;
  for (const Tensor& t : tensors_) count += t.size();
  return count;
}

std::span<bf16> Parameters::copy(const Tensor& t) noexcept {
  if (options_.dtype != DType::bf16 || t.copy_offset < 0) return {};
  return copy_.view<bf16>(t.copy_offset * static_cast<int64_t>(sizeof(bf16)), t.size());
}

void Parameters::zero_gradients() noexcept {
  const std::span<float> all = gradients();
  const auto n = static_cast<int64_t>(all.size());
  constexpr int64_t kBlock = 1 << 18;
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < n; i += kBlock)
    std::memset(all.data() + i, 0, static_cast<size_t>(std::min(kBlock, n - i)) * sizeof(float));
}

void Parameters::initialize(uint64_t seed) {
  for (const Tensor& t : tensors_) {
    const std::span<float> values = master(t);
    if (t.kind == TensorKind::norm)
      std::fill(values.begin(), values.end(), 1.0f);
    else if (t.kind == TensorKind::bias)
      std::fill(values.begin(), values.end(), 0.0f);
    else
      fill_normal(values, seed, t.name, deviation_of(t, config_), config_.family == "gpt2" ? 1e9 : 3.0);
  }
  refresh_copy();
}

void Parameters::refresh_copy() {
  if (options_.dtype != DType::bf16) return;
  for (const Tensor& t : tensors_) {
    const std::span<bf16> target = copy(t);
    if (!target.empty()) kernels::to_bf16(target.data(), master(t).data(), t.size());
  }
}

namespace {

// Tensor named `name` as a span<const T>, empty where the model has none.
template <class T>
std::span<const T> weight_view(Parameters& p, const std::string& name) {
  const Tensor* t = p.find(name);
  if (t == nullptr) return {};
  if constexpr (std::is_same_v<T, float>)
    return p.master(*t);
  else
    return p.copy(*t);
}

}  // namespace

template <class T>
void Parameters::bind(std::vector<LayerWeights<T>>& layers, ModelWeights<T>& model) {
  for (int64_t l = 0; l < config_.n_layer; ++l) {
    const auto f = [&](const char* name) {
      return weight_view<float>(*this, fmt::format("layers.{}.{}", l, name));
    };
    const auto w = [&](const char* name) {
      return weight_view<T>(*this, fmt::format("layers.{}.{}", l, name));
    };
    layers.push_back({.attn_norm = f("attn_norm"),
                      .attn_norm_bias = f("attn_norm_bias"),
                      .qkv = w("qkv"),
                      .qkv_bias = f("qkv_bias"),
                      .q_norm = f("q_norm"),
                      .k_norm = f("k_norm"),
                      .out = w("out"),
                      .out_bias = f("out_bias"),
                      .attn_post_norm = f("attn_post_norm"),
                      .mlp_norm = f("mlp_norm"),
                      .mlp_norm_bias = f("mlp_norm_bias"),
                      .up = w("up"),
                      .up_bias = f("up_bias"),
                      .down = w("down"),
                      .down_bias = f("down_bias"),
                      .mlp_post_norm = f("mlp_post_norm")});
  }
  model = {.embedding = weight_view<T>(*this, "embedding"),
           .positions = weight_view<T>(*this, "positions"),
           .final_norm = weight_view<float>(*this, "final_norm"),
           .final_norm_bias = weight_view<float>(*this, "final_norm_bias"),
           .head = weight_view<T>(*this, config_.tied ? "embedding" : "head")};
}

void Parameters::bind_gradients() {
  const auto view = [&](const std::string& name) {
    const Tensor* t = find(name);
    return t != nullptr ? gradient(*t) : std::span<float>();
  };
  for (int64_t l = 0; l < config_.n_layer; ++l) {
    const auto g = [&](const char* name) { return view(fmt::format("layers.{}.{}", l, name)); };
    layer_gradients_.push_back({.attn_norm = g("attn_norm"),
                                .attn_norm_bias = g("attn_norm_bias"),
                                .qkv = g("qkv"),
                                .qkv_bias = g("qkv_bias"),
                                .q_norm = g("q_norm"),
                                .k_norm = g("k_norm"),
                                .out = g("out"),
                                .out_bias = g("out_bias"),
                                .attn_post_norm = g("attn_post_norm"),
                                .mlp_norm = g("mlp_norm"),
                                .mlp_norm_bias = g("mlp_norm_bias"),
                                .up = g("up"),
                                .up_bias = g("up_bias"),
                                .down = g("down"),
                                .down_bias = g("down_bias"),
                                .mlp_post_norm = g("mlp_post_norm")});
  }
  model_gradients_ = {.embedding = view("embedding"),
                      .positions = view("positions"),
                      .final_norm = view("final_norm"),
                      .final_norm_bias = view("final_norm_bias"),
                      .head = view(config_.tied ? "embedding" : "head")};
}

template <>
const std::vector<LayerWeights<float>>& Parameters::layers<float>() const noexcept {
  return layers_f32_;
}
template <>
const std::vector<LayerWeights<bf16>>& Parameters::layers<bf16>() const noexcept {
  return layers_bf16_;
}
template <>
const ModelWeights<float>& Parameters::model<float>() const noexcept {
  return model_f32_;
}
template <>
const ModelWeights<bf16>& Parameters::model<bf16>() const noexcept {
  return model_bf16_;
}

}  // namespace tumbler::nn
