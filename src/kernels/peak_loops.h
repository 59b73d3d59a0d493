// The loops behind measure_rate, one set an instruction set. A null pointer: no such instruction.
#pragma once

#include <cstdint>

namespace tumbler::kernels {

struct PeakLoops {
  float (*fma)(int64_t rounds);
  int64_t fma_flop;  // of a round
  float (*read)(const float* data, int64_t n);
};

// Dot products of bf16 and of bytes, which have instructions of their own: peak_dot.cc. Each returns a value
// that depends on its work.
struct DotLoop {
  float (*run)(int64_t rounds);
  int64_t ops;  // multiplications and additions of a round
};
DotLoop bf16_loop();
DotLoop int8_loop();

}  // namespace tumbler::kernels
