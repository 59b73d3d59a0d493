// Element types of tensors: float and bf16 (the upper half of a float, round to nearest even).
#pragma once

#include <bit>
#include <cstdint>
#include <type_traits>

namespace tumbler::kernels {

struct bf16 {
  uint16_t bits;
};

inline float to_float(float x) noexcept {
  return x;
}
inline float to_float(bf16 x) noexcept {
  return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16);
}

// Round to nearest even; NaN stays a (quiet) NaN.
inline bf16 to_bf16(float x) noexcept {
  const uint32_t u = std::bit_cast<uint32_t>(x);
  if ((u & 0x7fffffffu) > 0x7f800000u) return {static_cast<uint16_t>((u >> 16) | 0x40u)};
  return {static_cast<uint16_t>((u + 0x7fffu + ((u >> 16) & 1u)) >> 16)};
}

template <class T>
T from_float(float x) noexcept {
  if constexpr (std::is_same_v<T, float>)
    return x;
  else
    return to_bf16(x);
}

// What activations and the weights' compute copies are stored in.
enum class DType { f32, bf16 };

}  // namespace tumbler::kernels
