#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/config.h"
#include "base/error.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/data_options.h"
#include "cli/progress_bar.h"
#include "io/toml.h"
#include "text/build.h"

namespace tumbler::cli {
namespace {

struct Flags {
  text::BuildConfig config;
  DataOptionFlags options;
  std::string output;
  bool json = false;
};

void print_summary(const Flags& flags, const text::BuildResult& result) {
  if (flags.json) {
    nlohmann::ordered_json line = {
        {"output", flags.output},          {"was_done", result.was_done},
        {"whole", result.whole},           {"parts", result.parts},
        {"parts_made", result.parts_made}, {"funnel", text::to_json(result.funnel)}};
    std::puts(line.dump().c_str());
    return;
  }
  const text::Funnel& funnel = result.funnel;
  const int64_t pages = funnel.at(text::Filter::kRead).pages_in;
  if (!result.whole) {
    fmt::print(
        "{} of {} parts made by rank {} of {}; when all ranks are done: tumbler data build --merge with the "
        "same flags\n",
        result.parts_made, result.parts, flags.config.rank, flags.config.world);
    return;
  }
  fmt::print("{}: {} documents of {} pages, {} characters (language by {}){}\n", flags.output,
             with_separators(funnel.documents), with_separators(pages),
             with_separators(funnel.document_chars), funnel.language_model,
             result.was_done ? "; was built already" : "");
}

}  // namespace

void DataOptionFlags::add_to(CLI::App& command) {
  command.add_option("--recipe", recipe, "fineweb-2024 or datatrove-0.10");
  command.add_option("--config", config_file, "TOML with a [data] table of options")
      ->check(CLI::ExistingFile);
  command.add_option("--set", assignments, "key=value of an option, such as gopher_quality.min_words=30");
  command.add_flag_callback(
      "--list-options",
      [this] {
        std::fputs(config::help_text(config::fields(text::named_recipe(recipe))).c_str(), stdout);
        throw CLI::Success();
      },
      "print every option with its default");
}

text::FilterOptions DataOptionFlags::resolve() const {
  text::FilterOptions options = text::named_recipe(recipe);
  if (!config_file.empty()) {
    const nlohmann::json file = io::read_toml(config_file);
    if (!file.contains("data")) throw Error("--config", "{}: got no [data] table, expected one", config_file);
    config::from_json(options, file.at("data"), config_file + " [data]");
  }
  for (const std::string& assignment : assignments) config::set(options, assignment);
  text::check_options(options);
  return options;
}

void add_data_build(CLI::App& data) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = data.add_subcommand(
      "build", "Pages (WARC, WET, HTML, JSONL) to clean, unique documents, as FineWeb makes them.");
  command->add_option("--input", flags->config.inputs, "files or patterns in quotes; may be given again")
      ->required();
  command->add_option("--output", flags->output, "directory to build in; a killed build goes on there")
      ->required();
  flags->options.add_to(*command);
  command->add_option("--rank", flags->config.rank, "this task's number, from 0");
  command->add_option("--world", flags->config.world, "number of tasks; run --merge when all are done");
  command->add_flag("--merge", flags->config.merge_only,
                    "remove duplicates over all ranks' parts and write the documents");
  command->add_option("--threads", flags->config.threads, "0: one a processor");
  command->add_option("--memory-mb", flags->config.memory_mb, "for pages in flight and for sorting in dedup")
      ->check(CLI::Range(16, 1 << 20));
  command->add_flag("--json", flags->json, "the counts as one JSON line");
  command->callback([flags] {
    flags->config.output = flags->output;
    flags->config.recipe = flags->options.recipe;
    flags->config.options = flags->options.resolve();
    const std::unique_ptr<Progress> progress = make_progress();
    print_summary(*flags, text::build(flags->config, *progress));
  });
}

}  // namespace tumbler::cli
