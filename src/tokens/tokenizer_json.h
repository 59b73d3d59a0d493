// tokenizer.json and tokenizer_config.json as Hugging Face's `tokenizers` and `transformers` read and write
// them.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "tokens/tokenizer.h"

namespace tumbler::tokens {

// A byte-level BPE of the patterns in splitter.h; a BPE or unigram model with "▁" for blanks and, where it
// has byte_fallback, "<0x0A>" for bytes. Merges may be "a b" or ["a", "b"]. Throws Error, naming what it met,
// on damaged JSON and on a model, pre-tokenizer, split pattern, normalizer or decoder that is not known.
TokenizerParts parse_tokenizer_json(std::string_view json, std::string_view where);

// bos_token, eos_token, pad_token of tokenizer_config.json, and add_bos_token where tokenizer.json does not
// say itself what a prompt begins with. Where eos_token is missing, a token with a usual name is taken.
void apply_tokenizer_config(TokenizerParts& parts, std::string_view json, std::string_view where);

// A token as vocabularies in files spell it.
std::string spelling(const Tokenizer& tokenizer, TokenId id);

std::string to_tokenizer_json(const Tokenizer& tokenizer);
// With the chat template below where the tokenizer has its tokens.
std::string to_tokenizer_config_json(const Tokenizer& tokenizer);

// Writes tokenizer.json, tokenizer_config.json and, of byte-level ones, vocab.json and merges.txt.
void save_tokenizer(const Tokenizer& tokenizer, const std::filesystem::path& directory);

// Jinja: ChatML turns, Hermes tool calls, <think>…</think> before an answer, as Qwen3 converses.
std::string_view chat_template() noexcept;

}  // namespace tumbler::tokens
