// tumbler bench decode|prefill|turn|load: what a person who talks to a model waits for.
#include <chrono>
#include <cmath>
#include <memory>

#include <fmt/format.h>
#include <sys/resource.h>

#include "base/error.h"
#include "base/rng.h"
#include "chat/open_model.h"
#include "cli/bench.h"
#include "cli/bench_result.h"
#include "cli/model_files.h"
#include "engine/decoder.h"
#include "engine/sampler.h"
#include "kernels/isa.h"
#include "kernels/peak.h"

namespace tumbler::cli {
namespace {

struct Flags {
  std::string model, cache = "bf16";
  int64_t sequences = 1, tokens = 512, context = 16;
  int runs = 5;
  bool json = false;
};

kernels::CacheType cache_of(const std::string& name) {
  return name == "bf16" ? kernels::CacheType::bf16
         : name == "i8" ? kernels::CacheType::i8
                        : kernels::CacheType::f32;
}

std::vector<int32_t> random_tokens(const nn::ModelConfig& config, int64_t n, uint64_t stream) {
  Rng rng(1, stream);
  std::vector<int32_t> tokens;
  for (int64_t i = 0; i < n; ++i)
    tokens.push_back(static_cast<int32_t>(rng.below(static_cast<uint64_t>(config.vocab_size))));
  return tokens;
}

// The best of several: what else runs here only takes away.
double best_rate(kernels::Rate rate) {
  double best = 0;
  for (int i = 0; i < 5; ++i)
    best = std::max(best, kernels::measure_rate(rate, kernels::thread_count(), 0.1));
  return best;
}

// Bytes that a token needs: all weights (of an embedding that is not the head one row) and the keys and
// values of `context` positions.
double bytes_per_pass(const engine::Model& model) {
  const nn::ModelConfig& c = model.config();
  const kernels::PackedWeights& e = model.embedding();
  const auto unread = static_cast<double>(c.tied ? 0 : kernels::packed_bytes(e.type, e.rows, e.cols));
  return static_cast<double>(model.weight_bytes()) - unread;
}
double bytes_of_context(const nn::ModelConfig& c, kernels::CacheType cache, int64_t context) {
  const double tokens = static_cast<double>(context) / kernels::kPageTokens;
  return tokens * static_cast<double>(c.n_layer * c.n_kv_head * kernels::head_page_bytes(cache, c.head_dim));
}

nlohmann::ordered_json config_json(const Flags& flags, const engine::Model& model) {
  return {{"model", std::filesystem::path(flags.model).filename().string()},
          {"weights", model.weight_types()},
          {"cache", flags.cache}};
}

void bench_decode(const Flags& flags) {
  const chat::InferenceModel open = chat::open_for_inference(flags.model);
  const int64_t N = flags.sequences, steps = 32, capacity = flags.context + steps * (flags.runs + 2);
  const kernels::CacheType cache = cache_of(flags.cache);
  engine::Decoder decoder(open.model, {.sequences = N, .capacity = capacity, .cache = cache});
  std::vector<int64_t> slots;
  std::vector<int32_t> next(static_cast<size_t>(N));
  for (int64_t slot = 0; slot < N; ++slot) {
    slots.push_back(slot);
    decoder.extend(slot, random_tokens(open.model.config(), flags.context, static_cast<uint64_t>(slot)));
  }
  const double before = best_rate(kernels::Rate::read);
  BenchResult result{
      .bench = "decode",
      .config = config_json(flags, open.model),
      .unit = "tok/s",
      .runs = measure(flags.runs,
                      [&] {
                        for (int64_t i = 0; i < steps; ++i) {
                          for (int64_t slot = 0; slot < N; ++slot)
                            next[static_cast<size_t>(slot)] = engine::argmax(decoder.logits(slot));
                          decoder.step(slots, next);
                        }
                        return static_cast<double>(steps * N);
                      }),
      .work_per_unit = (bytes_per_pass(open.model) / static_cast<double>(N) +
                        bytes_of_context(open.model.config(), cache, flags.context + capacity / 2)) /
                       1e9,
      .peak = 0,
      .peak_unit = "GB/s read"};
  result.peak = std::max(before, best_rate(kernels::Rate::read));
  result.config["sequences"] = N;
  result.config["context"] = flags.context;
  print_result(result, flags.json);
}

// Multiplications and additions of a prompt of T tokens: matrices for each, the head once, attention of each
// to all before it.
double prefill_ops(const nn::ModelConfig& c, int64_t T) {
  const auto matrices = static_cast<double>(nn::count_parameters(c).matrices), t = static_cast<double>(T);
  return 2 * (matrices * t + static_cast<double>(c.vocab_size * c.n_embd)) +
         2 * static_cast<double>(c.n_layer * c.n_head * c.head_dim) * t * (t + 1);
}

void bench_prefill(const Flags& flags) {
  const chat::InferenceModel open = chat::open_for_inference(flags.model);
  const std::vector<int32_t> prompt = random_tokens(open.model.config(), flags.tokens, 0);
  engine::Decoder decoder(open.model, {.capacity = flags.tokens, .cache = cache_of(flags.cache)});
  const bool rounded = open.model.head().quantised() || open.model.layers()[0].qkv.quantised();
  const kernels::Rate rate = rounded ? kernels::Rate::int8 : kernels::Rate::f32;
  const double before = best_rate(rate);
  BenchResult result{.bench = "prefill",
                     .config = config_json(flags, open.model),
                     .unit = "tok/s",
                     .runs = measure(flags.runs,
                                     [&] {
                                       decoder.truncate(0, 0);
                                       decoder.extend(0, prompt);
                                       return static_cast<double>(prompt.size());
                                     }),
                     .work_per_unit = prefill_ops(open.model.config(), flags.tokens) /
                                      static_cast<double>(flags.tokens) / 1e9,
                     .peak = 0,
                     .peak_unit = rounded ? "GOP/s int8" : "GFLOP/s f32"};
  result.peak = std::max(before, best_rate(rate));
  result.config["tokens"] = flags.tokens;
  print_result(result, flags.json);
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// The first turn reads `tokens` of history, the second 20 more; the time to its first token over the first's.
void bench_turn(const Flags& flags) {
  const chat::InferenceModel open = chat::open_for_inference(flags.model);
  const std::vector<int32_t> history = random_tokens(open.model.config(), flags.tokens, 0),
                             question = random_tokens(open.model.config(), 20, 1);
  engine::Decoder decoder(open.model, {.capacity = flags.tokens + 20, .cache = cache_of(flags.cache)});
  std::vector<double> ratios;
  for (int i = 0; i <= flags.runs; ++i) {
    decoder.truncate(0, 0);
    const auto start = std::chrono::steady_clock::now();
    decoder.extend(0, history);
    const double first = seconds_since(start);
    const auto again = std::chrono::steady_clock::now();
    decoder.extend(0, question);
    if (i > 0) ratios.push_back(100 * seconds_since(again) / first);
  }
  BenchResult result{.bench = "turn",
                     .config = config_json(flags, open.model),
                     .unit = "%",
                     .runs = ratios,
                     .peak_unit = ""};
  result.config["tokens"] = flags.tokens;
  print_result(result, flags.json);
}

// From nothing to the first token of a short prompt, the file cached.
void bench_load(const Flags& flags) {
  std::vector<double> runs;
  nlohmann::ordered_json config;
  for (int i = 0; i <= flags.runs; ++i) {
    const auto start = std::chrono::steady_clock::now();
    const chat::InferenceModel open = chat::open_for_inference(flags.model);
    engine::Decoder decoder(open.model, {.cache = cache_of(flags.cache)});
    decoder.extend(0, open.tokenizer.encode("The first token"));
    engine::argmax(decoder.logits(0));
    if (i > 0) runs.push_back(1000 * seconds_since(start));
    config = config_json(flags, open.model);
  }
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  config["peak_rss_mb"] = usage.ru_maxrss / 1024;
  config["file_mb"] =
      std::filesystem::is_regular_file(flags.model) ? std::filesystem::file_size(flags.model) >> 20 : 0;
  print_result({.bench = "load", .config = config, .unit = "ms", .runs = runs, .peak_unit = ""}, flags.json);
}

using Run = void (*)(const Flags&);
void add(CLI::App& bench, const char* name, const char* what, Run run) {
  CLI::App* command = bench.add_subcommand(name, what);
  auto flags = std::make_shared<Flags>();
  command->add_option("--model", flags->model, "Hugging Face directory or .gguf file")->required();
  command->add_option("--cache", flags->cache, "what keys and values are kept in")
      ->check(CLI::IsMember({"bf16", "i8", "f32"}));
  if (run == bench_decode) {
    command->add_option("--sequences", flags->sequences, "sequences at once")->check(CLI::Range(1, 4096));
    command->add_option("--context", flags->context, "tokens that each holds at the start")
        ->check(CLI::Range(1, 1 << 20));
  }
  if (run == bench_turn) flags->tokens = 2000;
  if (run == bench_prefill || run == bench_turn)
    command->add_option("--tokens", flags->tokens, "of the prompt")->check(CLI::Range(1, 1 << 20));
  command->add_option("--runs", flags->runs, "measurements")->check(CLI::Range(1, 100000));
  command->add_flag("--json", flags->json, "one line of JSON");
  command->callback([flags, run] {
    if (!flags->json) fmt::print("{}\n", kernels::describe_machine());
    run(*flags);
  });
}

}  // namespace

void add_bench_decode(CLI::App& bench) {
  add(bench, "decode", "New tokens a second, and the share of the memory's bandwidth.", bench_decode);
  add(bench, "prefill", "Tokens of a prompt a second, and the share of the machine's peak.", bench_prefill);
  add(bench, "turn", "Time to the first token of a second turn, in percent of the first turn's.", bench_turn);
  add(bench, "load", "Milliseconds from a file to the first token.", bench_load);
}

}  // namespace tumbler::cli
