// tumbler bench train: whole training steps (forward, backward, clipping, optimiser) of a model of random
// weights on random tokens.
#include <cmath>
#include <iostream>
#include <memory>

#include <fmt/format.h>
#include <sys/resource.h>

#include "base/error.h"
#include "base/rng.h"
#include "cli/bench.h"
#include "cli/bench_result.h"
#include "kernels/isa.h"
#include "kernels/peak.h"
#include "nn/optimizer.h"
#include "nn/transformer.h"

namespace tumbler::cli {
namespace {

struct Flags {
  std::string shape = "quickstart", dtype = "auto", optimizer = "auto", recomputation = "none";
  int64_t batch = 0, time = 0;
  int runs = 10;
  bool json = false, profile = false;
};

struct Shape {
  nn::ModelConfig config;
  int64_t B, T;
  std::string optimizer;
};

Shape shape_of(const Flags& flags) {
  Shape shape = flags.shape == "gpt2-124m"
                    ? Shape{nn::gpt2_config(12, 768, 12), 4, 1024, "adamw"}
                    : Shape{nn::qwen3_from_depth(4, 8192, 256), 8, 256, "muon"};  // recipes/quickstart.toml
  if (flags.batch > 0) shape.B = flags.batch;
  if (flags.time > 0) shape.T = flags.time;
  if (flags.optimizer != "auto") shape.optimizer = flags.optimizer;
  shape.config.max_positions = std::max(shape.config.max_positions, shape.T);
  return shape;
}

kernels::DType dtype_of(const std::string& name) {
  if (name == "auto") return kernels::best_dtype();
  return name == "bf16" ? kernels::DType::bf16 : kernels::DType::f32;
}

// One model, its optimiser and one batch that every step sees again.
class Trainer {
 public:
  Trainer(const Shape& shape, kernels::DType dtype, const Flags& flags)
      : shape_(shape),
        parameters_(shape.config, {.dtype = dtype}),
        transformer_(parameters_,
                     {.max_tokens = shape.B * shape.T,
                      .max_time = shape.T,
                      .recomputation = flags.recomputation == "block" ? nn::Recomputation::block
                                                                      : nn::Recomputation::none}),
        optimizer_({.optimizer = shape.optimizer, .lr = 1e-4}, parameters_) {
    parameters_.initialize(1);
    Rng rng(2);
    const auto vocabulary = static_cast<uint64_t>(shape.config.vocab_size);
    for (int64_t i = 0; i < shape.B * shape.T; ++i) {
      tokens_.push_back(static_cast<int32_t>(rng.below(vocabulary)));
      targets_.push_back(static_cast<int32_t>(rng.below(vocabulary)));
    }
    weights_.assign(tokens_.size(), 1.0f / static_cast<float>(tokens_.size()));
  }

  // Returns the tokens trained on.
  double step() {
    parameters_.zero_gradients();
    loss_ = transformer_.forward_backward(
        {.B = shape_.B, .T = shape_.T, .tokens = tokens_, .targets = targets_, .weights = weights_});
    if (!optimizer_.step(1).applied)
      throw Error("bench train", "gradient norm: got a number that is not finite");
    return static_cast<double>(tokens_.size());
  }
  double loss() const noexcept { return loss_; }
  void set_profiler(nn::Profiler* profiler) {
    transformer_.set_profiler(profiler);
    optimizer_.set_profiler(profiler);
  }

