// tumbler eval: what a model can do, measured.
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/model_files.h"
#include "nn/transformer.h"
#include "pretrain/bits_per_byte.h"
#include "pretrain/window_loader.h"

namespace tumbler::cli {
namespace {

struct Flags {
  std::string model;
  std::vector<std::string> tasks, data;
  int64_t limit = 0, sequence_length = 0;
  bool json = false, across_documents = false;
};

void evaluate_bpb(const Flags& flags, OpenModel& open) {
  if (flags.data.empty()) throw Error("eval", "--data: got none, expected token shards for the task bpb");
  const int64_t positions = open.model.config.max_positions;
  const int64_t T = flags.sequence_length > 0 ? flags.sequence_length : std::min<int64_t>(positions, 1024);
  if (T > positions)
    throw Error("eval", "--sequence-length: got {}, expected at most the model's {} positions", T, positions);
  const int64_t B = std::max<int64_t>(4096 / T, 1);
  nn::Transformer transformer(*open.model.parameters, {.max_tokens = B * T,
                                                       .max_time = T,
                                                       .training = false,
                                                       .recomputation = nn::Recomputation::none,
                                                       .head_chunk_rows = 0});
  dist::Group alone;
  const auto bpb = pretrain::evaluate_bits_per_byte(transformer, pretrain::find_shards(flags.data),
                                                    open.tokenizer.byte_lengths(),
                                                    {B, T, flags.limit, !flags.across_documents}, alone);
  if (flags.json) {
    const nlohmann::ordered_json line = {
        {"task", "bpb"},        {"metric", "bits_per_byte"}, {"value", bpb.value},
        {"low", bpb.low},       {"high", bpb.high},          {"n", bpb.windows},
        {"tokens", bpb.tokens}, {"bytes", bpb.bytes},        {"loss", bpb.loss}};
    std::printf("%s\n", line.dump().c_str());
  } else {
    std::printf(
        "bpb  %.4f bits per byte (95 %%: %.4f to %.4f), loss %.4f, %lld bytes in %lld windows of %lld "
        "tokens\n",
        bpb.value, bpb.low, bpb.high, bpb.loss, static_cast<long long>(bpb.bytes),
        static_cast<long long>(bpb.windows), static_cast<long long>(T));
  }
}

}  // namespace

void add_eval(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand("eval", "Measure a model.");
  command->add_option("--model", flags->model, "Hugging Face directory, or a run of tumbler pretrain")
      ->required();
  command->add_option("--tasks", flags->tasks, "bpb: bits per byte on token shards")
      ->delimiter(',')
      ->required()
      ->check(CLI::IsMember({"bpb"}));
  command->add_option("--data", flags->data, "token shards: .ds files, directories or patterns");
  command->add_option("--limit", flags->limit, "tokens to use, from the start; 0: all")
      ->check(CLI::NonNegativeNumber);
  command
      ->add_option("--sequence-length", flags->sequence_length,
                   "tokens a window; 0: the model's, at most 1024")
      ->check(CLI::NonNegativeNumber);
  command->add_flag("--across-documents", flags->across_documents,
                    "let tokens see the documents before their own");
  command->add_flag("--json", flags->json, "one JSON line a task");
  command->callback([flags] {
    OpenModel open = open_model(flags->model);
    evaluate_bpb(*flags, open);
  });
}

}  // namespace tumbler::cli
