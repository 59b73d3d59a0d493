// Sampling: one token from a row of logits.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/rng.h"

namespace tumbler::engine {

// Applied in this order, each to what the one before it left:
//   temperature  logits are divided by it; 0: the largest logit, smallest id where equal; nothing below
//   applies top_k        only the k likeliest tokens; 0: all top_p        only the fewest tokens whose
//   probabilities sum to p (Holtzman et al. 2019, arXiv:1904.09751) min_p        only tokens at least min_p
//   times as likely as the likeliest (Nguyen et al. 2024,
//                arXiv:2407.01082)
// At least one token is always left.
struct SamplingOptions {
  double temperature = 1.0;
  int64_t top_k = 0;
  double top_p = 1.0;
  double min_p = 0.0;

  template <class V>
  void visit_fields(V& v) {
    v("temperature", temperature, "", "divides the logits; 0 takes the likeliest token");
    v("top_k", top_k, "tokens", "keep only the k likeliest; 0: all");
    v("top_p", top_p, "", "keep the fewest tokens whose probabilities sum to p; 1: all");
    v("min_p", min_p, "", "keep tokens at least this times as likely as the likeliest; 0: all");
  }
};

// Throws Error where a value is out of range.
void check_sampling(const SamplingOptions& options);

// A token and the model's log-probability of it: of the plain softmax, before temperature and cuts.
struct Candidate {
  int32_t id;
  float log_prob;
};

class Sampler {
 public:
  explicit Sampler(SamplingOptions options);
  // Draws from logits (V) with one number of rng (none at temperature 0). Throws Error where a logit is NaN
  // or none is finite.
  int32_t sample(std::span<const float> logits, Rng& rng);

 private:
  struct Weighted {
    int32_t id;
    float logit;
    double weight;
  };
  void collect(std::span<const float> logits, float largest);
  void cut_top_p();
  void cut_min_p();
  double total_weight() const noexcept;

  SamplingOptions options_;
  std::vector<Weighted> kept_;  // scratch
};

int32_t argmax(std::span<const float> logits);
// log(sum(exp(logits))), summed in f64.
double log_sum_exp(std::span<const float> logits);
// The n likeliest tokens, likeliest first, smallest id first where equal.
std::vector<Candidate> top_candidates(std::span<const float> logits, int64_t n);

}  // namespace tumbler::engine
