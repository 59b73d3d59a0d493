// tumbler pretrain: trains a base model.
#include "pretrain/pretrain.h"

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/config.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/progress_bar.h"
#include "io/toml.h"

namespace tumbler::cli {
namespace {

struct Flags {
  std::string recipe, output;
  std::vector<std::string> set;
  bool resume = false, json = false;
};

pretrain::PretrainConfig read_config(const Flags& flags) {
  nlohmann::json recipe = nlohmann::json::object();
  if (!flags.recipe.empty()) {
    const nlohmann::json file = io::read_toml(flags.recipe);
    if (!file.contains("pretrain"))
      throw Error(flags.recipe,
                  "got no [pretrain] table, expected one; see tumbler pretrain --help for its keys");
    recipe = file["pretrain"];
  }
  for (const std::string& assignment : flags.set) recipe.merge_patch(config::parse_assignment(assignment));
  return pretrain::config_from_json(recipe, flags.recipe.empty() ? "--set" : flags.recipe + " [pretrain]");
}

void run(const Flags& flags) {
  const auto group = dist::join_group();
  const bool speaks = group->rank() == 0;
  if (!speaks) spdlog::set_level(spdlog::level::err);
  const auto progress = speaks ? make_progress() : std::make_unique<Progress>();
  const auto result = pretrain::run(read_config(flags), {flags.output, flags.resume}, *group, *progress);
  if (!speaks) return;
  if (flags.json) {
    const nlohmann::ordered_json line = {
        {"model", result.checkpoint.string()}, {"steps", result.steps}, {"tokens", result.tokens},
        {"parameters", result.parameters},     {"loss", result.loss},   {"val_bpb", result.val_bpb}};
    std::printf("%s\n", line.dump().c_str());
  } else {
    std::printf("%s: %s parameters, %s steps, %s tokens, loss %.4f", result.checkpoint.c_str(),
                with_separators(result.parameters).c_str(), with_separators(result.steps).c_str(),
                with_separators(result.tokens).c_str(), result.loss);
    if (result.val_bpb == result.val_bpb)
      std::printf(", %.4f bits per byte on held-out text", result.val_bpb);
    std::printf("\n");
  }
}

}  // namespace

void add_pretrain(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand("pretrain", "Train a base model on token shards.");
  command->add_option("--recipe", flags->recipe, "TOML file with a [pretrain] table")
      ->check(CLI::ExistingFile);
  command->add_option("--set", flags->set,
                      "key=value: a key of the table, on top of the recipe; model.n_layer=4 for nested ones");
  command->add_option("--output", flags->output, "directory of the run: checkpoints step_N and metrics.jsonl")
      ->required();
  command->add_flag("--resume", flags->resume,
                    "go on from the newest checkpoint in --output, or begin where there is none");
  command->add_flag("--json", flags->json, "print the result as JSON");
  command->footer("Keys of [pretrain] and of --set, with their defaults:\n" +
                  config::help_text(config::fields(pretrain::PretrainConfig{})) +
                  "\nOn several ranks: mpirun -n 2 tumbler pretrain …");
  command->callback([flags] { run(*flags); });
}

}  // namespace tumbler::cli
