// What this machine can do: the yardstick of every benchmark.
#pragma once

#include <cstdint>

namespace tumbler::kernels {

// Rates of `threads` threads together. Arithmetic rates are those of independent multiply-adds in registers:
// no program can do more. 0 where the instruction set in force has no such instruction (bf16 without
// AVX512_BF16).
struct Peak {
  double read_gb_s = 0;     // a sum over 256 MiB that no cache holds
  double f32_gflop_s = 0;   // FMA
  double bf16_gflop_s = 0;  // VDPBF16PS
  double int8_gop_s = 0;    // VPDPBUSD, or VPMADDUBSW + VPMADDWD + VPADDD where there is no VNNI
};

enum class Rate { read, f32, bf16, int8 };

// One measurement of one rate, for about `seconds`.
double measure_rate(Rate rate, int threads, double seconds);

// The best of a few short measurements of the rate that training in `dtype` is limited by (bf16 or f32), with
// all threads: about 0.2 s.
double training_peak_gflop_s(bool bf16);

}  // namespace tumbler::kernels
