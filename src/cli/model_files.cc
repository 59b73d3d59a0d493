#include "cli/model_files.h"

#include "base/error.h"
#include "formats/chat_template_files.h"
#include "formats/gguf_model.h"
#include "formats/gguf_tokenizer.h"
#include "kernels/isa.h"
#include "train/checkpoint.h"

namespace tumbler::cli {

namespace {

OpenModel open_any(const std::string& path, kernels::DType dtype) {
  const nn::ParametersOptions options{.dtype = dtype, .gradients = false};
  if (std::filesystem::is_regular_file(path)) {
    const formats::GgufFile file(path);
    return {path, formats::load_gguf(file, options), formats::read_gguf_tokenizer(file),
            std::string(file.find_text("tokenizer.chat_template").value_or(""))};
  }
  const std::filesystem::path directory = train::get_model_directory(path);
  return {directory, formats::load_model(directory, options), tokens::Tokenizer::load(directory),
          formats::read_chat_template(directory)};
}

}  // namespace

OpenModel open_model(const std::string& path) {
  return open_model(path, kernels::best_dtype());
}

OpenModel open_model(const std::string& path, kernels::DType dtype) {
  OpenModel open = open_any(path, dtype);
  if (open.tokenizer.vocab_size() > open.model.config.vocab_size)
    throw Error("model",
                "{}: got a tokenizer with {} ids, expected at most the model's {}; is it another model's?",
                open.path.string(), open.tokenizer.vocab_size(), open.model.config.vocab_size);
  return open;
}

}  // namespace tumbler::cli
