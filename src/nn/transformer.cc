#include "nn/transformer.h"

#include <cmath>
#include <numbers>

#include "base/check.h"
#include "kernels/rope.h"
#include "nn/pass.h"

namespace tumbler::nn {
namespace {

// Llama 3.1's stretch of one frequency: long waves are slowed by `factor`, short ones kept, those between
// blended. (Dubey et al. 2024, arXiv:2407.21783; the numbers are in each model's config.)
double llama3_frequency(const ModelConfig& c, double frequency) noexcept {
  const double wavelength = 2 * std::numbers::pi / frequency,
               original = static_cast<double>(c.rope_original_positions);
  if (wavelength < original / c.rope_high_freq_factor) return frequency;
  if (wavelength > original / c.rope_low_freq_factor) return frequency / c.rope_factor;
  const double smooth =
      (original / wavelength - c.rope_low_freq_factor) / (c.rope_high_freq_factor - c.rope_low_freq_factor);
  return frequency * ((1 - smooth) / c.rope_factor + smooth);
}

}  // namespace

void rope_table(const ModelConfig& c, std::span<float> cos_sin, int64_t positions, bool local) {
  const int64_t D = c.head_dim;
  CHECK(cos_sin.size() == static_cast<size_t>(positions * D));
  if (local) return kernels::rope_table(cos_sin.data(), positions, D, c.rope_theta_local);
  if (c.rope_scaling == "none") return kernels::rope_table(cos_sin.data(), positions, D, c.rope_theta);
  for (int64_t i = 0; i < D / 2; ++i) {
    double frequency = std::pow(c.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(D));
    frequency = c.rope_scaling == "llama3" ? llama3_frequency(c, frequency) : frequency / c.rope_factor;
    for (int64_t p = 0; p < positions; ++p) {
      float* row = cos_sin.data() + p * D;
      row[i] = static_cast<float>(std::cos(static_cast<double>(p) * frequency));
      row[i + D / 2] = static_cast<float>(std::sin(static_cast<double>(p) * frequency));
    }
  }
}

Transformer::Transformer(Parameters& parameters, const TransformerOptions& options) {
  if (parameters.dtype() == kernels::DType::bf16)
    implementation_ = std::make_unique<Pass<kernels::bf16>>(parameters, options);
  else
    implementation_ = std::make_unique<Pass<float>>(parameters, options);
}
Transformer::~Transformer() = default;
Transformer::Transformer(Transformer&&) noexcept = default;

double Transformer::forward_backward(const Batch& batch, std::span<float> losses) {
  return implementation_->loss(batch, losses, true);
}
double Transformer::forward_loss(const Batch& batch, std::span<float> losses) {
  return implementation_->loss(batch, losses, false);
}
void Transformer::forward(const Batch& batch) {
  implementation_->forward(batch);
}
void Transformer::logits(std::span<const int64_t> rows, std::span<float> out) {
  implementation_->logits(rows, out);
}
int64_t Transformer::activation_bytes() const noexcept {
  return implementation_->activation_bytes();
}
void Transformer::set_profiler(Profiler* profiler) noexcept {
  implementation_->profiler = profiler;
}

}  // namespace tumbler::nn
