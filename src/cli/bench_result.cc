#include "cli/bench_result.h"

#include <iostream>

#include <fmt/format.h>

#include "base/check.h"
#include "kernels/isa.h"

#ifndef TUMBLER_COMMIT
#define TUMBLER_COMMIT ""
#endif

namespace tumbler::cli {
namespace {

double rounded(double x) {
  return std::stod(fmt::format("{:.5g}", x));
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : 0.5 * (values[n / 2 - 1] + values[n / 2]);
}

}  // namespace

void print_result(const BenchResult& r, bool json) {
  CHECK(!r.runs.empty());
  const double middle = median(r.runs), best = *std::max_element(r.runs.begin(), r.runs.end());
  const double percent = r.peak > 0 ? 100 * middle * r.work_per_unit / r.peak : 0;
  if (!json) {
    const std::string share =
        r.peak > 0 ? fmt::format("  {:5.1f} % of {:.4g} {}", percent, r.peak, r.peak_unit) : "";
    std::cout << fmt::format("{:<10} {:<44} {:>10.4g} {:<8} best {:>10.4g}{}\n", r.bench, r.config.dump(),
                             middle, r.unit, best, share)
              << std::flush;
    return;
  }
  nlohmann::ordered_json line = {
      {"bench", r.bench},
      {"config", r.config},
      {"isa", kernels::isa_name(kernels::active_isa())},
      {"threads", r.config.value("threads", kernels::thread_count())},
      {"value", rounded(middle)},
      {"unit", r.unit},
      {"peak", r.peak > 0 ? nlohmann::ordered_json(rounded(r.peak)) : nlohmann::ordered_json(nullptr)},
      {"percent_of_peak",
       r.peak > 0 ? nlohmann::ordered_json(rounded(percent)) : nlohmann::ordered_json(nullptr)},
      {"median", rounded(middle)},
      {"best", rounded(best)},
      {"runs", r.runs.size()},
      {"commit", TUMBLER_COMMIT}};
  std::cout << line.dump() << '\n' << std::flush;
}

}  // namespace tumbler::cli
