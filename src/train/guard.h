// Guard: what to do with a step whose loss or gradient is not a number, or whose loss jumps.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

namespace tumbler::train {

struct GuardConfig {
  int64_t max_bad_steps = 10;
  std::string on_spike = "warn";
  double spike_sigmas = 8.0;

  template <class V>
  void visit_fields(V& v) {
    v("max_bad_steps", max_bad_steps, "steps",
      "stop after this many steps in a row without a finite loss and gradient");
    v("on_spike", on_spike, "warn|skip|stop|off", "what to do with a step whose loss jumps");
    v("spike_sigmas", spike_sigmas, "standard deviations",
      "a jump is this far above the running mean of the loss");
  }
};

void check_guard(const GuardConfig& config);

class Guard {
 public:
  enum class Verdict { kGood, kSkip };

  explicit Guard(GuardConfig config);

  // Called with the loss of a step before the optimiser touches the weights. kSkip: leave them as they are
  // and go on with the next batch. Warns where it skips; throws Error where the run should stop, saying why
  // and what to try.
  Verdict judge_loss(int64_t step, double loss);
  // Called after it with the norm of the gradient; the optimiser does nothing where that is not finite.
  Verdict judge_gradient(int64_t step, double loss, double grad_norm);

  int64_t skipped() const noexcept { return state_.skipped; }

  // Part of a checkpoint, so that a resumed run judges as one that was not stopped.
  nlohmann::ordered_json state() const;
  void set_state(const nlohmann::ordered_json& json);

 private:
  Verdict skip_bad(int64_t step, double loss, std::string_view what);
  Verdict judge_spike(int64_t step, double loss);

  struct State {
    int64_t bad_in_a_row = 0, spikes_in_a_row = 0, skipped = 0, seen = 0;
    double mean = 0, variance = 0;  // of the loss, exponentially weighted over about kWindow steps
  };
  static constexpr double kWindow = 100;
  static constexpr int64_t kSettled = 50;  // steps before a jump can be told from the fall of the first steps
  GuardConfig config_;
  State state_;
};

}  // namespace tumbler::train
