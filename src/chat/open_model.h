// A model opened for inference: weights packed for decoding, in the type of the file where it is a GGUF file
// or bf16, and its tokenizer.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "engine/constraint.h"
#include "engine/model.h"
#include "formats/hugging_face.h"
#include "tokens/tokenizer.h"

namespace tumbler::chat {

struct InferenceModel {
  std::filesystem::path path;  // a directory, or a GGUF file
  engine::Model model;
  formats::ModelFiles files;
  tokens::Tokenizer tokenizer;
  std::string chat_template;  // Jinja; empty: none
};

// `path` is a Hugging Face directory, a .gguf file, or a run of pretrain, whose newest checkpoint is taken.
// Throws Error where the model or its tokenizer cannot be read, or do not fit.
InferenceModel open_for_inference(const std::string& path);

// Leaves out added tokens that the model has no rows for. Throws Error where it lacks rows for others.
void check_vocabulary(const std::filesystem::path& path, tokens::Tokenizer& tokenizer,
                      const nn::ModelConfig& config);

// The bytes of the tokens that are text, for constraints.
std::shared_ptr<const engine::TokenTrie> get_vocabulary(const tokens::Tokenizer& tokenizer);

}  // namespace tumbler::chat
