// Products with weights as files store them: in 4 to 8 bits, f16, bf16 or f32. What decoding and prefill run
// on.
//
// Layout. A packed matrix keeps the values of its file and lays them out for the kernels: rows in groups of
// 16, and a group's weights in the order in which a loop over columns reads them, one row a lane. The last
// group is filled up with zeros. In a group, for each block of 32 columns:
//
//   weights   step s = 0..7 is columns 4s..4s+3 of the block: 64 bytes, 4 of each row
//     8 bits  8 steps, q + 128
//     4 bits  4 times 64 bytes: low halves are step s, high halves step s + 4
//     5 bits  the same, and 64 bytes whose bit s is the fifth bit of step s
//     6 bits  the same, and 2 times 64 bytes whose bits 2 s, 2 s + 1 are the upper bits of steps s and s + 4
//   scales    16 f16 a block, and 16 f16 minima where the type has them; q4_k, q5_k: per 256 columns 16 f16
//   d,
//             16 f16 dmin, then for each block 16 bytes scale, 16 bytes min; q6_k: 16 f16 d, then for each 16
//             columns 16 bytes scale
//
// All weights of a group come before its scales. f32, f16, bf16: column by column, 16 rows each.
//
// Arithmetic. Inputs of quantised weights are rounded to 8 bits in blocks of 32 (scale = largest magnitude /
// 127), so that a block's dot product is exact in whole numbers; blocks are added in f32, in order:
//   out = fma(d * scale, dot, out), then for types with minima out = fma(m, scale * sum of the block's q,
//   out)
// Every output is computed by itself in that order: it is the same, to the last bit, whatever the other rows
// of the batch, the thread count and the instruction set.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/quants.h"

namespace tumbler::kernels {

constexpr int64_t kPackedRows = 16;

// A view; the memory is the caller's, 64-byte aligned.
struct PackedWeights {
  WeightType type = WeightType::f32;
  int64_t rows = 0, cols = 0;
  std::byte* data = nullptr;

  int64_t groups() const noexcept { return (rows + kPackedRows - 1) / kPackedRows; }
};

// Bytes of a group and of a whole matrix; multiples of 64. Within 3 % of the file's for matrices of many
// rows. CHECKs cols % block_elements(type) == 0.
int64_t packed_group_bytes(WeightType type, int64_t cols) noexcept;
int64_t packed_bytes(WeightType type, int64_t rows, int64_t cols) noexcept;

// Lays a file's matrix out. Row r of `packed` is row source_rows[r] of `source`, or r where that is empty.
// Parallel over groups. CHECKs that types and columns agree.
void pack(const PackedWeights& packed, const PackedMatrix& source,
          std::span<const int32_t> source_rows = {}) noexcept;
// out (cols) = a row's values, as dequantize() gives them.
void unpack_row(float* out, const PackedWeights& packed, int64_t row) noexcept;

// Are all scales, or all values of float types, finite?
bool is_finite(const PackedWeights& packed) noexcept;

// Inputs of a product, (N, K) f32, and where weights are quantised (K a multiple of 32) also rounded.
struct PackedInput {
  int64_t N = 0, K = 0;
  const float* values = nullptr;  // (N, K)
  int8_t* q = nullptr;            // (N, K)
  // (N, K): of each 4 columns the first, third, second and fourth of q, in 16 bits. For weights of 8 bits
  // without VNNI.
  int16_t* q16 = nullptr;
  float* scale = nullptr;       // (N, K/32)
  float* scaled_sum = nullptr;  // (N, K/32): scale times the sum of q
  int32_t* sums = nullptr;      // (N, K/32, 3): sums of q over the block, its first and its second half
};
// Fills in all of these from values.
void round_input(const PackedInput& inp) noexcept;

// A matrix that is multiplied and where its product goes: out (N, weights.rows), rows `out_stride` apart.
struct PackedProduct {
  PackedWeights weights;
  const float* bias = nullptr;  // (rows)
  float* out = nullptr;
  int64_t out_stride = 0;
};
// out = values * weights^T (+ bias) for each of the products, which share their input: queries, keys and
// values, say. On `threads` of thread_count() threads. round_input() came before, unless all weights are
// floats.
void multiply_packed(std::span<const PackedProduct> products, const PackedInput& inp, int threads) noexcept;

// What the instruction sets provide: groups begin..end-1 of one product, on one thread. scratch:
// packed_scratch_bytes(K).
struct PackedOps {
  void (*round_input)(const PackedInput& inp, int64_t first_row, int64_t end_row);
  void (*multiply)(const PackedProduct& product, const PackedInput& inp, int64_t begin, int64_t end,
                   uint8_t* scratch);
};
int64_t packed_scratch_bytes(int64_t K) noexcept;

}  // namespace tumbler::kernels
