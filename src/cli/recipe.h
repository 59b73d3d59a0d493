// A recipe: one TOML file for the whole chain. Each stage has a section, read by that stage's own
// configuration struct.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace tumbler::cli {

struct Recipe {
  std::string title, output;
  std::string input;                 // pages to begin with (files or a pattern), instead of a crawl
  std::vector<std::string> prompts;  // what the report has the base model continue
  nlohmann::json sections;           // "crawl", "data", "tokenizer", "tokens", "pretrain", --set applied
};

// Reads the recipe and checks every section against its stage's fields, so that a wrong key is an error
// before the first stage starts and not an hour later. `set`: section.key=value.
Recipe read_recipe(const std::string& path, const std::vector<std::string>& set);

}  // namespace tumbler::cli
