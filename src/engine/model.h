// Model: weights as decoding reads them, packed for the kernels (kernels/packed.h) and in the type that their
// file has.
//
//   Model model(parameters);     // what a training run holds, in f32 or bf16
//   model.update(parameters);    // the same after some more steps
//   Model model(config, sources);  // straight from 4 or 8 bits, never as f32: formats::load_packed_gguf
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kernels/packed.h"
#include "nn/arena.h"
#include "nn/config.h"
#include "nn/parameters.h"

namespace tumbler::engine {

// One matrix of a layer, whose rows may come from several of the file: queries, keys and values, each in a
// type of its own.
struct Linear {
  struct Part {
    kernels::PackedWeights weights;
    int64_t first_row;
  };
  std::vector<Part> parts;
  std::vector<float> bias;  // (rows) or empty
  int64_t rows = 0, cols = 0;
  bool quantised() const noexcept;
};

// Absent vectors are empty. See nn::LayerWeights.
struct Layer {
  std::vector<float> attn_norm, attn_norm_bias, q_norm, k_norm, attn_post_norm;
  std::vector<float> mlp_norm, mlp_norm_bias, mlp_post_norm;
  Linear qkv, out, up, down;
};

// A tensor's values, or some of its rows: of a file or of parameters.
struct WeightSource {
  std::string parameter;            // nn::Parameters' name: "layers.3.qkv"
  int64_t first_row;                // in that tensor
  kernels::PackedMatrix matrix;     // cols 1: a vector
  std::vector<int32_t> order = {};  // row r of ours is row order[r] of the matrix; empty: as they are
};

class Model {
 public:
  // In parameters.dtype(). Throws Error where memory cannot be had.
  explicit Model(const nn::Parameters& parameters);
  // From a mapped file, which may be closed afterwards; every tensor of the config must be there. Throws
  // Error on weights that are not finite.
  Model(const nn::ModelConfig& config, std::span<const WeightSource> sources);
  Model(Model&&) noexcept = default;
  Model& operator=(Model&&) noexcept = default;

  // Takes over new values. CHECKs that the configuration is the one it was made with.
  void update(const nn::Parameters& parameters);

  const nn::ModelConfig& config() const noexcept { return config_; }
  const std::vector<Layer>& layers() const noexcept { return layers_; }
  const kernels::PackedWeights& embedding() const noexcept { return embedding_; }
  const std::vector<float>& positions() const noexcept { return positions_; }  // (max_positions, C) or empty
  const std::vector<float>& final_norm() const noexcept { return final_norm_; }
  const std::vector<float>& final_norm_bias() const noexcept { return final_norm_bias_; }
  const Linear& head() const noexcept { return head_; }

  // Bytes of the packed weights: what is read for each token.
  int64_t weight_bytes() const noexcept { return arena_.size_bytes(); }
  // "q8_0", or "q4_k (157), q6_k (12)" by number of matrices.
  std::string weight_types() const;

 private:
  void lay_out(std::span<const WeightSource> sources);
  void load(std::span<const WeightSource> sources, bool in_file);
  void load_matrix(const WeightSource& source);
  void load_vector(const WeightSource& source);
  Linear& linear(const std::string& parameter);
  std::vector<float>& vector(const std::string& parameter);
  static std::vector<WeightSource> sources(const nn::Parameters& parameters);

  nn::ModelConfig config_;
  nn::Arena arena_;
  std::vector<Layer> layers_;
  kernels::PackedWeights embedding_;
  std::vector<float> positions_, final_norm_, final_norm_bias_;
  Linear head_;
};

}  // namespace tumbler::engine
