#include "chat/open_model.h"

#include "base/error.h"
#include "formats/chat_template_files.h"
#include "formats/gguf_engine.h"
#include "formats/gguf_model.h"
#include "formats/gguf_tokenizer.h"
#include "train/checkpoint.h"

namespace tumbler::chat {

void check_vocabulary(const std::filesystem::path& path, tokens::Tokenizer& tokenizer,
                      const nn::ModelConfig& config) {
  tokenizer = tokenizer.within(config.vocab_size);
  if (tokenizer.vocab_size() > config.vocab_size)
    throw Error("model",
                "{}: got a tokenizer with {} ids, expected at most the model's {}; is it another model's?",
                path.string(), tokenizer.vocab_size(), config.vocab_size);
}

InferenceModel open_for_inference(const std::string& path) {
  if (std::filesystem::is_regular_file(path)) {
    const formats::GgufFile file(path);
    formats::ModelFiles files;
    const nn::ModelConfig config = formats::read_gguf_config(file, &files);
    tokens::Tokenizer tokenizer = formats::read_gguf_tokenizer(file);
    check_vocabulary(path, tokenizer, config);  // before the weights, which take longer
    return {path, formats::load_packed_gguf(file), files, std::move(tokenizer),
            std::string(file.find_text("tokenizer.chat_template").value_or(""))};
  }
  const std::filesystem::path directory = train::get_model_directory(path);
  formats::ModelFiles files;
  const nn::ModelConfig config = formats::load_config(directory, &files);
  tokens::Tokenizer tokenizer = tokens::Tokenizer::load(directory);
  check_vocabulary(directory, tokenizer, config);
  // bf16 weights stay bf16: half as much to read for each token, and the same values.
  const formats::LoadedModel loaded =
      formats::load_model(directory, {.dtype = files.dtype, .gradients = false});
  return {directory, engine::Model(*loaded.parameters), loaded.files, std::move(tokenizer),
          formats::read_chat_template(directory)};
}

std::shared_ptr<const engine::TokenTrie> get_vocabulary(const tokens::Tokenizer& tokenizer) {
  std::vector<std::string> tokens(static_cast<size_t>(tokenizer.vocab_size()));
  for (int32_t id = 0; id < tokenizer.vocab_size(); ++id)
    if (tokenizer.has(id) && !tokenizer.is_added(id))
      tokens[static_cast<size_t>(id)] = std::string(tokenizer.token_bytes(id));
  return std::make_shared<const engine::TokenTrie>(std::move(tokens));
}

}  // namespace tumbler::chat
