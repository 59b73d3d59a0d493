// Flags of what draws tokens, the same for every command that generates.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/sampler.h"

namespace tumbler::cli {

struct SamplingFlags {
  engine::SamplingOptions options;
  std::vector<std::string> logit_bias = {};
  uint64_t seed = 0;
};

void add_sampling_flags(CLI::App& command, SamplingFlags& flags);
// With the biases read and everything checked. Throws Error.
engine::SamplingOptions get_sampling(const SamplingFlags& flags);

}  // namespace tumbler::cli
