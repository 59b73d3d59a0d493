// Pre-training: windows of tokens in, a base model out. Brown et al. 2020 (arXiv:2005.14165), 2.1.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "base/progress.h"
#include "dist/group.h"
#include "nn/config.h"
#include "nn/optimizer.h"
#include "train/guard.h"
#include "train/schedule.h"

namespace tumbler::pretrain {

struct PretrainConfig {
  std::vector<std::string> data;
  std::vector<std::string> heldout;
  std::string tokenizer;
  int64_t depth = 0;
  nn::ModelConfig model;
  std::string dtype = "auto";
  std::string recompute = "none";
  int64_t sequence_length = 512;
  int64_t batch_tokens = 16384;
  int64_t micro_batch = 0;
  int64_t steps = 0;
  int64_t tokens = 0;
  double epochs = 0;
  bool mask_documents = true;
  int64_t seed = 1;
  nn::OptimizerConfig optimizer;
  train::ScheduleConfig schedule;
  train::GuardConfig guard;
  int64_t log_every = 1;
  int64_t eval_every = 100;
  int64_t eval_tokens = 0;
  int64_t sample_every = 100;
  std::vector<std::string> sample_prompts = {"The ", "In 1999, "};
  int64_t sample_tokens = 48;
  int64_t checkpoint_every = 100;
  int64_t keep_checkpoints = 2;

  template <class V>
  void visit_fields(V& v) {
    v("data", data, "", "token shards to train on: .ds files, directories or patterns");
    v("heldout", heldout, "",
      "token shards that are never trained on, for bits per byte; none: no evaluation");
    v("tokenizer", tokenizer, "", "directory with tokenizer.json");
    v("depth", depth, "", "one dial for the model: qwen3 with n_embd 64*depth; 0: see model");
    v("model", model, "", "fields of the model; on top of what depth or model.family give");
    v("dtype", dtype, "auto|f32|bf16", "what matrix products are computed in; auto: what is fast here");
    v("recompute", recompute, "none|block", "block: less memory, a third more arithmetic");
    v("sequence_length", sequence_length, "tokens", "T, the length of a training window");
    v("batch_tokens", batch_tokens, "tokens", "in one step, over all ranks");
    v("micro_batch", micro_batch, "sequences", "at a time on one rank; 0: about 8192 tokens");
    v("steps", steps, "", "how long to train; or:");
    v("tokens", tokens, "", "how long to train; or:");
    v("epochs", epochs, "", "how long to train");
    v("mask_documents", mask_documents, "", "attention stays inside a document");
    v("seed", seed, "", "of the initial weights and the order of the data");
    v("optimizer", optimizer, "", "");
    v("schedule", schedule, "", "");
    v("guard", guard, "", "");
    v("log_every", log_every, "steps", "between lines of metrics.jsonl");
    v("eval_every", eval_every, "steps", "between evaluations on held-out text; 0: only at the end");
    v("eval_tokens", eval_tokens, "tokens", "of held-out text to use while training, from its start; 0: all");
    v("sample_every", sample_every, "steps", "between samples of text; 0: none");
    v("sample_prompts", sample_prompts, "", "what the samples begin with");
    v("sample_tokens", sample_tokens, "tokens", "in a sample");
    v("checkpoint_every", checkpoint_every, "steps", "between checkpoints; 0: only at the end");
    v("keep_checkpoints", keep_checkpoints, "", "the newest that are kept");
  }
};

// The configuration that a recipe's [pretrain] table describes: `model` starts from depth or from the
// family's defaults, and what of vocab_size and max_positions is not given follows from tokenizer and
// sequence_length when the run starts. Throws Error on an unknown key, a wrong type or a value out of range.
PretrainConfig config_from_json(const nlohmann::json& table, std::string_view where);

struct PretrainOptions {
  std::filesystem::path output;  // the run's directory
  bool resume = false;           // go on from the newest whole checkpoint, or begin where there is none
};

struct PretrainResult {
  int64_t steps, tokens, parameters;
  double loss;                       // of the last step
  double val_bpb;                    // NaN without held-out text
  std::filesystem::path checkpoint;  // the last: the model
};

// Runs to the end. Throws Error where it cannot begin (a run in the output directory without `resume`, data
// that does not fit) or go on; what was checkpointed stays. All ranks of the group call it; rank 0 writes.
PretrainResult run(PretrainConfig config, const PretrainOptions& options, dist::Group& group,
                   Progress& progress);

}  // namespace tumbler::pretrain
