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
  if (!(o.repetition_penalty > 0 && o.repetition_penalty <= 1000))
    throw Error("sampling", "repetition_penalty: got {}, expected more than 0 and at most 1000",
                o.repetition_penalty);
  if (!(std::abs(o.presence_penalty) <= 2))
    throw Error("sampling", "presence_penalty: got {}, expected -2 to 2", o.presence_penalty);
  if (!(std::abs(o.frequency_penalty) <= 2))
    throw Error("sampling", "frequency_penalty: got {}, expected -2 to 2", o.frequency_penalty);
  for (const auto& [id, bias] : o.logit_bias)
    if (!(std::abs(bias) <= 100))
      throw Error("sampling", "logit_bias of token {}: got {}, expected -100 to 100", id, bias);
}

Sampler::Sampler(SamplingOptions options) : options_(std::move(options)) {
  check_sampling(options_);
}

bool Sampler::adjusts() const noexcept {
  return options_.repetition_penalty != 1 || options_.presence_penalty != 0 ||
         options_.frequency_penalty != 0 || !options_.logit_bias.empty();
}

// A copy of the logits with bias and penalties.
std::span<const float> Sampler::adjust(std::span<const float> logits, const SequenceSoFar& so_far) {
  adjusted_.assign(logits.begin(), logits.end());
  const auto logit_of = [&](int32_t id) -> float& {
    if (id < 0 || id >= static_cast<int64_t>(logits.size()))
      throw Error("sampling", "token id: got {}, expected 0 to {}", id, logits.size() - 1);
    return adjusted_[static_cast<size_t>(id)];
  };
  for (const auto& [id, bias] : options_.logit_bias) logit_of(id) += bias;
  if (options_.repetition_penalty != 1) {
    seen_.assign(so_far.prompt.begin(), so_far.prompt.end());
    seen_.insert(seen_.end(), so_far.generated.begin(), so_far.generated.end());
    std::sort(seen_.begin(), seen_.end());
    seen_.erase(std::unique(seen_.begin(), seen_.end()), seen_.end());
    const auto penalty = static_cast<float>(options_.repetition_penalty);
    for (const int32_t id : seen_) {
      float& logit = logit_of(id);
      logit = logit > 0 ? logit / penalty : logit * penalty;
    }
  }
  seen_.assign(so_far.generated.begin(), so_far.generated.end());
  std::sort(seen_.begin(), seen_.end());
  for (size_t i = 0; i < seen_.size(); ++i) {
    const bool first = i == 0 || seen_[i] != seen_[i - 1];
    logit_of(seen_[i]) -=
        static_cast<float>(options_.frequency_penalty + (first ? options_.presence_penalty : 0));
  }
  return adjusted_;
}

// The k largest logits, largest first, without weights. Most logits are below the least of those found so
// far.
void Sampler::collect_top_k(std::span<const float> logits) {
  const auto likelier = [](const Weighted& a, const Weighted& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  };
  const auto k = static_cast<size_t>(options_.top_k);
  for (size_t id = 0; id < logits.size(); ++id) {
    if (kept_.size() == k) {
      if (logits[id] <= kept_.front().logit) continue;  // ids ascend: of equals the earlier stays
      std::pop_heap(kept_.begin(), kept_.end(), likelier);
      kept_.pop_back();
    }
    kept_.push_back({static_cast<int32_t>(id), logits[id], 0});
    std::push_heap(kept_.begin(), kept_.end(), likelier);
  }
  std::sort(kept_.begin(), kept_.end(), likelier);
}

// Tokens that temperature and top_k leave, with weights exp((logit - largest) / temperature).
void Sampler::collect(std::span<const float> logits, float largest) {
  kept_.clear();
  if (options_.top_k > 0 && options_.top_k < static_cast<int64_t>(logits.size())) {
    collect_top_k(logits);
  } else {
    for (size_t id = 0; id < logits.size(); ++id) kept_.push_back({static_cast<int32_t>(id), logits[id], 0});
  }
  for (Weighted& w : kept_)
    w.weight = std::exp((static_cast<double>(w.logit) - largest) / options_.temperature);
  std::erase_if(kept_, [](const Weighted& w) { return !(w.weight > 0); });
}

double Sampler::total_weight() const noexcept {
  double total = 0;
  for (const Weighted& w : kept_) total += w.weight;
  return total;
}

void Sampler::cut_top_p() {
  const double total = total_weight(), enough = options_.top_p * total;
  // Tokens that weigh less than this sum to less than the 1 - p that is cut, so they are cut, all of them:
  // few are left to sort.
  const double least = (1 - options_.top_p) * total / static_cast<double>(kept_.size());
  std::erase_if(kept_, [least](const Weighted& w) { return w.weight < least; });
  std::sort(kept_.begin(), kept_.end(), [](const Weighted& a, const Weighted& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  });
  double sum = 0;
  size_t n = 0;
  while (n < kept_.size() && sum < enough) sum += kept_[n++].weight;
  kept_.resize(std::max<size_t>(n, 1));
}

// The likeliest token's weight is exp(0) = 1, and no cut removes it.
void Sampler::cut_min_p() {
  std::erase_if(kept_, [this](const Weighted& w) { return w.weight < options_.min_p; });
}

Drawn Sampler::draw(std::span<const float> logits, Rng& rng, const SequenceSoFar& so_far) {
  if (adjusts()) logits = adjust(logits, so_far);
  const float largest = get_largest(logits);
  if (options_.temperature == 0) {
    kept_.assign(1, {argmax(logits), largest, 1});
    return {kept_[0].id, 0};
  }
  collect(logits, largest);
  if (options_.top_p < 1) cut_top_p();
  if (options_.min_p > 0) cut_min_p();
  const double total = total_weight();
  double left = rng.uniform() * total;
  const Weighted* drawn = &kept_.back();  // rounding
  for (const Weighted& w : kept_) {
    left -= w.weight;
    if (left >= 0) continue;
    drawn = &w;
    break;
  }
  return {drawn->id, static_cast<float>(std::log(drawn->weight / total))};
}

float Sampler::last_log_prob(int32_t id) const noexcept {
  for (const Weighted& w : kept_)
    if (w.id == id) return static_cast<float>(std::log(w.weight / total_weight()));
  return -std::numeric_limits<float>::infinity();
}

int32_t argmax(std::span<const float> logits) {
  // The largest of each of 16 lanes, which the compiler makes vectors of, and then where it stands first.
  constexpr size_t kLanes = 16;
  if (logits.size() < kLanes)
    return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  float lanes[kLanes];
  std::copy_n(logits.begin(), kLanes, lanes);
  size_t i = kLanes;
  for (; i + kLanes <= logits.size(); i += kLanes)
    for (size_t j = 0; j < kLanes; ++j) lanes[j] = logits[i + j] > lanes[j] ? logits[i + j] : lanes[j];
  float largest = *std::max_element(lanes, lanes + kLanes);
  for (; i < logits.size(); ++i) largest = std::max(largest, logits[i]);
  return static_cast<int32_t>(std::find(logits.begin(), logits.end(), largest) - logits.begin());
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
