#include "cli/commands.h"

namespace tumbler::cli {

void add_data(CLI::App& app) {
  CLI::App* data = app.add_subcommand("data", "Raw pages to documents.");
  data->require_subcommand(1);
  add_data_build(*data);
  add_data_explain(*data);
  add_data_stats(*data);
  add_data_extract(*data);
}

}  // namespace tumbler::cli
