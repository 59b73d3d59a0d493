// A model as a Hugging Face directory: config.json, generation_config.json, model.safetensors (or several of
// them and an index). tokenizer files are tokens/'s.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "formats/safetensors.h"
#include "kernels/dtype.h"
#include "nn/config.h"
#include "nn/parameters.h"

namespace tumbler::formats {

// What the configuration files say beside the architecture.
struct ModelFiles {
  kernels::DType dtype = kernels::DType::f32;  // torch_dtype: what the weights are stored in
  int64_t bos_token_id = -1;                   // -1: none
  std::vector<int64_t> eos_token_ids = {};
  int64_t pad_token_id = -1;
};

// config.json as `transformers` writes it for the config's family (GPT2LMHeadModel, LlamaForCausalLM,
// Qwen2ForCausalLM, Qwen3ForCausalLM, Gemma3ForCausalLM).
std::string config_to_json(const nn::ModelConfig& config, const ModelFiles& files);
// Throws Error on a model that this program cannot run, on missing keys, and on sizes that nn::check refuses.
// Reads the older and the newer spelling of rope parameters, and the text part of Gemma 3's models of text
// and images. `where` begins messages.
nn::ModelConfig config_from_json(std::string_view json, std::string_view where, ModelFiles* files = nullptr);

std::string generation_config_to_json(const ModelFiles& files);

// Each file appears whole; config.json last, so that a directory with one is complete. Makes the directory.
// Weights of more than shard_bytes become several files with model.safetensors.index.json, as in
// transformers.
void save_model(const std::filesystem::path& directory, const nn::Parameters& parameters,
                const ModelFiles& files, int64_t shard_bytes = std::numeric_limits<int64_t>::max());

struct LoadedModel {
  nn::ModelConfig config;
  ModelFiles files;
  std::unique_ptr<nn::Parameters> parameters;
};
// Throws Error: missing files, missing or superfluous tensors, wrong shapes, a checksum that does not fit.
LoadedModel load_model(const std::filesystem::path& directory, const nn::ParametersOptions& options);
// Only the configuration.
nn::ModelConfig load_config(const std::filesystem::path& directory, ModelFiles* files = nullptr);

}  // namespace tumbler::formats
