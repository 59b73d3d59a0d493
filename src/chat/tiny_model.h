// A model of some thousand parameters with random weights, for tests.
#pragma once

#include <cstdint>
#include <filesystem>

#include "formats/chat_template_files.h"
#include "formats/hugging_face.h"
#include "nn/test_models.h"
#include "tokens/test_data.h"
#include "tokens/tokenizer_json.h"

namespace tumbler::chat {

// Of bytes, with or without a chat template; <|im_end|>, which ends an answer, is 258.
inline void save_tiny_model(const std::filesystem::path& directory, bool chats, int64_t max_positions = 400) {
  nn::ModelConfig config = nn::tiny_config("qwen3");
  config.vocab_size = 264;
  config.max_positions = max_positions;
  nn::Parameters parameters(config, {.dtype = kernels::DType::f32, .gradients = false});
  nn::randomize(parameters, 7);
  formats::save_model(directory, parameters,
                      {.dtype = kernels::DType::f32, .bos_token_id = -1, .eos_token_ids = {258}});
  const auto tokenizer = tokens::Tokenizer::from_parts(tokens::testing_data::small_parts({{" ", "t"}}));
  formats::save_tokenizer(tokenizer, directory, chats ? tokens::chat_template() : "");
}

}  // namespace tumbler::chat
