// One benchmark figure, printed as a line of JSON or as a row for people: docs/benchmarks.md says how they
// are made.
#pragma once

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace tumbler::cli {

struct BenchResult {
  std::string bench;              // "train"
  nlohmann::ordered_json config;  // shape, dtype, what the figure depends on
  std::string unit;               // "tok/s"
  std::vector<double> runs;       // one figure a run, larger is better
  double work_per_unit = 1;       // `peak` units of work in one unit of the figure (flop a token / 1e9)
  double peak = 0;                // of the machine, same run; 0: none applies
  std::string peak_unit;          // "GFLOP/s"
};

// Threads and instruction set are the ones in force. "value" is the median.
void print_result(const BenchResult& result, bool json);

// Runs `work` (which returns the amount done) once to warm up and then `runs` times; amounts per second.
template <class Work>
std::vector<double> measure(int runs, const Work& work) {
  work();
  std::vector<double> rates;
  for (int i = 0; i < runs; ++i) {
    const auto start = std::chrono::steady_clock::now();
    const double amount = work();
    rates.push_back(amount / std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return rates;
}

}  // namespace tumbler::cli
