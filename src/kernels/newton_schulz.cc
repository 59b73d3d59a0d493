// Muon's orthogonalisation: a quintic in X that drives every singular value to about 1 in a few matrix
// products.
#include <algorithm>
#include <cmath>

#include "kernels/activation.h"
#include "kernels/optimizer.h"

namespace tumbler::kernels {
namespace {

// Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks": s -> a s + b s^3 + c s^5.
// Steep at 0, so that small values rise fast; it does not converge, but keeps values in about [0.7, 1.2].
constexpr float kA = 3.4445f, kB = -4.7750f, kC = 2.0315f;

// rows <= cols. x and next are (rows, cols), gram and poly (rows, rows); narrow buffers of T for the
// products.
struct Buffers {
  float *x, *next, *gram, *poly;
  bf16 *narrow_x, *narrow_square;
};

int64_t padded(int64_t n) {
  return (n + 15) / 16 * 16;
}

Buffers split_scratch(float* scratch, int64_t rows, int64_t cols) {
  const int64_t rectangle = padded(rows * cols), square = padded(rows * rows);
  Buffers b;
  b.x = scratch;
  b.next = b.x + rectangle;
  b.gram = b.next + rectangle;
  b.poly = b.gram + square;
  b.narrow_x = reinterpret_cast<bf16*>(b.poly + square);
  b.narrow_square = b.narrow_x + rectangle;
  return b;
}

// y += factor * x, by way of the optimiser's pass: master * 1 - (-factor) * update.
void add_scaled(float* y, const float* x, float factor, int64_t n) {
  apply_update<float>(y, x, nullptr, -factor, 0.0f, n);
}

// gram = X X^T; poly = b gram + c gram^2; X = a X + poly X.
template <bool kNarrow>
void iterate(const Buffers& b, int64_t rows, int64_t cols) {
  const Matrix<float> gram(b.gram, rows, rows), poly(b.poly, rows, rows), next(b.next, rows, cols);
  const Matrix<const float> const_gram(b.gram, rows, rows), const_poly(b.poly, rows, rows),
      x(b.x, rows, cols);
  const Matrix<const bf16> narrow_x(b.narrow_x, rows, cols), narrow_square(b.narrow_square, rows, rows);
  if constexpr (kNarrow) {
    to_bf16(b.narrow_x, b.x, rows * cols);
    matmul_forward<bf16, float>(gram, narrow_x, narrow_x, nullptr, false);
    to_bf16(b.narrow_square, b.gram, rows * rows);
    matmul_forward<bf16, float>(poly, narrow_square, narrow_square, nullptr,
                                false);  // gram is symmetric: gram^T = gram
  } else {
    matmul_forward<float, float>(gram, x, x, nullptr, false);
    matmul_forward<float, float>(poly, const_gram, const_gram, nullptr, false);
  }
  scale(b.poly, kC, rows * rows);
  add_scaled(b.poly, b.gram, kB, rows * rows);
  if constexpr (kNarrow) {
    to_bf16(b.narrow_square, b.poly, rows * rows);
    matmul_backward_input<bf16, float>(next, narrow_square, narrow_x, false);  // poly X
  } else {
    matmul_backward_input<float, float>(next, const_poly, x, false);
  }
  scale(b.x, kA, rows * cols);
  add_scaled(b.x, b.next, 1.0f, rows * cols);
}

// out = inp^T, in tiles of a cache line's floats.
void transpose(Matrix<float> out, Matrix<const float> inp) {
  constexpr int64_t kTile = 16;
  for (int64_t i = 0; i < inp.rows; i += kTile)
    for (int64_t j = 0; j < inp.cols; j += kTile)
      for (int64_t jj = j; jj < std::min(inp.cols, j + kTile); ++jj)
        for (int64_t ii = i; ii < std::min(inp.rows, i + kTile); ++ii)
          out.data[jj * out.row_stride + ii] = inp.data[ii * inp.row_stride + jj];
}

void copy(Matrix<float> out, Matrix<const float> inp) {
  for (int64_t i = 0; i < inp.rows; ++i)
    std::copy_n(inp.data + i * inp.row_stride, inp.cols, out.data + i * out.row_stride);
}

}  // namespace

int64_t newton_schulz_scratch(int64_t rows, int64_t cols) {
  const int64_t small = std::min(rows, cols), rectangle = padded(rows * cols), square = padded(small * small);
  return 2 * (rectangle + square) + (rectangle + square) / 2;
}

void newton_schulz(Matrix<float> out, Matrix<const float> inp, int steps, float* scratch,
                   DType products) noexcept {
  const bool tall = inp.rows > inp.cols, narrow = products == DType::bf16;
  const int64_t rows = std::min(inp.rows, inp.cols), cols = std::max(inp.rows, inp.cols);
  const Buffers b = split_scratch(scratch, rows, cols);
  const Matrix<float> x(b.x, rows, cols);
  if (tall)
    transpose(x, inp);
  else
    copy(x, inp);
  // The Frobenius norm bounds the largest singular value, and the quintic wants that at most 1. A zero matrix
  // stays zero.
  const double norm = std::sqrt(sum_of_squares(b.x, rows * cols));
  scale(b.x, static_cast<float>(1 / (norm + 1e-7)), rows * cols);
  for (int step = 0; step < steps; ++step) {
    if (narrow)
      iterate<true>(b, rows, cols);
    else
      iterate<false>(b, rows, cols);
  }
  const Matrix<const float> result(b.x, rows, cols);
  if (tall)
    transpose(out, result);
  else
    copy(out, result);
}

}  // namespace tumbler::kernels
