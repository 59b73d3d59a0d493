#include "train/guard.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"

namespace tumbler::train {

void check_guard(const GuardConfig& config) {
  if (config.max_bad_steps < 1)
    throw Error("guard", "max_bad_steps: got {}, expected 1 or more", config.max_bad_steps);
  if (!(config.spike_sigmas > 0))
    throw Error("guard", "spike_sigmas: got {}, expected more than 0", config.spike_sigmas);
  for (const char* known : {"warn", "skip", "stop", "off"})
    if (config.on_spike == known) return;
  throw Error("guard", "on_spike: got '{}', expected warn, skip, stop or off", config.on_spike);
}

Guard::Guard(GuardConfig config) : config_(std::move(config)) {
  check_guard(config_);
}

Guard::Verdict Guard::judge_loss(int64_t step, double loss) {
  if (!std::isfinite(loss)) return skip_bad(step, loss, "loss is not finite");
  return judge_spike(step, loss);
}

Guard::Verdict Guard::judge_gradient(int64_t step, double loss, double grad_norm) {
  if (!std::isfinite(grad_norm)) return skip_bad(step, loss, "gradient is not finite");
  state_.bad_in_a_row = 0;
  return Verdict::kGood;
}

Guard::Verdict Guard::skip_bad(int64_t step, double loss, std::string_view what) {
  ++state_.skipped;
  ++state_.bad_in_a_row;
  if (state_.bad_in_a_row >= config_.max_bad_steps)
    throw Error(
        "train",
        "step {}: {} (loss {}), for {} steps in a row; the weights have probably diverged: resume from an "
        "earlier checkpoint with a lower learning rate or a longer warm-up",
        step, what, loss, state_.bad_in_a_row);
  log::warn("[train] step {}: {} (loss {}); the step is skipped ({} so far)", step, what, loss,
            state_.skipped);
  return Verdict::kSkip;
}

Guard::Verdict Guard::judge_spike(int64_t step, double loss) {
  const double limit = state_.mean + config_.spike_sigmas * std::sqrt(state_.variance);
  const bool spike = config_.on_spike != "off" && state_.seen >= kSettled && loss > limit;
  state_.spikes_in_a_row = spike ? state_.spikes_in_a_row + 1 : 0;
  // A level that stays is the new level: then the statistics follow it.
  const bool believed =
      !spike || config_.on_spike == "warn" || state_.spikes_in_a_row > config_.max_bad_steps;
  if (spike && config_.on_spike == "stop")
    throw Error("train",
                "step {}: loss jumped to {:.4f}, running mean {:.4f}, limit {:.4f}; resume from an earlier "
                "checkpoint with a "
                "lower learning rate, or set guard.on_spike=skip",
                step, loss, state_.mean, limit);
  if (believed) {
    const double share = std::max(1.0 / static_cast<double>(state_.seen + 1), 1.0 / kWindow);
    const double difference = loss - state_.mean;
    state_.mean += share * difference;
    state_.variance = (1 - share) * (state_.variance + share * difference * difference);
    ++state_.seen;
  }
  if (!spike) return Verdict::kGood;
  const bool skip = config_.on_spike == "skip" && !believed;
  log::warn("[train] step {}: loss jumped to {:.4f}, limit {:.4f}{}", step, loss, limit,
            skip ? "; the step is skipped" : "");
  if (!skip) return Verdict::kGood;
  ++state_.skipped;
  return Verdict::kSkip;
}

nlohmann::ordered_json Guard::state() const {
  return {{"bad_in_a_row", state_.bad_in_a_row},
          {"spikes_in_a_row", state_.spikes_in_a_row},
          {"skipped", state_.skipped},
          {"seen", state_.seen},
          {"mean", state_.mean},
          {"variance", state_.variance}};
}

void Guard::set_state(const nlohmann::ordered_json& json) {
  state_ = {json.at("bad_in_a_row"), json.at("spikes_in_a_row"), json.at("skipped"), json.at("seen"),
            json.at("mean"),         json.at("variance")};
}

}  // namespace tumbler::train
