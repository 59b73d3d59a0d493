// Where things lie in a packed group: see packed.h. Shared by the layout's writer and the kernels.
#pragma once

#include <cstdint>

#include "kernels/quants.h"

namespace tumbler::kernels {

constexpr int64_t kStepBytes = 64;  // 16 rows of 4 columns
// Blocks of inputs that are no larger than this are rounded to 0, since 127 / x has to be finite.
constexpr float kLeastInput = 1e-30f;

// How a quantised type is stored and read.
struct PackedFormat {
  int bits;              // of a stored weight
  int offset;            // what is taken from it
  bool has_min;          // a minimum beside the scale
  bool has_supers;       // scales of 256 columns and of parts of them
  int64_t weight_bytes;  // of a block of 32 columns, 16 rows
  int64_t scale_bytes;   // of a block, or of 256 columns where has_supers
};

constexpr PackedFormat packed_format(WeightType type) noexcept {
  constexpr int64_t f16s = 32;
  switch (type) {
    case WeightType::q8_0:
      return {8, 128, false, false, 8 * kStepBytes, f16s};
    case WeightType::q4_0:
      return {4, 8, false, false, 4 * kStepBytes, f16s};
    case WeightType::q4_1:
      return {4, 0, true, false, 4 * kStepBytes, 2 * f16s};
    case WeightType::q5_0:
      return {5, 16, false, false, 5 * kStepBytes, f16s};
    case WeightType::q5_1:
      return {5, 0, true, false, 5 * kStepBytes, 2 * f16s};
    case WeightType::q4_k:
      return {4, 0, true, true, 4 * kStepBytes, 2 * f16s + 8 * 32};
    case WeightType::q5_k:
      return {5, 0, true, true, 5 * kStepBytes, 2 * f16s + 8 * 32};
    case WeightType::q6_k:
      return {6, 32, false, true, 6 * kStepBytes, f16s + 16 * 16};
    case WeightType::f32:
    case WeightType::f16:
    case WeightType::bf16:
      break;
  }
  return {0, 0, false, false, 0, 0};
}

constexpr bool is_quantised(WeightType type) noexcept {
  return packed_format(type).bits != 0;
}

}  // namespace tumbler::kernels
