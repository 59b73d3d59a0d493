#include "engine/generate.h"

#include <algorithm>
#include <optional>

#include "base/error.h"
#include "kernels/cross_entropy.h"

namespace tumbler::engine {
namespace {

void prefill(Decoder& decoder, std::span<const std::vector<int32_t>> prompts) {
  for (size_t i = 0; i < prompts.size(); ++i) {
    if (prompts[i].empty()) throw Error("generate", "prompt {}: got no tokens, expected at least one", i);
    const auto slot = static_cast<int64_t>(i);
    const auto same = std::find(prompts.begin(), prompts.begin() + slot, prompts[i]) - prompts.begin();
    decoder.truncate(slot, 0);
    if (same < slot)
      decoder.copy(same, slot);
    else
      decoder.extend(slot, prompts[i]);
  }
}

TokenChoice choose(std::span<const float> logits, Sampler& sampler, Rng& rng, const SequenceSoFar& so_far,
                   int64_t top) {
  TokenChoice choice{sampler.sample(logits, rng, so_far), 0, {}};
  float loss = 0;  // log-probability of all V is one pass of this
  const auto V = static_cast<int64_t>(logits.size());
  kernels::cross_entropy_forward<float>(&loss, logits.data(), &choice.id, 1, V, V);
  choice.log_prob = -loss;
  if (top > 0) choice.top = top_candidates(logits, top);
  return choice;
}

// Why a sequence ends with its newest token, if it does.
std::optional<Finish> find_finish(const Generation& generation, const GenerateOptions& options, bool go_on,
                                  bool room) {
  const auto& stops = options.stop_tokens;
  if (std::find(stops.begin(), stops.end(), generation.tokens.back().id) != stops.end()) return Finish::stop;
  if (!go_on) return Finish::caller;
  if (static_cast<int64_t>(generation.tokens.size()) >= options.max_tokens) return Finish::length;
  if (!room) return Finish::context;
  return std::nullopt;
}

}  // namespace

std::vector<Generation> generate(Decoder& decoder, std::span<const std::vector<int32_t>> prompts,
                                 const GenerateOptions& options, const OnToken& on_token) {
  if (static_cast<int64_t>(prompts.size()) > decoder.sequences())
    throw Error("generate", "got {} prompts, expected at most {}", prompts.size(), decoder.sequences());
  Sampler sampler(options.sampling);
  prefill(decoder, prompts);
  std::vector<Generation> out(prompts.size());
  std::vector<Rng> rngs;
  std::vector<std::vector<int32_t>> generated(prompts.size());
  std::vector<int64_t> active, next;
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < prompts.size(); ++i) {
    rngs.emplace_back(options.seed, i);
    if (options.max_tokens > 0) active.push_back(static_cast<int64_t>(i));
  }
  while (!active.empty()) {
    next.clear();
    tokens.clear();
    for (const int64_t i : active) {
      out[i].tokens.push_back(
          choose(decoder.logits(i), sampler, rngs[i], {prompts[i], generated[i]}, options.top_log_probs));
      const TokenChoice& choice = out[i].tokens.back();
      generated[i].push_back(choice.id);
      const bool go_on = !on_token || on_token(i, choice);
      const auto finish = find_finish(out[i], options, go_on, decoder.length(i) < decoder.capacity());
      if (finish) {
        out[i].finish = *finish;
      } else {
        next.push_back(i);
        tokens.push_back(choice.id);
      }
    }
    active.swap(next);
    if (!active.empty()) decoder.step(active, tokens);
  }
  return out;
}

}  // namespace tumbler::engine
