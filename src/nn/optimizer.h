// The optimisers: AdamW for all, or Muon for the matrices of the layers and AdamW for the rest.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "nn/parameters.h"
#include "nn/profiler.h"

namespace tumbler::nn {

struct OptimizerConfig {
  std::string optimizer = "adamw";
  double lr = 6e-4;
  double embedding_lr = 1;
  double beta1 = 0.9;
  double beta2 = 0.95;
  double eps = 1e-8;
  double weight_decay = 0.1;
  double clip = 1;
  double muon_momentum = 0.95;
  int64_t muon_steps = 5;

  template <class V>
  void visit_fields(V& v) {
    v("optimizer", optimizer, "adamw|muon", "who updates the matrices of the layers");
    v("lr", lr, "", "peak learning rate, of AdamW and of Muon alike");
    v("embedding_lr", embedding_lr, "times lr", "learning rate of embeddings and head");
    v("beta1", beta1, "", "AdamW: decay of the mean");
    v("beta2", beta2, "", "AdamW: decay of the second moment");
    v("eps", eps, "", "AdamW: added to the root of the second moment");
    v("weight_decay", weight_decay, "", "of matrices only, decoupled, times lr");
    v("clip", clip, "", "largest norm of the whole gradient; 0 for no clipping");
    v("muon_momentum", muon_momentum, "", "Muon: decay of the momentum (Nesterov)");
    v("muon_steps", muon_steps, "", "Muon: Newton-Schulz iterations");
  }
  bool operator==(const OptimizerConfig&) const = default;
};

struct StepResult {
  double gradient_norm;  // before clipping
  bool applied;          // false where the norm is not finite: nothing was changed
};

// A span of the optimiser's state, for checkpoints.
struct StateTensor {
  std::string name;  // tensor name + ".m", ".v" (AdamW) or ".momentum" (Muon)
  int64_t rows, cols;
  std::span<float> values;
};

class Optimizer {
 public:
  // State is zero, step count 0. Throws Error on values out of range. `parameters` must outlive this and have
  // gradients.
  Optimizer(const OptimizerConfig& config, Parameters& parameters);

  // One step from parameters.gradients(), which are left as they are (zero_gradients() is the caller's).
  // lr_factor: the schedule's, 1 at the peak. Updates master and compute copy. Does nothing but measure where
  // the gradient's norm is not finite. AdamW: Loshchilov & Hutter 2017, arXiv:1711.05101. Muon: Jordan et al.
  // 2024, with each update scaled by 0.2*sqrt(max(rows, cols)) so that its root mean square is AdamW's and
  // one lr serves both (Liu et al. 2025, arXiv:2502.16982, 2.2). q, k, v and gate, up are orthogonalised
  // apart.
  StepResult step(double lr_factor);

  int64_t step_count() const noexcept { return step_count_; }
  void set_step_count(int64_t steps) noexcept { step_count_ = steps; }
  // In order of tensors; writing into the spans restores a checkpoint (with set_step_count).
  const std::vector<StateTensor>& state() const noexcept { return state_; }
  const OptimizerConfig& config() const noexcept { return config_; }
  void set_profiler(Profiler* profiler) noexcept { profiler_ = profiler; }

 private:
  bool uses_muon(const Tensor& tensor) const noexcept;
  void adamw(const Tensor& tensor, std::span<float> m, std::span<float> v, double lr, float grad_scale);
  void muon(const Tensor& tensor, std::span<float> momentum, double lr, float grad_scale);

  OptimizerConfig config_;
  Parameters& parameters_;
  Arena arena_;
  std::vector<StateTensor> state_;
  std::span<float> update_, orthogonal_, scratch_;  // Muon: the largest slice each, and newton_schulz's
  int64_t step_count_ = 0;
  Profiler* profiler_ = nullptr;
};

}  // namespace tumbler::nn
