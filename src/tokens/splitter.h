// Splitters: where text is cut into pieces before byte pair encoding. Each pattern that a tokenizer file may
// name is a state machine over code point classes; no regular expression is run. PCRE2 is their oracle in the
// tests.
//
// Text may be any bytes. A byte that is not part of well-formed UTF-8 is one character of class "other"
// (neither letter, number nor white space), so that cutting loses nothing.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tumbler::tokens {

enum class Pattern {
  kGpt2,    // GPT-2, r50k, p50k, GPT-NeoX, OLMo: Radford et al. 2019
  kDigits,  // GPT-2's within runs that hold no number, each number character alone: StarCoder, SmolLM2
  kCl100k,  // GPT-4 as tiktoken has it: a run of white space that ends the text is one piece
  kLlama3,  // as cl100k, but the last line breaks of the text are split from the blanks that follow them
  kQwen2,   // as Llama 3, but each number character alone: Qwen2, Qwen2.5, Qwen3
  kQwen35,  // as Qwen2, with combining marks as part of words: Qwen3.5
  kO200k,   // GPT-4o, Llama 4: words break where lower case turns into upper case
  kTekken,  // as o200k, each number character alone and no contractions: Mistral Nemo
};

// "gpt2", "qwen2" …
std::string_view pattern_name(Pattern pattern) noexcept;
std::optional<Pattern> find_pattern(std::string_view name) noexcept;

// The regular expression (Oniguruma and PCRE2 read it) that `pattern` stands for, as tokenizer.json files
// spell it.
std::string_view pattern_regex(Pattern pattern) noexcept;
// The pattern with that spelling, or a known other spelling of it.
std::optional<Pattern> find_pattern_by_regex(std::string_view regex) noexcept;

// Writes the ends of the pieces that start at `begin` into `ends`, at most `capacity` of them, and returns
// how many. A piece is never empty, and pieces cover the text: go on from the last end until it is `size`.
using SplitBatch = size_t (*)(const char* text, size_t size, size_t begin, size_t* ends, size_t capacity);
SplitBatch split_batch_function(Pattern pattern) noexcept;

// All pieces of `text`.
std::vector<std::string_view> split(Pattern pattern, std::string_view text);

// The first place at or after `from` where `text` can be cut so that every pattern gives the same pieces for
// both parts as for the whole: after a newline, before an ASCII letter or digit. `text.size()` where there is
// none.
size_t find_safe_cut(std::string_view text, size_t from) noexcept;

// `text` in parts of at least `part_bytes` (but for the last) that can be split apart, so that one long text
// keeps all threads busy.
std::vector<std::string_view> safe_parts(std::string_view text, size_t part_bytes);

}  // namespace tumbler::tokens
