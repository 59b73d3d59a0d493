// generate(): prompts in, tokens out, all prompts decoded together.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/decoder.h"
#include "engine/sampler.h"

namespace tumbler::engine {

struct GenerateOptions {
  SamplingOptions sampling;
  uint64_t seed = 0;
  int64_t max_tokens = 128;          // a sequence, prompt not counted
  std::vector<int32_t> stop_tokens;  // end the sequence, and are its last token
  int64_t top_log_probs = 0;         // likeliest candidates to report with each token
};

// A token that was chosen, and what the model thought of it and of the likeliest ones before sampling.
struct TokenChoice {
  int32_t id;
  float log_prob;
  std::vector<Candidate> top;  // likeliest first
};

// Why a sequence ended: a stop token, max_tokens, a full context window, or on_token said so.
enum class Finish { stop, length, context, caller };

struct Generation {
  std::vector<TokenChoice> tokens;
  Finish finish = Finish::length;
};

// Called with each token as it is chosen; false ends the sequence with that token.
using OnToken = std::function<bool(int64_t sequence, const TokenChoice&)>;

// One continuation of each prompt (of at least one token), at most decoder.sequences() of them; the decoder's
// slots are overwritten. Sequence i draws from Rng(seed, i) and its logits do not depend on the others, up to
// the order of sums in matrix products of another shape: it is the same alone and in a batch. Equal prompts
// are read once. Throws Error where a prompt is longer than the context window.
std::vector<Generation> generate(Decoder& decoder, std::span<const std::vector<int32_t>> prompts,
                                 const GenerateOptions& options, const OnToken& on_token = {});

}  // namespace tumbler::engine
