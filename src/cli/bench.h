// `tumbler bench X`: each benchmark is a file bench_X.cc with one function that declares it.
#pragma once

#include <CLI/CLI.hpp>

namespace tumbler::cli {

void add_bench_peak(CLI::App& bench);
void add_bench_tokenizer(CLI::App& bench);
void add_bench_decode(CLI::App& bench);
void add_bench_train(CLI::App& bench);

}  // namespace tumbler::cli
