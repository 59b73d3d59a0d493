#include "kernels/peak.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <vector>

#include <omp.h>

#include "base/check.h"
#include "kernels/isa.h"
#include "kernels/peak_loops.h"
#include "kernels/table.h"

namespace tumbler::kernels {
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// All threads run `work(rounds)` at the same time, as often as fits into `seconds`; the rate of a thread
// counts only its own time, so that neither starting nor ending unevenly is counted. Returns the sum of the
// threads' rates, in units of `ops` a round.
template <class Work>
double rate_of(int threads, double seconds, int64_t rounds, double ops, const Work& work) {
  std::atomic<float> sink = 0;
  double total = 0;
#pragma omp parallel num_threads(threads) reduction(+ : total)
  {
    float keep = work(rounds / 8 + 1);  // wakes the vector units
#pragma omp barrier
    const double start = now();
    int64_t calls = 0;
    double end = start;
    do {
      keep += work(rounds);
      ++calls;
      end = now();
    } while (end - start < seconds);
    total += static_cast<double>(calls) * static_cast<double>(rounds) * ops / (end - start);
    sink.store(keep, std::memory_order_relaxed);
  }
  return total;
}

double read_rate(int threads, double seconds) {
  constexpr int64_t kFloats = int64_t{64} << 20;  // 256 MiB
  const int64_t share = kFloats / threads / 256 * 256;
  std::vector<float> data(static_cast<size_t>(share * threads), 1.0f);
  const auto read = table().peak.read;
  return 1e-9 * rate_of(threads, seconds, share, 4, [&](int64_t n) {
           const int64_t floats = n == share ? share : n / 256 * 256;
           return read(data.data() + omp_get_thread_num() * share, floats);
         });
}

}  // namespace

double measure_rate(Rate rate, int threads, double seconds) {
  CHECK(threads > 0 && seconds > 0);
  constexpr int64_t kRounds = 1 << 16;  // some 100 us a call
  switch (rate) {
    case Rate::read:
      return read_rate(threads, seconds);
    case Rate::f32: {
      const PeakLoops& loops = table().peak;
      return 1e-9 * rate_of(threads, seconds, kRounds, static_cast<double>(loops.fma_flop), loops.fma);
    }
    case Rate::bf16:
    case Rate::int8: {
      const DotLoop loop = rate == Rate::bf16 ? bf16_loop() : int8_loop();
      if (loop.run == nullptr) return 0;
      return 1e-9 * rate_of(threads, seconds, kRounds, static_cast<double>(loop.ops), loop.run);
    }
  }
  return 0;
}

double training_peak_gflop_s(bool bf16) {
  const Rate rate = bf16 && has_fast_bf16() ? Rate::bf16 : Rate::f32;
  double best = 0;
  for (int i = 0; i < 4; ++i) best = std::max(best, measure_rate(rate, thread_count(), 0.05));
  return best;
}

}  // namespace tumbler::kernels
