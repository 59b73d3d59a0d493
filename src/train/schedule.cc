#include "train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/error.h"

namespace tumbler::train {

void check_schedule(const ScheduleConfig& config) {
  if (config.warmup_steps < 0)
    throw Error("schedule", "warmup_steps: got {}, expected 0 or more", config.warmup_steps);
  if (!(config.decay_share >= 0 && config.decay_share <= 1))
    throw Error("schedule", "decay_share: got {}, expected 0 to 1", config.decay_share);
  if (!(config.final_share >= 0 && config.final_share <= 1))
    throw Error("schedule", "final_share: got {}, expected 0 to 1", config.final_share);
  if (config.decay != "linear" && config.decay != "cosine")
    throw Error("schedule", "decay: got '{}', expected linear or cosine", config.decay);
}

double schedule_multiplier(const ScheduleConfig& config, int64_t step, int64_t steps) {
  // A run that is shorter than its warm-up warms up over its first tenth.
  const int64_t warmup = config.warmup_steps < steps ? config.warmup_steps : steps / 10;
  if (step < warmup) return static_cast<double>(step + 1) / static_cast<double>(warmup);
  const int64_t decay_steps = std::min(std::llround(config.decay_share * static_cast<double>(steps)),
                                       static_cast<long long>(steps - warmup));
  const int64_t decay_begin = steps - decay_steps;
  if (step < decay_begin || decay_steps == 0) return 1.0;
  const double done = static_cast<double>(step - decay_begin + 1) / static_cast<double>(decay_steps + 1);
  const double height = config.decay == "cosine" ? 0.5 * (1 + std::cos(std::numbers::pi * done)) : 1 - done;
  return config.final_share + (1 - config.final_share) * height;
}

}  // namespace tumbler::train
