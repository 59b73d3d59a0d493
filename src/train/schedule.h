// Learning-rate schedule: linear warm-up, a constant stretch, then decay over the last part of the steps
// (trapezoid, also called warm-up-stable-decay: Hägele et al. 2024, arXiv:2405.18392). decay_share = 1 is the
// classic decay from the peak on.
#pragma once

#include <cstdint>
#include <string>

namespace tumbler::train {

struct ScheduleConfig {
  int64_t warmup_steps = 100;
  double decay_share = 0.6;
  std::string decay = "linear";
  double final_share = 0.0;

  template <class V>
  void visit_fields(V& v) {
    v("warmup_steps", warmup_steps, "steps", "learning rate rises linearly over these");
    v("decay_share", decay_share, "of all steps",
      "it falls over this last part; 1: from the end of warm-up, 0: never");
    v("decay", decay, "linear|cosine", "the shape of the fall");
    v("final_share", final_share, "of the peak", "where it ends");
  }
};

// Throws Error where a field is outside its range.
void check_schedule(const ScheduleConfig& config);

// What to multiply the peak learning rate with in step `step` of `steps` (0-based): (0, 1]. The first step
// has 1/warmup_steps of the peak, and final_share would be reached one step after the last: a step with
// learning rate 0 is work for nothing.
double schedule_multiplier(const ScheduleConfig& config, int64_t step, int64_t steps);

}  // namespace tumbler::train
