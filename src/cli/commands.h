// One function a subcommand, each in its own file: it declares its flags and a callback that does the work.
#pragma once

#include <CLI/CLI.hpp>

namespace tumbler::cli {

void add_bench(CLI::App& app);
void add_version(CLI::App& app);
void add_chat(CLI::App& app);
void add_models(CLI::App& app);
void add_serve(CLI::App& app);
void add_crawl(CLI::App& app);
void add_report(CLI::App& app);
void add_pipeline(CLI::App& app);
void add_eval(CLI::App& app);
void add_generate(CLI::App& app);
void add_convert(CLI::App& app);
void add_pretrain(CLI::App& app);
void add_pull(CLI::App& app);
void add_data(CLI::App& app);
void add_tokenizer(CLI::App& app);
void add_tokens(CLI::App& app);
void add_data_build(CLI::App& data);
void add_data_explain(CLI::App& data);
void add_data_extract(CLI::App& data);
void add_bench_data(CLI::App& bench);
void add_bench_tokenizer(CLI::App& bench);
void add_data_stats(CLI::App& data);

}  // namespace tumbler::cli
