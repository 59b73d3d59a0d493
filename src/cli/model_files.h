// A model opened for inference: weights in the compute dtype that is fast here, and its tokenizer.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "formats/hugging_face.h"
#include "tokens/tokenizer.h"

namespace tumbler::cli {

struct OpenModel {
  std::filesystem::path path;  // a directory, or a GGUF file
  formats::LoadedModel model;
  tokens::Tokenizer tokenizer;
  std::string chat_template;  // Jinja; empty: none
};

// `path` is a Hugging Face directory, a .gguf file, or a run of pretrain, whose newest checkpoint is taken.
// Throws Error where the model or its tokenizer cannot be read, or do not fit.
OpenModel open_model(const std::string& path);
// The same with weights to compute in `dtype`.
OpenModel open_model(const std::string& path, kernels::DType dtype);

}  // namespace tumbler::cli
