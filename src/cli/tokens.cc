// `tumbler tokens build`: documents → token shards.
#include <cstdio>

#include "cli/commands.h"
#include "cli/progress_bar.h"
#include "io/file.h"
#include "tokens/build.h"

namespace tumbler::cli {
namespace {

struct BuildFlags {
  std::vector<std::string> inputs;
  std::string tokenizer, output;
  tokens::BuildOptions options;
  bool json = false;
};

void build(BuildFlags& flags) {
  for (const std::string& pattern : flags.inputs)
    for (const auto& path : io::glob(pattern)) flags.options.inputs.push_back(path);
  flags.options.output = flags.output;
  const auto progress = make_progress();
  const tokens::BuildReport report =
      tokens::build_shards(tokens::Tokenizer::load(flags.tokenizer), flags.options, *progress);
  if (report.complete && flags.json)
    std::fputs(report.manifest.c_str(), stdout);
  else
    std::printf("%lld files done, %lld were done before; %s\n", static_cast<long long>(report.files_done),
                static_cast<long long>(report.files_skipped),
                report.complete ? (flags.output + "/manifest.json is written").c_str()
                                : "files of other ranks are missing yet");
}

}  // namespace

void add_tokens(CLI::App& app) {
  auto* group = app.add_subcommand("tokens", "Token shards.");
  group->require_subcommand(1);
  auto* command = group->add_subcommand(
      "build", "Documents (JSON lines with a field 'text', or text files) to token shards.");
  auto flags = std::make_shared<BuildFlags>();
  command->add_option("--input", flags->inputs, "files or patterns, as 'docs/*.jsonl.zst'")->required();
  command->add_option("--tokenizer", flags->tokenizer, "directory, tokenizer.json or .tiktoken file")
      ->required();
  command->add_option("--output", flags->output, "directory of the shards")->required();
  command->add_option("--held-out-fraction", flags->options.held_out_fraction,
                      "share of documents that is not trained on");
  command->add_option("--seed", flags->options.seed, "of the order of documents");
  command->add_option("--rank", flags->options.rank, "this run does files rank, rank + world, ...");
  command->add_option("--world", flags->options.world, "number of runs that share the files");
  command->add_option("--threads", flags->options.threads, "0: all");
  command->add_flag("--json", flags->json, "print the manifest");
  command->callback([flags] { build(*flags); });
}

}  // namespace tumbler::cli
