// generate(): prompts in, tokens out, all prompts decoded together.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "engine/decoder.h"
#include "engine/sampler.h"
#include "engine/scheduler.h"

namespace tumbler::engine {

struct GenerateOptions {
  SamplingOptions sampling;
  uint64_t seed = 0;
  int64_t max_tokens = 128;          // a sequence, prompt not counted
  std::vector<int32_t> stop_tokens;  // end the sequence, and are its last token
  int64_t top_log_probs = 0;         // likeliest candidates to report with each token
  int64_t guesses = 0;               // most tokens to guess ahead where text repeats itself; 0: none
  // What every text has to follow, or nothing; with the tokens' bytes.
  std::shared_ptr<const Grammar> grammar = {};
  std::shared_ptr<const TokenTrie> vocabulary = {};
};

struct Generation {
  std::vector<TokenChoice> tokens;
  Finish finish = Finish::length;
};

// Called with each token as it is chosen; false ends the sequence with that token.
using OnToken = std::function<bool(int64_t sequence, const TokenChoice&)>;

// One continuation of each prompt (of at least one token), as many at a time as the decoder has slots, which
// are overwritten. Sequence i draws from Rng(seed, i) and does not depend on the others. What prompts have in
// common is read once. Throws Error where a prompt is longer than the context window.
std::vector<Generation> generate(Decoder& decoder, std::span<const std::vector<int32_t>> prompts,
                                 const GenerateOptions& options, const OnToken& on_token = {});

}  // namespace tumbler::engine
