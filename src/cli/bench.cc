#include "cli/bench.h"

#include "cli/commands.h"

namespace tumbler::cli {

void add_bench(CLI::App& app) {
  CLI::App* bench = app.add_subcommand("bench", "Measure this machine, and what share of it tumbler uses.");
  bench->require_subcommand(1);
  add_bench_peak(*bench);
  add_bench_tokenizer(*bench);
  add_bench_data(*bench);
  add_bench_train(*bench);
  add_bench_decode(*bench);
}

}  // namespace tumbler::cli
