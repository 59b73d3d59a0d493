// Chat templates (Jinja) in Hugging Face directories.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "tokens/tokenizer.h"

namespace tumbler::formats {

// chat_template.jinja, or chat_template of tokenizer_config.json (of a list the one named default); empty
// where there is none. Throws Error on files that are no JSON or no text.
std::string read_chat_template(const std::filesystem::path& directory);

// tokens::save_tokenizer, with this template in place of our own; empty: none.
void save_tokenizer(const tokens::Tokenizer& tokenizer, const std::filesystem::path& directory,
                    std::string_view chat_template);

}  // namespace tumbler::formats
