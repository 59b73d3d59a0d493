// tumbler pipeline run RECIPE.toml: the whole chain. Each stage is a `tumbler` command of its own that is shown before it runs.
#include <filesystem>
#include <iostream>

#include <unistd.h>

#include "base/config.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/recipe.h"
#include "io/file.h"
#include "kernels/isa.h"
#include "pipeline/page.h"
#include "pipeline/report.h"
#include "pipeline/runner.h"

namespace fs = std::filesystem;

namespace tumbler::cli {
namespace {

struct Options {
  std::string recipe, output, from;
  std::vector<std::string> set;
};

std::vector<pipeline::Stage> stages_of(const Recipe& recipe, const pipeline::RunLayout& run, const Options& options) {
  const std::string file = options.recipe;
  const auto at = [](const fs::path& path) { return path.string(); };
  // What of the command line every stage that reads the recipe must see again.
  const auto with_recipe = [&](std::vector<std::string> command, const std::string& section) {
    command.insert(command.end(), {"--recipe", file});
    for (const std::string& assignment : options.set)
      if (assignment.starts_with(section + "."))
        command.insert(command.end(), {"--set", assignment.substr(section.size() + 1)});
    return command;
  };
  std::vector<pipeline::Stage> stages;
  const auto section = [&](const char* name) { return recipe.sections.value(name, nlohmann::json::object()); };
  const std::string documents = at(run.data() / "documents" / "*.jsonl.zst");
  stages.push_back({"crawl", "real web pages → WARC", with_recipe({"crawl", "--output", at(run.crawl())}, "crawl"), section("crawl"),
                    run.crawl(), {}});
  stages.push_back({"data", "WARC → clean, unique English documents",
                    with_recipe({"data", "build", "--input", at(run.crawl() / "*.warc.gz"), "--output", at(run.data())}, "data"),
                    section("data"), run.data(), {}});
  stages.push_back({"tokenizer", "documents → byte pairs",
                    with_recipe({"tokenizer", "train", "--input", documents, "--output", at(run.tokenizer())}, "tokenizer"),
                    section("tokenizer"), run.tokenizer(), {}});
  stages.push_back({"tokens", "documents → token shards, some pages held out",
                    with_recipe({"tokens", "build", "--input", documents, "--tokenizer", at(run.tokenizer()), "--output", at(run.tokens())},
                                "tokens"),
                    section("tokens"), run.tokens(), {}});
  stages.push_back({"pretrain", "token shards → base model",
                    with_recipe({"pretrain", "--resume", "--output", at(run.base()), "--data", at(run.tokens())}, "pretrain"),
                    section("pretrain"), run.base(), {}});
  stages.push_back({"evaluate", "bits per byte on the held-out pages",
                    {"eval", "--model", at(run.base()), "--tasks", "bpb", "--data", at(run.tokens()), "--json"},
                    {}, run.facts() / "bpb.jsonl", run.facts() / "bpb.jsonl"});
  for (size_t i = 0; i < recipe.prompts.size(); ++i) {
    const fs::path out = run.facts() / fmt::format("completion_{}.jsonl", i + 1);
    stages.push_back({fmt::format("prompt-{}", i + 1), fmt::format("continue “{}”", recipe.prompts[i]),
                      {"generate", "--model", at(run.base()), "--prompt", recipe.prompts[i], "--max-tokens", "48", "--temperature", "0.7",
                       "--seed", "1", "--top-logprobs", "5", "--json"},
                      recipe.prompts[i], out, out});
  }
  return stages;
}

void show(const std::string& line) { std::cerr << line << '\n'; }

void run_pipeline(const Options& options) {
  const Recipe recipe = read_recipe(options.recipe, options.set);
  const pipeline::RunLayout run(options.output.empty() ? fs::path(recipe.output) : fs::path(options.output));
  io::make_directories(run.run / "pipeline");
  io::make_directories(run.facts());
  const nlohmann::ordered_json info = {{"title", recipe.title}, {"machine", kernels::describe_machine()}, {"recipe", options.recipe}};
  io::write_file(run.run / "pipeline" / "run.info", info.dump(2) + "\n");
  show(fmt::format("{} → {}\n{}", options.recipe, run.run.string(), kernels::describe_machine()));

  const pipeline::Events events = {
      [](const pipeline::Stage& stage, size_t index, size_t count) {
        show(fmt::format("\n[{}/{}] {}: {}\n$ tumbler {}", index + 1, count, stage.name, stage.title, fmt::join(stage.command, " ")));
      },
      [](const pipeline::Stage& stage, const pipeline::StageRecord& record) {
        show(fmt::format("{}: done before ({})", stage.name, pipeline::human_seconds(record.seconds)));
      },
      [](const pipeline::Stage& stage, const pipeline::StageRecord& record) {
        show(fmt::format("{}: done in {}, at most {} of memory", stage.name, pipeline::human_seconds(record.seconds),
                         pipeline::human_bytes(static_cast<double>(record.peak_rss_bytes))));
      }};
  pipeline::run_stages(stages_of(recipe, run, options), run.run, fs::read_symlink("/proc/self/exe").string(), options.from, events);
  io::write_file(run.report(), pipeline::render_report(run));
  show(fmt::format("\nThe report: {}\nPrompt the model: tumbler generate --model {} --prompt \"…\"", run.report().string(),
                   run.base().string()));
}

}  // namespace

void add_pipeline(CLI::App& app) {
  CLI::App* group = app.add_subcommand("pipeline", "The whole chain, from a recipe.");
  group->require_subcommand(1);
  CLI::App* run = group->add_subcommand("run", "Run a recipe: goes on where it stopped, redoes nothing that is finished.");
  auto options = std::make_shared<Options>();
  run->add_option("recipe", options->recipe, "the recipe, a TOML file")->required();
  run->add_option("--output", options->output, "run directory, instead of the recipe's");
  run->add_option("--set", options->set, "section.key=value, instead of the recipe's value");
  run->add_option("--from", options->from, "make this stage and all after it again; their old outputs are removed");
  run->callback([options] { run_pipeline(*options); });
}

void add_report(CLI::App& app) {
  CLI::App* report = app.add_subcommand("report", "Write the HTML report on a run.");
  auto directory = std::make_shared<std::string>();
  report->add_option("run", *directory, "the run directory")->required();
  report->callback([directory] {
    const pipeline::RunLayout run(*directory);
    io::write_file(run.report(), pipeline::render_report(run));
    std::cout << run.report().string() << '\n';
  });
}

}  // namespace tumbler::cli
