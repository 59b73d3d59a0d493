#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"

namespace tumbler::engine {
namespace {

float get_largest(std::span<const float> logits) {
  float largest = -std::numeric_limits<float>::infinity();
  bool nan = false;
  for (const float x : logits) {
    largest = std::max(largest, x);
    nan |= std::isnan(x);
  }
  if (nan || !std::isfinite(largest))
    throw Error(
        "sampling",
        "logits: got values that are not numbers, expected finite ones; the weights are damaged or have "
        "diverged");
  return largest;
}

}  // namespace

void check_sampling(const SamplingOptions& o) {
  if (!(o.temperature >= 0 && o.temperature <= 1000))
    throw Error("sampling", "temperature: got {}, expected 0 to 1000", o.temperature);
  if (o.top_k < 0) throw Error("sampling", "top_k: got {}, expected 0 or more", o.top_k);
  if (!(o.top_p > 0 && o.top_p <= 1))
    throw Error("sampling", "top_p: got {}, expected more than 0 and at most 1", o.top_p);
  if (!(o.min_p >= 0 && o.min_p <= 1)) throw Error("sampling", "min_p: got {}, expected 0 to 1", o.min_p);
}

Sampler::Sampler(SamplingOptions options) : options_(options) {
  check_sampling(options_);
}

// Tokens that temperature and top_k leave, with weights exp((logit - largest) / temperature); likeliest first
// where a cut needs the order.
void Sampler::collect(std::span<const float> logits, float largest) {
  kept_.clear();
  for (size_t id = 0; id < logits.size(); ++id) {
    const double weight = std::exp((static_cast<double>(logits[id]) - largest) / options_.temperature);
    if (weight > 0) kept_.push_back({static_cast<int32_t>(id), logits[id], weight});
  }
  const auto likelier = [](const Weighted& a, const Weighted& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  };
  if (options_.top_k > 0 && options_.top_k < static_cast<int64_t>(kept_.size())) {
    std::nth_element(kept_.begin(), kept_.begin() + options_.top_k - 1, kept_.end(), likelier);
    kept_.resize(static_cast<size_t>(options_.top_k));
    std::sort(kept_.begin(), kept_.end(), likelier);
  } else if (options_.top_p < 1) {
    std::sort(kept_.begin(), kept_.end(), likelier);
  }
}

double Sampler::total_weight() const noexcept {
  double total = 0;
  for (const Weighted& w : kept_) total += w.weight;
  return total;
}

void Sampler::cut_top_p() {
  const double enough = options_.top_p * total_weight();
  double sum = 0;
  size_t n = 0;
  while (n < kept_.size() && sum < enough) sum += kept_[n++].weight;
  kept_.resize(std::max<size_t>(n, 1));
}

// The likeliest token's weight is exp(0) = 1, and no cut removes it.
void Sampler::cut_min_p() {
  std::erase_if(kept_, [this](const Weighted& w) { return w.weight < options_.min_p; });
}

int32_t Sampler::sample(std::span<const float> logits, Rng& rng) {
  const float largest = get_largest(logits);
  if (options_.temperature == 0) return argmax(logits);
  collect(logits, largest);
  if (options_.top_p < 1) cut_top_p();
  if (options_.min_p > 0) cut_min_p();
  double left = rng.uniform() * total_weight();
  for (const Weighted& w : kept_) {
    left -= w.weight;
    if (left < 0) return w.id;
  }
  return kept_.back().id;  // rounding
}

int32_t argmax(std::span<const float> logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

double log_sum_exp(std::span<const float> logits) {
  const double largest = get_largest(logits);
  double sum = 0;
  for (const float x : logits) sum += std::exp(x - largest);
  return largest + std::log(sum);
}

std::vector<Candidate> top_candidates(std::span<const float> logits, int64_t n) {
  const double normaliser = log_sum_exp(logits);
  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto count = std::clamp<int64_t>(n, 0, static_cast<int64_t>(ids.size()));
  std::partial_sort(ids.begin(), ids.begin() + count, ids.end(), [&](int32_t a, int32_t b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  });
  std::vector<Candidate> out;
  for (int64_t i = 0; i < count; ++i)
    out.push_back({ids[i], static_cast<float>(logits[ids[i]] - normaliser)});
  return out;
}

}  // namespace tumbler::engine
