// Trainer: what pretrain, sft, rl and rlhf share. Weights, optimiser, schedule and guard of one run on one or
// more ranks; one call of step() is one update of the weights from any number of micro-batches.
//
//   Trainer trainer(options, std::move(parameters), group);
//   if (checkpoint) state = trainer.restore(checkpoint->directory);
//   while (trainer.step_count() < steps) trainer.step(micro_batches, get_batch);
//   trainer.save(run, state, write_more_files);
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>

#include "dist/group.h"
#include "formats/hugging_face.h"
#include "nn/optimizer.h"
#include "nn/parameters.h"
#include "nn/transformer.h"
#include "train/guard.h"
#include "train/schedule.h"

namespace tumbler::train {

struct TrainerOptions {
  nn::OptimizerConfig optimizer;
  ScheduleConfig schedule;
  GuardConfig guard;
  int64_t steps = 0;  // of the whole run, for the schedule
  nn::TransformerOptions transformer;
  formats::ModelFiles files;  // token ids and dtype for the checkpoints' config.json
};

struct StepReport {
  int64_t step;      // how many were done, this one included
  double loss;       // sum of weights * losses over all ranks
  double grad_norm;  // before clipping; NaN where the guard skipped the step because of its loss
  double lr;
  bool applied;
};

class Trainer {
 public:
  // Weights of rank 0 become those of all. Throws Error on options out of range.
  Trainer(TrainerOptions options, std::unique_ptr<nn::Parameters> parameters, dist::Group& group);

  // One update: sums loss and gradient over this rank's micro-batches get_batch(0..micro_batches-1) and over
  // all ranks. Weights in the batches make the sum a mean: 1/tokens of the global batch. The spans of a batch
  // need live only until the next call of get_batch. A step whose loss or gradient the guard refuses counts,
  // but changes no weight and no state of the optimiser.
  StepReport step(int64_t micro_batches, const std::function<nn::Batch(int64_t)>& get_batch);
  int64_t step_count() const noexcept { return step_; }

  // Writes RUN/step_N: model, optimiser, counters, `state` (the caller's: data position, tokens …) and what
  // `write_files` adds (tokenizer). Rank 0 writes; all ranks call. Throws Error where their weights differ.
  void save(const std::filesystem::path& run, const nlohmann::ordered_json& state,
            const std::function<void(const std::filesystem::path&)>& write_files);
  // Everything as it was at save(): the next step is bit for bit the one that would have followed. Returns
  // `state`.
  nlohmann::ordered_json restore(const std::filesystem::path& checkpoint);

  nn::Parameters& parameters() noexcept { return *parameters_; }
  nn::Transformer& transformer() noexcept { return transformer_; }
  dist::Group& group() noexcept { return group_; }
  int64_t skipped() const noexcept { return guard_.skipped(); }
  const TrainerOptions& options() const noexcept { return options_; }

 private:
  void check_same_weights();

  TrainerOptions options_;
  std::unique_ptr<nn::Parameters> parameters_;
  dist::Group& group_;
  nn::Transformer transformer_;
  nn::Optimizer optimizer_;
  Guard guard_;
  int64_t step_ = 0;
};

// `state` of a checkpoint, without its weights.
nlohmann::ordered_json read_state(const std::filesystem::path& checkpoint);

// Largest resident size of this process so far.
int64_t peak_memory_bytes();

}  // namespace tumbler::train
