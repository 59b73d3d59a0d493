#include "engine/model.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>

#include <fmt/format.h>

#include "base/check.h"
#include "base/error.h"
#include "io/file.h"
#include "kernels/packed_layout.h"

namespace tumbler::engine {
namespace {

using kernels::PackedWeights;
using kernels::WeightType;

// "layers.12.qkv" → 12, "qkv".
struct LayerName {
  int64_t layer;
  std::string_view name;
};
LayerName split_name(std::string_view parameter) {
  const size_t dot = parameter.rfind('.');
  LayerName out{-1, parameter.substr(dot + 1)};
  const std::string_view number = parameter.substr(7, dot - 7);
  std::from_chars(number.data(), number.data() + number.size(), out.layer);
  return out;
}
bool of_layer(std::string_view parameter) {
  return parameter.starts_with("layers.");
}
bool is_embedding(std::string_view parameter) {
  return parameter == "embedding";
}

}  // namespace

bool Linear::quantised() const noexcept {
  return std::any_of(parts.begin(), parts.end(),
                     [](const Part& p) { return kernels::is_quantised(p.weights.type); });
}

std::vector<WeightSource> Model::sources(const nn::Parameters& parameters) {
  std::vector<WeightSource> out;
  for (const nn::Tensor& t : parameters.tensors()) {
    // Learned positions are added in f32; vectors are read in f32 anyway.
    const bool rounded =
        parameters.dtype() == kernels::DType::bf16 && t.copy_offset >= 0 && t.name != "positions";
    const auto bytes = rounded ? std::as_bytes(const_cast<nn::Parameters&>(parameters).copy(t))
                               : std::as_bytes(parameters.master(t));
    out.push_back({t.name, 0, {rounded ? WeightType::bf16 : WeightType::f32, t.rows, t.cols, bytes}});
  }
  return out;
}

Model::Model(const nn::Parameters& parameters) : config_(parameters.config()) {
  const std::vector<WeightSource> all = sources(parameters);
  lay_out(all);
  load(all, false);
}

Model::Model(const nn::ModelConfig& config, std::span<const WeightSource> sources) : config_(config) {
  lay_out(sources);
  load(sources, true);
}

void Model::update(const nn::Parameters& parameters) {
  CHECK(parameters.config() == config_);
  load(sources(parameters), false);
}

Linear& Model::linear(const std::string& parameter) {
  if (!of_layer(parameter)) return head_;
  const LayerName name = split_name(parameter);
  Layer& layer = layers_.at(static_cast<size_t>(name.layer));
  if (name.name == "qkv" || name.name == "qkv_bias") return layer.qkv;
  if (name.name == "out" || name.name == "out_bias") return layer.out;
  if (name.name == "up" || name.name == "up_bias") return layer.up;
  CHECK(name.name == "down" || name.name == "down_bias", "{}", parameter);
  return layer.down;
}

std::vector<float>& Model::vector(const std::string& parameter) {
  if (parameter == "positions") return positions_;
  if (parameter == "final_norm") return final_norm_;
  if (parameter == "final_norm_bias") return final_norm_bias_;
  const LayerName name = split_name(parameter);
  Layer& layer = layers_.at(static_cast<size_t>(name.layer));
  const std::map<std::string_view, std::vector<float>*> norms = {{"attn_norm", &layer.attn_norm},
                                                                 {"attn_norm_bias", &layer.attn_norm_bias},
                                                                 {"attn_post_norm", &layer.attn_post_norm},
                                                                 {"q_norm", &layer.q_norm},
                                                                 {"k_norm", &layer.k_norm},
                                                                 {"mlp_norm", &layer.mlp_norm},
                                                                 {"mlp_norm_bias", &layer.mlp_norm_bias},
                                                                 {"mlp_post_norm", &layer.mlp_post_norm}};
  const auto found = norms.find(name.name);
  return found != norms.end() ? *found->second : linear(parameter).bias;
}

// Places for all matrices, and vectors of the right length.
void Model::lay_out(std::span<const WeightSource> all) {
  layers_.resize(static_cast<size_t>(config_.n_layer));
  nn::ArenaLayout sizes;
  for (const WeightSource& s : all)
    if (s.matrix.cols > 1 && s.parameter != "positions")
      sizes.take<std::byte>(kernels::packed_bytes(s.matrix.type, s.matrix.rows, s.matrix.cols));
  arena_ = nn::Arena(sizes.size_bytes());
  nn::ArenaLayout views(&arena_);
  for (const WeightSource& s : all) {
    const int64_t rows = s.matrix.rows, cols = s.matrix.cols;
    if (cols == 1 || s.parameter == "positions") {
      std::vector<float>& values = vector(s.parameter);
      values.resize(std::max(values.size(), static_cast<size_t>((s.first_row + rows) * cols)));
      continue;
    }
    const PackedWeights weights{
        s.matrix.type, rows, cols,
        views.take<std::byte>(kernels::packed_bytes(s.matrix.type, rows, cols)).data()};
    if (is_embedding(s.parameter)) {
      embedding_ = weights;
      continue;
    }
    Linear& to = linear(s.parameter);
    to.parts.push_back({weights, s.first_row});
    to.rows = std::max(to.rows, s.first_row + rows);
    to.cols = cols;
  }
  if (config_.tied) head_ = {{{embedding_, 0}}, {}, embedding_.rows, embedding_.cols};
}

void Model::load(std::span<const WeightSource> all, bool in_file) {
  for (const WeightSource& s : all) {
    if (s.matrix.cols == 1 || s.parameter == "positions")
      load_vector(s);
    else
      load_matrix(s);
    if (in_file) io::release_pages(s.matrix.bytes);
  }
}

void Model::load_vector(const WeightSource& s) {
  std::vector<float> stored(static_cast<size_t>(s.matrix.rows * s.matrix.cols));
  kernels::dequantize(stored.data(), s.matrix.bytes.data(), s.matrix.type, s.matrix.rows * s.matrix.cols);
  if (!std::all_of(stored.begin(), stored.end(), [](float x) { return std::isfinite(x); }))
    throw Error("model", "{}: got values that are not finite, expected numbers; the file is damaged",
                s.parameter);
  float* to = vector(s.parameter).data() + s.first_row * s.matrix.cols;
  for (size_t i = 0; i < stored.size(); ++i)
    to[i] = stored[s.order.empty() ? i : static_cast<size_t>(s.order[i])];
}

void Model::load_matrix(const WeightSource& s) {
  PackedWeights weights = embedding_;
  if (!is_embedding(s.parameter))
    for (const Linear::Part& part : linear(s.parameter).parts)
      if (part.first_row == s.first_row) weights = part.weights;
  kernels::pack(weights, s.matrix, s.order);
  if (!kernels::is_finite(weights))
    throw Error("model", "{}: got values that are not finite, expected numbers; the file is damaged",
                s.parameter);
}

std::string Model::weight_types() const {
  std::map<WeightType, int> counts;
  const auto count = [&](const Linear& linear) {
    for (const Linear::Part& part : linear.parts) ++counts[part.weights.type];
  };
  for (const Layer& layer : layers_) {
    count(layer.qkv);
    count(layer.out);
    count(layer.up);
    count(layer.down);
  }
  count(head_);
  if (counts.size() == 1) return kernels::weight_type_name(counts.begin()->first);
  std::string text;
  for (const auto& [type, n] : counts)
    text += fmt::format("{}{} ({})", text.empty() ? "" : ", ", kernels::weight_type_name(type), n);
  return text;
}

}  // namespace tumbler::engine
