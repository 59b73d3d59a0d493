#include "formats/gguf_rope.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numbers>

#include "base/error.h"

namespace tumbler::formats {

// Dubey et al. 2024, arXiv:2407.21783, and the configurations of the models: long waves are stretched by the
// factor, short ones stay, those between are mixed by how many fit the original context.
std::vector<float> rope_divisors(const nn::ModelConfig& c) {
  std::vector<float> divisors;
  for (int64_t i = 0; i < c.head_dim / 2; ++i) {
    const double frequency =
        std::pow(c.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(c.head_dim));
    const double waves = static_cast<double>(c.rope_original_positions) * frequency / (2 * std::numbers::pi);
    const double low = c.rope_low_freq_factor, high = c.rope_high_freq_factor;
    const double kept = std::clamp((waves - low) / (high - low), 0.0, 1.0);
    divisors.push_back(static_cast<float>(1 / ((1 - kept) / c.rope_factor + kept)));
  }
  return divisors;
}

void read_rope_divisors(nn::ModelConfig& c, const GgufTensor& tensor, const std::string& where) {
  if (tensor.type != kernels::WeightType::f32 || tensor.count() != c.head_dim / 2)
    throw Error("gguf", "{}: rope_freqs.weight: got {} elements of {}, expected {} of f32", where,
                tensor.count(), kernels::weight_type_name(tensor.type), c.head_dim / 2);
  std::vector<float> stored(static_cast<size_t>(tensor.count()));
  kernels::dequantize(stored.data(), tensor.bytes.data(), tensor.type, tensor.count());
  const float most = *std::max_element(stored.begin(), stored.end());
  if (std::all_of(stored.begin(), stored.end(), [](float d) { return d == 1; })) return;
  c.rope_scaling = "llama3";
  c.rope_factor = std::strtod(fmt::format("{}", most).c_str(), nullptr);
  nn::check(c, where);
  const std::vector<float> expected = rope_divisors(c);
  for (size_t i = 0; i < stored.size(); ++i)
    // Other programs compute the divisors in f32, of frequencies in f32: a few units in the last place, which
    // the difference of waves and low factor magnifies.
    if (!(std::abs(stored[i] - expected[i]) <= 1e-3f * expected[i]))
      throw Error("gguf", "{}: rope_freqs.weight: got {} at {}, expected {} (llama3 scaling of factor {})",
                  where, stored[i], i, expected[i], c.rope_factor);
}

}  // namespace tumbler::formats
