// Flags of what runs a model and draws tokens, the same for every command that generates.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/constraint.h"
#include "engine/decoder.h"
#include "engine/grammar.h"
#include "engine/sampler.h"
#include "tokens/tokenizer.h"

namespace tumbler::cli {

struct SamplingFlags {
  engine::SamplingOptions options;
  std::vector<std::string> logit_bias = {};
  uint64_t seed = 0;
};

void add_sampling_flags(CLI::App& command, SamplingFlags& flags);
// With the biases read and everything checked. Throws Error.
engine::SamplingOptions get_sampling(const SamplingFlags& flags);

void add_guesses_flag(CLI::App& command, int64_t& guesses);

// What a text has to follow: one of these, or nothing.
struct GrammarFlags {
  std::string grammar, json_schema;
};

void add_grammar_flags(CLI::App& command, GrammarFlags& flags);
// Null where there is none. Throws Error.
std::shared_ptr<const engine::Grammar> get_grammar(const GrammarFlags& flags);

// How a model is run: the same for generate and chat.
struct DecoderFlags {
  std::string cache = "bf16";
  int prefill_threads = 0, decode_threads = 0;
};

void add_decoder_flags(CLI::App& command, DecoderFlags& flags);
engine::DecoderOptions get_decoder_options(const DecoderFlags& flags, int64_t sequences, int64_t capacity);

}  // namespace tumbler::cli
