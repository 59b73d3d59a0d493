#include "cli/model_files.h"

#include "chat/open_model.h"
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
  chat::check_vocabulary(open.path, open.tokenizer, open.model.config);
  return open;
}

}  // namespace tumbler::cli
