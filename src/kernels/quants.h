// Quantised blocks: runs of 32 or 256 weights of a row that share scales, as GGUF files hold them
// (https://github.com/ggml-org/ggml, docs/gguf.md). Layouts are bytes on disk and in memory alike, little
// endian; structs are byte arrays in effect (alignment 1), so that a mapped file needs no copy.
//
// q is what a block stores, x the weight. f16 scales; "sub-block" is a run of a super-block of 256.
//   q8_0  32: x = d*q                       q in -128..127
//   q4_0  32: x = d*(q - 8)                 q in 0..15
//   q4_1  32: x = d*q + m
//   q5_0  32: x = d*(q - 16)                q in 0..31, its fifth bit in `qh`
//   q5_1  32: x = d*q + m
//   q4_k 256: x = (d*scale)*q - (dmin*min)  scale and min of 6 bits for each of 8 sub-blocks of 32
//   q5_k 256: the same with a fifth bit
//   q6_k 256: x = (d*scale)*(q - 32)        scale of 8 bits for each of 16 sub-blocks of 16
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "kernels/dtype.h"

namespace tumbler::kernels {

enum class WeightType : uint8_t { f32, f16, bf16, q8_0, q4_0, q4_1, q5_0, q5_1, q4_k, q5_k, q6_k };

constexpr int64_t kSmallBlock = 32;
constexpr int64_t kSuperBlock = 256;

// IEEE half precision; an unaligned field of the blocks.
struct f16 {
  uint8_t bytes[2];
};

struct BlockQ8_0 {
  f16 d;
  int8_t q[32];
};
// In all types of 4 and 5 bits a small block's byte j holds element j in its low half, j + 16 in its high
// one.
struct BlockQ4_0 {
  f16 d;
  uint8_t q[16];
};
struct BlockQ4_1 {
  f16 d, m;
  uint8_t q[16];
};
struct BlockQ5_0 {
  f16 d;
  uint8_t qh[4];  // bit j of the 32: element j's fifth bit
  uint8_t q[16];
};
struct BlockQ5_1 {
  f16 d, m;
  uint8_t qh[4];
  uint8_t q[16];
};
struct BlockQ4_K {
  f16 d, dmin;
  uint8_t scales[12];  // see unpack_scales
  uint8_t q[128];      // byte 32*i + l: low half is element 64*i + l, high half 64*i + 32 + l
};
struct BlockQ5_K {
  f16 d, dmin;
  uint8_t scales[12];
  uint8_t qh[32];  // bit b of byte l: the fifth bit of element 32*b + l
  uint8_t q[128];
};
struct BlockQ6_K {
  uint8_t ql[128];  // for each 128 elements 64 bytes: byte l: low half is l's, high half l + 64's low 4 bits
  uint8_t qh[64];   // for each 128 elements 32 bytes: bits 2*i, 2*i+1 of byte l: upper bits of 32*i + l
  int8_t scales[16];
  f16 d;
};
static_assert(sizeof(BlockQ8_0) == 34 && sizeof(BlockQ4_0) == 18 && sizeof(BlockQ4_1) == 20 &&
              sizeof(BlockQ5_0) == 22 && sizeof(BlockQ5_1) == 24 && sizeof(BlockQ4_K) == 144 &&
              sizeof(BlockQ5_K) == 176 && sizeof(BlockQ6_K) == 210);
static_assert(alignof(BlockQ6_K) == 1 && alignof(BlockQ4_K) == 1 && alignof(BlockQ8_0) == 1);

// "q4_k", "bf16" …
const char* weight_type_name(WeightType type) noexcept;
std::optional<WeightType> find_weight_type(std::string_view name) noexcept;

// Elements of a block (1, 32 or 256) and its bytes. A row is whole blocks.
int64_t block_elements(WeightType type) noexcept;
int64_t block_bytes(WeightType type) noexcept;
// Bytes of a row of n elements. CHECKs n % block_elements(type) == 0.
int64_t row_bytes(WeightType type, int64_t n) noexcept;

// A matrix as it lies in a file: what a kernel that multiplies packed weights takes.
struct PackedMatrix {
  WeightType type;
  int64_t rows, cols;
  std::span<const std::byte> bytes;  // (rows) times row_bytes(type, cols), any alignment
};

// out (n) = the values of n elements of packed blocks. Products and sums are rounded to f32 one by one, in
// the order that the table above shows with its brackets.
void dequantize(float* out, const std::byte* packed, WeightType type, int64_t n) noexcept;

// packed = n elements as blocks. Small blocks: the scale spans the range of values (q4_1, q5_1: from the
// least to the largest; q4_0, q5_0: the value of largest magnitude is an end of the scale). Super-blocks:
// scale and minimum of each sub-block are searched for the least weighted squared error and then rounded.
// Values must be finite: an infinity or NaN makes its block meaningless.
void quantize(std::byte* packed, const float* inp, WeightType type, int64_t n) noexcept;

// The 6-bit scale and minimum of each of 8 sub-blocks from `packed` (12 bytes):
//   bytes 0-3  low 6 bits: scales 0-3, upper 2: upper 2 of scales 4-7
//   bytes 4-7  low 6 bits: minima 0-3, upper 2: upper 2 of minima 4-7
//   bytes 8-11 low 4 bits: low 4 of scales 4-7, upper 4: low 4 of minima 4-7
inline void unpack_scales(const uint8_t* packed, uint8_t* scales, uint8_t* mins) noexcept {
  for (int i = 0; i < 4; ++i) {
    scales[i] = packed[i] & 63;
    mins[i] = packed[i + 4] & 63;
    scales[i + 4] = static_cast<uint8_t>((packed[i + 8] & 15) | (packed[i] >> 6 << 4));
    mins[i + 4] = static_cast<uint8_t>((packed[i + 8] >> 4) | (packed[i + 4] >> 6 << 4));
  }
}

inline float to_float(f16 h) noexcept {
  const uint32_t bits = h.bytes[0] | uint32_t{h.bytes[1]} << 8;
  const uint32_t sign = (bits & 0x8000u) << 16, exponent = bits >> 10 & 31, fraction = bits & 0x3ffu;
  // 2^-24 times a whole number below 2^10 is exact.
  if (exponent == 0)
    return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(static_cast<float>(fraction) * 0x1p-24f));
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | fraction << 13);
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
}

// Round to nearest even; what is too large becomes infinite, NaN stays a (quiet) NaN.
inline f16 to_f16(float x) noexcept {
  const uint32_t bits = std::bit_cast<uint32_t>(x), sign = bits >> 16 & 0x8000u, a = bits & 0x7fffffffu;
  uint32_t h;
  if (a > 0x7f800000u)
    h = 0x7e00u | (a >> 13 & 0x3ffu);
  else if (a >= 0x477ff000u)  // 65520 and more round to 2^16
    h = 0x7c00u;
  else if (a >= 0x38800000u)  // normal: 2^-14 and more
    h = (a - 0x38000000u + 0xfffu + (a >> 13 & 1)) >> 13;
  else  // adding 0.5 lets the addition round to multiples of 2^-24, and leaves them in the low bits
    h = std::bit_cast<uint32_t>(std::bit_cast<float>(a) + 0.5f) - 0x3f000000u;
  h |= sign;
  return {{static_cast<uint8_t>(h), static_cast<uint8_t>(h >> 8)}};
}

}  // namespace tumbler::kernels
