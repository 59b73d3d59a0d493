#include "cli/model_files.h"

#include "base/error.h"
#include "kernels/isa.h"
#include "train/checkpoint.h"

namespace tumbler::cli {

OpenModel open_model(const std::string& path) {
  const std::filesystem::path directory = train::get_model_directory(path);
  OpenModel open{directory,
                 formats::load_model(directory, {.dtype = kernels::best_dtype(), .gradients = false}),
                 tokens::Tokenizer::load(directory)};
  if (open.tokenizer.vocab_size() > open.model.config.vocab_size)
    throw Error("model",
                "{}: got a tokenizer with {} ids, expected at most the model's {}; is it another model's?",
                directory.string(), open.tokenizer.vocab_size(), open.model.config.vocab_size);
  return open;
}

}  // namespace tumbler::cli
