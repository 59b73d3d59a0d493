// The tokenizer of a GGUF file: `tokenizer.ggml.*`, both ways.
#pragma once

#include "formats/gguf.h"
#include "formats/hugging_face.h"
#include "tokens/tokenizer.h"

namespace tumbler::formats {

// Byte-level BPE (`tokenizer.ggml.model` gpt2) with a split that `tokenizer.ggml.pre` names, or
// SentencePiece's BPE (llama). Throws Error on other models, unknown splits, bytes that are none, and on
// lists that contradict one another.
tokens::Tokenizer read_gguf_tokenizer(const GgufFile& file);

// Begin-of-text (whether a prompt begins with it is the tokenizer's prefix()) and what ends an answer.
// Throws Error on ids beyond the vocabulary.
void read_gguf_token_ids(const GgufFile& file, int64_t vocab_size, ModelFiles& files);

// tokens, types, merges, pre, ids. Ids that the tokenizer does not use, up to vocab_size, are named [PAD…].
// `chat_template` may be empty. Throws Error where no `pre` stands for the tokenizer's split,
// or no scores for its merges.
void write_gguf_tokenizer(GgufWriter& writer, const tokens::Tokenizer& tokenizer, int64_t vocab_size,
                          const ModelFiles& files, std::string_view chat_template);

}  // namespace tumbler::formats
