// Sampling: one token from a row of logits.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "base/rng.h"

namespace tumbler::engine {

// Applied in this order, each to what the one before it left:
//
//   logit_bias          added to the logit of a token
//   repetition_penalty  of tokens in the prompt or generated so far: a positive logit is divided by it, a
//                       negative one multiplied (Keskar et al. 2019, arXiv:1909.05858, 4.1)
//   presence_penalty    taken from the logits of tokens that were generated,
//   frequency_penalty   and this for each time (OpenAI's API reference: the prompt does not count)
//   temperature         logits are divided by it; 0: the largest logit, smallest id where equal, and no cut
//   top_k               only the k likeliest tokens; 0: all
//   top_p               only the fewest tokens whose probabilities sum to p (Holtzman et al. 2019,
//                       arXiv:1904.09751)
//   min_p               only tokens at least min_p times as likely as the likeliest (Nguyen et al. 2024,
//                       arXiv:2407.01082)
//
// At least one token is always left.
struct SamplingOptions {
  double temperature = 1.0;
  int64_t top_k = 0;
  double top_p = 1.0;
  double min_p = 0.0;
  double repetition_penalty = 1.0;
  double presence_penalty = 0.0;
  double frequency_penalty = 0.0;
  std::vector<std::pair<int32_t, float>> logit_bias = {};  // (token id, what is added)

  template <class V>
  void visit_fields(V& v) {
    v("temperature", temperature, "", "divides the logits; 0 takes the likeliest token");
    v("top_k", top_k, "tokens", "keep only the k likeliest; 0: all");
    v("top_p", top_p, "", "keep the fewest tokens whose probabilities sum to p; 1: all");
    v("min_p", min_p, "", "keep tokens at least this times as likely as the likeliest; 0: all");
    v("repetition_penalty", repetition_penalty, "", "makes tokens of the text so far less likely; 1: off");
    v("presence_penalty", presence_penalty, "", "taken from the logits of tokens generated so far");
    v("frequency_penalty", frequency_penalty, "", "the same for each time that a token was generated");
  }
};

// Throws Error where a value is out of range (-100 to 100 for a bias, as in OpenAI's API; -2 to 2 for the
// last two penalties).
void check_sampling(const SamplingOptions& options);

// A token and the model's log-probability of it: of the plain softmax, before temperature and cuts. And the
// one after them, where something was drawn.
struct Candidate {
  int32_t id;
  float log_prob;
  float sampled_log_prob = -std::numeric_limits<float>::infinity();
};

// The tokens that a sequence holds.
struct SequenceSoFar {
  std::span<const int32_t> prompt, generated;
};

// What was drawn, and its log-probability in the distribution that it was drawn from.
struct Drawn {
  int32_t id;
  float log_prob;
};

class Sampler {
 public:
  explicit Sampler(SamplingOptions options);
  // Draws from logits (V) with one number of rng (none at temperature 0). Throws Error where a logit is NaN
  // or none is finite, and on a bias for a token that there is not.
  Drawn draw(std::span<const float> logits, Rng& rng, const SequenceSoFar& so_far = {});
  // Log-probability of a token in the distribution that the last draw() was from: minus infinity where it was
  // cut.
  float last_log_prob(int32_t id) const noexcept;
  int32_t sample(std::span<const float> logits, Rng& rng, const SequenceSoFar& so_far = {}) {
    return draw(logits, rng, so_far).id;
  }

 private:
  struct Weighted {
    int32_t id;
    float logit;
    double weight;
  };
  bool adjusts() const noexcept;
  std::span<const float> adjust(std::span<const float> logits, const SequenceSoFar& so_far);
  void collect(std::span<const float> logits, float largest);
  void collect_top_k(std::span<const float> logits);
  void cut_top_p();
  void cut_min_p();
  double total_weight() const noexcept;

  SamplingOptions options_;
  std::vector<Weighted> kept_;   // of the last draw
  std::vector<float> adjusted_;  // scratch
  std::vector<int32_t> seen_;    // scratch
};

int32_t argmax(std::span<const float> logits);
// log(sum(exp(logits))), summed in f64.
double log_sum_exp(std::span<const float> logits);
// The n likeliest tokens, likeliest first, smallest id first where equal.
std::vector<Candidate> top_candidates(std::span<const float> logits, int64_t n);

}  // namespace tumbler::engine
