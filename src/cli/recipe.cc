#include "cli/recipe.h"

#include <algorithm>

#include "base/config.h"
#include "io/toml.h"
#include "pretrain/pretrain.h"
#include "text/recipe.h"

namespace tumbler::cli {
namespace {

// Keys of [tokenizer] and [tokens]: the flags of `tumbler tokenizer train` and `tumbler tokens build`.
struct TokenizerSection {
  int64_t vocab_size = 8192, min_frequency = 2, max_token_bytes = 0;
  std::string pattern = "qwen2";
  template <class V>
  void visit_fields(V& v) {
    v("vocab_size", vocab_size, "", "");
    v("min_frequency", min_frequency, "", "");
    v("max_token_bytes", max_token_bytes, "", "");
    v("pattern", pattern, "", "");
  }
};
struct TokensSection {
  double held_out_fraction = 0.01;
  int64_t seed = 1;
  template <class V>
  void visit_fields(V& v) {
    v("held_out_fraction", held_out_fraction, "", "");
    v("seed", seed, "", "");
  }
};
struct Head {
  std::string title = "A base model from a crawl", output, input;
  std::vector<std::string> prompts;
  template <class V>
  void visit_fields(V& v) {
    v("title", title, "", "of the report");
    v("output", output, "", "run directory");
    v("input", input, "", "pages to begin with, files or a pattern, instead of a crawl");
    v("prompts", prompts, "", "what the report has the base model continue");
  }
};

constexpr const char* kSections[] = {"crawl", "data", "tokenizer", "tokens", "pretrain"};

template <class Config>
void check(const nlohmann::json& sections, const char* name, const std::string& path, Config config = {}) {
  if (const auto found = sections.find(name); found != sections.end())
    config::from_json(config, *found, path + " [" + name + "]");
}

}  // namespace

Recipe read_recipe(const std::string& path, const std::vector<std::string>& set) {
  nlohmann::json file = io::read_toml(path);
  for (const std::string& assignment : set) file.merge_patch(config::parse_assignment(assignment));
  Recipe recipe;
  for (const char* name : kSections)
    if (const auto found = file.find(name); found != file.end()) {
      recipe.sections[name] = *found;
      file.erase(name);
    }
  Head head;
  config::from_json(head, file, path);
  if (head.output.empty())
    throw Error(path, "got no `output`, expected the run's directory: output = \"runs/NAME\"");
  recipe.title = head.title;
  recipe.output = head.output;
  recipe.input = head.input;
  recipe.prompts = head.prompts;
  check(recipe.sections, "data", path, text::named_recipe("fineweb-2024"));
  check<TokenizerSection>(recipe.sections, "tokenizer", path);
  check<TokensSection>(recipe.sections, "tokens", path);
  if (const auto found = recipe.sections.find("pretrain"); found != recipe.sections.end()) {
    nlohmann::json table = *found;  // with what the stages before it will give
    table["data"] = {"tokens"};
    table["tokenizer"] = "tokenizer";
    pretrain::config_from_json(table, path + " [pretrain]");
  }
  return recipe;
}

}  // namespace tumbler::cli
