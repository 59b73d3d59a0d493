#include "nn/optimizer.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/error.h"
#include "kernels/optimizer.h"

namespace tumbler::nn {
namespace {

using kernels::bf16;

void check(const OptimizerConfig& c) {
  const auto require = [](bool ok, const char* name, double got, const char* expected) {
    if (!ok) throw Error("nn.optimizer", "{}: got {}, expected {}", name, got, expected);
  };
  if (c.optimizer != "adamw" && c.optimizer != "muon") {
    throw Error("nn.optimizer", "optimizer: got '{}', expected adamw or muon", c.optimizer);
  }
  require(c.lr >= 0 && std::isfinite(c.lr), "lr", c.lr, "0 or more");
  require(c.embedding_lr >= 0 && std::isfinite(c.embedding_lr), "embedding_lr", c.embedding_lr, "0 or more");
  require(c.beta1 >= 0 && c.beta1 < 1, "beta1", c.beta1, "0 to below 1");
  require(c.beta2 >= 0 && c.beta2 < 1, "beta2", c.beta2, "0 to below 1");
  require(c.eps > 0, "eps", c.eps, "more than 0");
  require(c.weight_decay >= 0, "weight_decay", c.weight_decay, "0 or more");
  require(c.clip >= 0, "clip", c.clip, "0 or more");
  require(c.muon_momentum >= 0 && c.muon_momentum < 1, "muon_momentum", c.muon_momentum, "0 to below 1");
  require(c.muon_steps >= 1 && c.muon_steps <= 100, "muon_steps", static_cast<double>(c.muon_steps),
          "1 to 100");
}

}  // namespace

Optimizer::Optimizer(const OptimizerConfig& config, Parameters& parameters)
    : config_(config), parameters_(parameters) {
  check(config_);
  CHECK(parameters_.has_gradients());
  int64_t largest = 0, scratch = 0;
  for (const Tensor& t : parameters_.tensors()) {
    if (!uses_muon(t)) continue;
    for (const RowSlice& s : t.slices) {
      largest = std::max(largest, s.rows * t.cols);
      scratch = std::max(scratch, kernels::newton_schulz_scratch(s.rows, t.cols));
    }
  }
  const auto lay_out = [&](ArenaLayout layout) {
    state_.clear();
    for (const Tensor& t : parameters_.tensors()) {
      if (uses_muon(t)) {
        state_.push_back({t.name + ".momentum", t.rows, t.cols, layout.take<float>(t.size())});
      } else {
        state_.push_back({t.name + ".m", t.rows, t.cols, layout.take<float>(t.size())});
        state_.push_back({t.name + ".v", t.rows, t.cols, layout.take<float>(t.size())});
      }
    }
    update_ = layout.take<float>(largest);
    orthogonal_ = layout.take<float>(largest);
    scratch_ = layout.take<float>(scratch);
    return layout.size_bytes();
  };
  arena_ = Arena(lay_out(ArenaLayout()));
  lay_out(ArenaLayout(&arena_));
}

bool Optimizer::uses_muon(const Tensor& tensor) const noexcept {
  return config_.optimizer == "muon" && tensor.kind == TensorKind::matrix;
}

StepResult Optimizer::step(double lr_factor) {
  double norm = 0;
  {
    const std::span<const float> all = parameters_.gradients();
    Profiler::Scope scope(profiler_, "gradient norm");
    norm = std::sqrt(kernels::sum_of_squares(all.data(), static_cast<int64_t>(all.size())));
  }
  if (!std::isfinite(norm)) return {norm, false};
  ++step_count_;
  const float grad_scale =
      config_.clip > 0 && norm > config_.clip ? static_cast<float>(config_.clip / norm) : 1.0f;
  size_t i = 0;
  for (const Tensor& t : parameters_.tensors()) {
    const bool embedding = t.kind == TensorKind::embedding || t.kind == TensorKind::head;
    const double lr = config_.lr * lr_factor * (embedding ? config_.embedding_lr : 1.0);
    if (uses_muon(t)) {
      muon(t, state_[i].values, lr, grad_scale);
      i += 1;
    } else {
      adamw(t, state_[i].values, state_[i + 1].values, lr, grad_scale);
      i += 2;
    }
  }
  return {norm, true};
}

void Optimizer::adamw(const Tensor& t, std::span<float> m, std::span<float> v, double lr, float grad_scale) {
  Profiler::Scope scope(profiler_, "adamw");
  const auto step = static_cast<double>(step_count_);
  const kernels::AdamW h{
      .lr = static_cast<float>(lr),
      .beta1 = static_cast<float>(config_.beta1),
      .beta2 = static_cast<float>(config_.beta2),
      .eps = static_cast<float>(config_.eps),
      .weight_decay = t.kind == TensorKind::matrix ? static_cast<float>(config_.weight_decay) : 0.0f,
      .bias1 = static_cast<float>(1 - std::pow(config_.beta1, step)),
      .bias2 = static_cast<float>(1 - std::pow(config_.beta2, step)),
      .grad_scale = grad_scale};
  float* master = parameters_.master(t).data();
  const float* gradient = parameters_.gradient(t).data();
  const std::span<bf16> copy = parameters_.copy(t);
  if (copy.empty())
    kernels::adamw_update<float>(master, m.data(), v.data(), gradient, nullptr, h, t.size());
  else
    kernels::adamw_update<bf16>(master, m.data(), v.data(), gradient, copy.data(), h, t.size());
}

void Optimizer::muon(const Tensor& t, std::span<float> momentum, double lr, float grad_scale) {
  for (const RowSlice& s : t.slices) {
    const int64_t begin = s.first_row * t.cols, n = s.rows * t.cols;
    {
      Profiler::Scope scope(profiler_, "muon momentum");
      kernels::momentum_update(momentum.data() + begin, update_.data(),
                               parameters_.gradient(t).data() + begin,
                               static_cast<float>(config_.muon_momentum), grad_scale, /*nesterov=*/true, n);
    }
    {
      // One iteration on (r, c), r <= c: A = X X^T, A A, and (bA + cAA) X: 2*r*r*(2c + r) flop.
      const auto r = static_cast<double>(std::min(s.rows, t.cols)),
                 c = static_cast<double>(std::max(s.rows, t.cols));
      Profiler::Scope scope(profiler_, "muon newton-schulz",
                            static_cast<double>(config_.muon_steps) * 2 * r * r * (2 * c + r));
      kernels::newton_schulz({orthogonal_.data(), s.rows, t.cols}, {update_.data(), s.rows, t.cols},
                             static_cast<int>(config_.muon_steps), scratch_.data());
    }
    Profiler::Scope scope(profiler_, "muon apply");
    const double factor = 0.2 * std::sqrt(static_cast<double>(std::max(s.rows, t.cols)));
    // The factor rides on lr; weight decay is divided by it, so that lr * weight_decay is as it was.
    const auto scaled_lr = static_cast<float>(lr * factor),
               decay = static_cast<float>(config_.weight_decay / factor);
    float* master = parameters_.master(t).data() + begin;
    const std::span<bf16> copy = parameters_.copy(t);
    if (copy.empty())
      kernels::apply_update<float>(master, orthogonal_.data(), nullptr, scaled_lr, decay, n);
    else
      kernels::apply_update<bf16>(master, orthogonal_.data(), copy.data() + begin, scaled_lr, decay, n);
  }
}

}  // namespace tumbler::nn