 private:
  Shape shape_;
  nn::Parameters parameters_;
  nn::Transformer transformer_;
  nn::Optimizer optimizer_;
  std::vector<int32_t> tokens_, targets_;
  std::vector<float> weights_;
  double loss_ = 0;
};

// A model that knows nothing gives each token about 1/V, and learns a batch that it sees again.
void check_answer(Trainer& trainer, int64_t V) {
  trainer.step();
  const double first = trainer.loss(), expected = std::log(static_cast<double>(V));
  if (!(std::abs(first - expected) < 1))
    throw Error("bench train", "first loss: got {}, expected about {}", first, expected);
  trainer.step();
  if (!(trainer.loss() < first))
    throw Error("bench train", "second loss: got {}, expected less than {}", trainer.loss(), first);
}

void print_profile(const nn::Profiler& profiler, int steps, double peak) {
  double total = 0;
  for (const auto& e : profiler.entries()) total += e.seconds;
  std::cout << fmt::format("{:<26} {:>10} {:>7} {:>9} {:>10}\n", "operation", "ms/step", "time", "GFLOP/s",
                           "% of peak");
  for (const auto& e : profiler.entries()) {
    const double rate = e.flops / e.seconds / 1e9;
    std::cout << fmt::format("{:<26} {:>10.2f} {:>5.1f} %", e.name, 1e3 * e.seconds / steps,
                             100 * e.seconds / total);
    std::cout << (e.flops > 0 ? fmt::format(" {:>9.1f} {:>8.1f} %\n", rate, 100 * rate / peak)
                              : std::string("\n"));
  }
}

double peak_rss_mb() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;  // Linux counts kilobytes
}

void bench_train(const Flags& flags) {
  const Shape shape = shape_of(flags);
  const kernels::DType dtype = dtype_of(flags.dtype);
  const bool bf16 = dtype == kernels::DType::bf16;
  if (!flags.json) std::cout << kernels::describe_machine() << '\n' << nn::describe(shape.config) << '\n';
  const double before = kernels::training_peak_gflop_s(bf16);
  Trainer trainer(shape, dtype, flags);
  check_answer(trainer, shape.config.vocab_size);
  nn::Profiler profiler;
  if (flags.profile) trainer.set_profiler(&profiler);
  BenchResult result{.bench = "train",
                     .config = {},
                     .unit = "tok/s",
                     .runs = measure(flags.runs, [&] { return trainer.step(); }),
                     .work_per_unit = nn::flops_per_token(shape.config, shape.T) / 1e9,
                     .peak = 0,
                     .peak_unit = "GFLOP/s"};
  // A machine that slows down under load (clocks, neighbours) does so between the two measurements.
  result.peak = std::max(before, kernels::training_peak_gflop_s(bf16));
  result.config = {{"shape", flags.shape},
                   {"batch", shape.B},
                   {"time", shape.T},
                   {"dtype", bf16 ? "bf16" : "f32"},
                   {"optimizer", shape.optimizer},
                   {"recomputation", flags.recomputation},
                   {"peak_rss_mb", std::round(peak_rss_mb())}};
  print_result(result, flags.json);
  if (flags.profile) print_profile(profiler, flags.runs + 1, result.peak);
}

}  // namespace

void add_bench_train(CLI::App& bench) {
  CLI::App* train = bench.add_subcommand(
      "train", "Tokens a second in training, and the share of the machine's peak (docs/benchmarks.md).");
  auto flags = std::make_shared<Flags>();
  train->add_option("--shape", flags->shape, "the model")->check(CLI::IsMember({"gpt2-124m", "quickstart"}));
  train->add_option("--batch", flags->batch, "sequences in a step; 0: the shape's own (4, 8)")
      ->check(CLI::Range(0, 1 << 16));
  train->add_option("--time", flags->time, "tokens in a sequence; 0: the shape's own (1024, 256)")
      ->check(CLI::Range(0, 1 << 20));
  train->add_option("--dtype", flags->dtype, "of activations and products")
      ->check(CLI::IsMember({"auto", "f32", "bf16"}));
  train->add_option("--optimizer", flags->optimizer, "of the matrices; auto: the shape's own (adamw, muon)")
      ->check(CLI::IsMember({"auto", "adamw", "muon"}));
  train->add_option("--recomputation", flags->recomputation, "of activations")
      ->check(CLI::IsMember({"none", "block"}));
  train->add_option("--runs", flags->runs, "steps that are measured")->check(CLI::Range(1, 100000));
  train->add_flag("--profile", flags->profile, "also where the time goes, by operation");
  train->add_flag("--json", flags->json, "one line of JSON");
  train->callback([flags] { bench_train(*flags); });
}

}  // namespace tumbler::cli
