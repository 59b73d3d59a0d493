// tumbler bench peak: what the machine can do at most, by 1..N threads.
#include <iostream>

#include "base/log.h"
#include "cli/bench.h"
#include "cli/bench_result.h"
#include "kernels/isa.h"
#include "kernels/peak.h"

namespace tumbler::cli {
namespace {

struct Figure {
  kernels::Rate rate;
  const char *name, *unit;
};
constexpr Figure kFigures[] = {{kernels::Rate::read, "read_gb_s", "GB/s"},
                               {kernels::Rate::f32, "f32_gflop_s", "GFLOP/s"},
                               {kernels::Rate::bf16, "bf16_gflop_s", "GFLOP/s"},
                               {kernels::Rate::int8, "int8_gop_s", "GOP/s"}};

void bench_peak(bool json) {
  constexpr int kRuns = 10;
  constexpr double kSeconds = 0.1;
  if (!json) std::cout << kernels::describe_machine() << '\n';
  const int most = kernels::thread_count();
  for (const Figure& figure : kFigures)
    for (int threads = 1; threads <= most; ++threads) {
      BenchResult result{"peak", {{"figure", figure.name}, {"threads", threads}}, figure.unit, {}, 1, 0, ""};
      for (int run = 0; run < kRuns; ++run) {
        const double rate = kernels::measure_rate(figure.rate, threads, kSeconds);
        if (rate == 0) break;
        result.runs.push_back(rate);
      }
      if (result.runs.empty()) {
        log::info("{}: this instruction set has no such instruction", figure.name);
        break;
      }
      print_result(result, json);
    }
}

}  // namespace

void add_bench_peak(CLI::App& bench) {
  CLI::App* peak =
      bench.add_subcommand("peak", "Read bandwidth and f32, bf16, int8 arithmetic rates, for 1..N threads.");
  auto json = std::make_shared<bool>(false);
  peak->add_flag("--json", *json, "one line of JSON a figure");
  peak->callback([json] { bench_peak(*json); });
}

}  // namespace tumbler::cli
