// Inspector: what goes on inside a model that reads some tokens. One pass of its own for each question,
// beside what the model does otherwise: decoding does not know of it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/model.h"
#include "engine/sampler.h"

namespace tumbler::engine {

// What a model would say if it ended after a layer: its head on what the layer leaves (the logit lens,
// nostalgebraist 2020, lesswrong.com/posts/AcKRB8wDpdaN6v6ru).
struct LensCell {
  std::vector<Candidate> top;  // likeliest first
  float norm;                  // of the residual stream there, its Euclidean length
};

class Inspector {
 public:
  static constexpr int64_t kMaxTokens = 512;

  // The model must outlive this.
  explicit Inspector(const Model& model) : model_(model) {}
  // (layers, tokens). Throws Error where there are no tokens, too many, or wrong ids.
  std::vector<std::vector<LensCell>> lens(std::span<const int32_t> tokens, int64_t top) const;
  // Attention of a layer: (heads, tokens that read, tokens that are read), rows sum to 1, nothing after the
  // diagonal. Throws Error as above, and where there is no such layer.
  std::vector<std::vector<std::vector<float>>> attention(std::span<const int32_t> tokens,
                                                         int64_t layer) const;
  // The same of all layers, each map as the means of its squares, at most `size` to a side.
  std::vector<std::vector<std::vector<std::vector<float>>>> attention_maps(std::span<const int32_t> tokens,
                                                                           int64_t size) const;

 private:
  const Model& model_;
};

}  // namespace tumbler::engine
