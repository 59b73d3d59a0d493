// The flags that choose a data recipe: the same for `data build`, `data explain` and `bench data`.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "text/recipe.h"

namespace tumbler::cli {

struct DataOptionFlags {
  std::string recipe = "fineweb-2024", config_file;
  std::vector<std::string> assignments;

  void add_to(CLI::App& command);
  // The recipe, then the file's [data] table, then --set. Throws Error on an unknown key or value.
  text::FilterOptions resolve() const;
};

}  // namespace tumbler::cli
