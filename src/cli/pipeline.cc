// tumbler pipeline run RECIPE.toml: the whole chain. Each stage is a `tumbler` command of its own that is
// shown before it runs.
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

// The stages of a recipe as commands. A section's keys are the stage's own flags (--vocab-size) or settings
// (--set key=value).
class Plan {
 public:
  Plan(const Recipe& recipe, pipeline::RunLayout run) : recipe_(recipe), run_(std::move(run)) {}

  std::vector<pipeline::Stage> stages() {
    const std::string documents = (run_.data() / "documents" / "*.jsonl.zst").string();
    if (recipe_.input.empty())
      add("crawl", "real web pages → WARC", run_.crawl(),
          with_settings({"crawl", "--output", run_.crawl().string()}, "crawl"));
    add("data", "WARC → clean, unique English documents", run_.data(), data_command());
    add("tokenizer", "documents → byte pairs", run_.tokenizer(),
        with_flags({"tokenizer", "train", "--input", documents, "--output", run_.tokenizer().string()},
                   "tokenizer"));
    add("tokens", "documents → token shards, some pages held out", run_.tokens(),
        with_flags({"tokens", "build", "--input", documents, "--tokenizer", run_.tokenizer().string(),
                    "--output", run_.tokens().string()},
                   "tokens"));
    add("pretrain", "token shards → base model", run_.base(), pretrain_command());
    const fs::path bpb = run_.facts() / "bpb.jsonl";
    add("evaluate", "bits per byte of the held-out pages", bpb,
        {"eval", "--model", run_.base().string(), "--tasks", "bpb", "--data",
         (run_.tokens() / "held_out.ds").string(), "--json"},
        bpb);
    for (size_t i = 0; i < recipe_.prompts.size(); ++i) {
      const fs::path out = run_.facts() / fmt::format("completion_{}.jsonl", i + 1);
      add(fmt::format("prompt-{}", i + 1), fmt::format("the base model continues “{}”", recipe_.prompts[i]),
          out,
          {"generate", "--model", run_.base().string(), "--prompt", recipe_.prompts[i], "--max-tokens", "48",
           "--temperature", "0.7", "--seed", "1", "--top-logprobs", "5", "--json"},
          out);
    }
    return std::move(stages_);
  }

 private:
  using Command = std::vector<std::string>;

  void add(const std::string& name, const std::string& title, const fs::path& output, Command command,
           const fs::path& stdout_file = {}) {
    stages_.push_back(
        {name, title, command, recipe_.sections.value(name, nlohmann::json(command)), output, stdout_file});
  }
  const nlohmann::json& section(const std::string& name) const {
    static const nlohmann::json kEmpty = nlohmann::json::object();
    const auto found = recipe_.sections.find(name);
    return found == recipe_.sections.end() ? kEmpty : *found;
  }
  static std::string plain(const nlohmann::json& value) {
    return value.is_string() ? value.get<std::string>() : value.dump();
  }

  Command with_settings(Command command, const std::string& name) const {
    for (const auto& [key, value] : section(name).items())
      command.insert(command.end(), {"--set", key + "=" + plain(value)});
    return command;
  }
  Command with_flags(Command command, const std::string& name) const {
    for (const auto& [key, value] : section(name).items()) {
      std::string flag = "--" + key;
      std::replace(flag.begin(), flag.end(), '_', '-');
      command.insert(command.end(), {flag, plain(value)});
    }
    return command;
  }
  Command data_command() const {
    return with_settings({"data", "build", "--input",
                          recipe_.input.empty() ? (run_.crawl() / "*.warc.gz").string() : recipe_.input,
                          "--output", run_.data().string()},
                         "data");
  }
  Command pretrain_command() const {
    const auto list = [](const fs::path& path) { return nlohmann::json::array({path.string()}).dump(); };
    Command command = {"pretrain", "--resume",
                       "--output", run_.base().string(),
                       "--set",    "data=" + list(run_.tokens() / "train_*.ds"),
                       "--set",    "heldout=" + list(run_.tokens() / "held_out.ds"),
                       "--set",    "tokenizer=" + run_.tokenizer().string()};
    return with_settings(std::move(command), "pretrain");
  }

  const Recipe& recipe_;
  pipeline::RunLayout run_;
  std::vector<pipeline::Stage> stages_;
};

void show(const std::string& line) {
  std::cerr << line << '\n';
}

void run_pipeline(const Options& options) {
  const Recipe recipe = read_recipe(options.recipe, options.set);
  const pipeline::RunLayout run(options.output.empty() ? fs::path(recipe.output) : fs::path(options.output));
  io::make_directories(run.run / "pipeline");
  io::make_directories(run.facts());
  const nlohmann::ordered_json info = {
      {"title", recipe.title}, {"machine", kernels::describe_machine()}, {"recipe", options.recipe}};
  io::write_file(run.run / "pipeline" / "run.info", info.dump(2) + "\n");
  show(fmt::format("{} → {}\n{}", options.recipe, run.run.string(), kernels::describe_machine()));

  const pipeline::Events events = {
      [](const pipeline::Stage& stage, size_t index, size_t count) {
        show(fmt::format("\n[{}/{}] {}: {}\n$ {}", index + 1, count, stage.name, stage.title,
                         pipeline::shell_line(stage.command)));
      },
      [](const pipeline::Stage& stage, const pipeline::StageRecord& record) {
        show(fmt::format("{}: done before ({})", stage.name, pipeline::human_seconds(record.seconds)));
      },
      [](const pipeline::Stage& stage, const pipeline::StageRecord& record) {
        show(fmt::format("{}: done in {}, at most {} of memory", stage.name,
                         pipeline::human_seconds(record.seconds),
                         pipeline::human_bytes(static_cast<double>(record.peak_rss_bytes))));
      }};
  pipeline::run_stages(Plan(recipe, run).stages(), run.run, fs::read_symlink("/proc/self/exe").string(),
                       options.from, events);
  io::write_file(run.report(), pipeline::render_report(run));
  show(fmt::format("\nThe report: {}\nPrompt the model: tumbler generate --model {} --prompt \"…\"",
                   run.report().string(), run.base().string()));
}

}  // namespace

void add_pipeline(CLI::App& app) {
  CLI::App* group = app.add_subcommand("pipeline", "The whole chain, from a recipe.");
  group->require_subcommand(1);
  CLI::App* run = group->add_subcommand(
      "run", "Run a recipe: goes on where it stopped, redoes nothing that is finished.");
  auto options = std::make_shared<Options>();
  run->add_option("recipe", options->recipe, "the recipe, a TOML file")->required();
  run->add_option("--output", options->output, "run directory, instead of the recipe's");
  run->add_option("--set", options->set, "section.key=value, instead of the recipe's value");
  run->add_option("--from", options->from,
                  "make this stage and all after it again; their old outputs are removed");
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
