// Transformer: forward and backward passes of the model that a ModelConfig describes, over the weights in
// Parameters.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "nn/config.h"
#include "nn/parameters.h"
#include "nn/profiler.h"

namespace tumbler::nn {

// B sequences of T tokens, row-major (B, T). Empty spans take the value in brackets.
struct Batch {
  int64_t B = 0, T = 0;
  std::span<const int32_t> tokens = {};     // (B, T), each within 0..V-1
  std::span<const int32_t> targets = {};    // (B, T), within 0..V-1 or kernels::kIgnoreTarget
  std::span<const float> weights = {};      // (B, T) of each token's loss, 0 = not trained on [1 for all]
  std::span<const int32_t> first_key = {};  // (B, T), non-decreasing along T: where its document starts [0]
  std::span<const int32_t> positions = {};  // (B, T), within 0..max_positions-1 [0..T-1]
};

struct TransformerOptions {
  int64_t max_tokens = 0;  // largest B*T of a batch
  int64_t max_time = 0;    // largest T
  bool training = true;    // false: forward only, the memory of one layer
  Recomputation recomputation = Recomputation::none;
  int64_t head_chunk_rows = 0;  // rows of logits at a time; 0: as many as fit 64 MB, a multiple of 64. A
                                // fixed number changes no loss.
};

class Transformer {
 public:
  // Computes in parameters.dtype(). `parameters` must outlive this. Throws Error where memory cannot be had.
  Transformer(Parameters& parameters, const TransformerOptions& options);
  ~Transformer();
  Transformer(Transformer&&) noexcept;

  // Returns the sum of weights[n] * loss[n] and adds its gradient to parameters.gradients(): for the mean
  // over a global batch give weights 1/tokens, and call it once a micro-batch. losses (B*T): each token's
  // own, unweighted, in nats; may be empty. Bit-reproducible for a given number of threads, batch shape and
  // dtype. CHECKs shapes and ranges of the batch.
  double forward_backward(const Batch& batch, std::span<float> losses = {});
  // The same number without gradients: evaluation.
  double forward_loss(const Batch& batch, std::span<float> losses = {});

  // Runs the layers and keeps the normalised output of the last one; then any rows of logits may be asked
  // for.
  void forward(const Batch& batch);
  // out (rows.size(), V) f32 = logits of rows (b*T + t) of the last forward().
  void logits(std::span<const int64_t> rows, std::span<float> out);

  // Bytes of the activation arena.
  int64_t activation_bytes() const noexcept;
  // Where time goes is added here; null (default) for no measuring.
  void set_profiler(Profiler* profiler) noexcept;

  class Implementation;

 private:
  std::unique_ptr<Implementation> implementation_;
};

// cos_sin (positions, D) for kernels::qk_forward with the config's theta and scaling (none, linear, llama3);
// local: of local layers, with rope_theta_local and no scaling.
void rope_table(const ModelConfig& config, std::span<float> cos_sin, int64_t positions, bool local = false);

}  // namespace tumbler::nn
