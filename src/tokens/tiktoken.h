// Files of ranks as tiktoken has them: a line `<base64 of the token's bytes> <rank>` each.
#pragma once

#include <filesystem>
#include <string_view>

#include "tokens/tokenizer.h"

namespace tumbler::tokens {

// The encoding of that name with OpenAI's special tokens: r50k_base (also gpt2), p50k_base, cl100k_base,
// o200k_base. Throws Error on a name that is none of these, and on a line, a base64 digit or a rank that is
// damaged.
TokenizerParts parse_tiktoken(std::string_view text, std::string_view encoding, std::string_view where);

// The file's name says which encoding it is.
Tokenizer load_tiktoken(const std::filesystem::path& path);

// The merges of a BPE. Behind ranks: the two tokens into which each token falls when only smaller ranks
// merge. Behind scores: all cuts of each token, the greatest score first, of one token the longest left part,
// as Hugging Face's converters list them.
std::vector<std::pair<TokenId, TokenId>> recover_merges(const Tokenizer& tokenizer);

}  // namespace tumbler::tokens
