// Llama 3's rope scaling in GGUF files: a divisor for each frequency. Internal to formats/gguf_model*.cc.
#pragma once

#include <string>
#include <vector>

#include "formats/gguf.h"
#include "nn/config.h"

namespace tumbler::formats {

// (D/2) what llama3 scaling divides each rotary frequency by.
std::vector<float> rope_divisors(const nn::ModelConfig& config);

// Sets rope_scaling and rope_factor from the divisors; the other factors and the original context are those
// already in the config. Throws Error where the divisors are not those that llama3 scaling gives.
void read_rope_divisors(nn::ModelConfig& config, const GgufTensor& divisors, const std::string& where);

}  // namespace tumbler::formats
