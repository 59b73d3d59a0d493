#include "kernels/quants_k.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace tumbler::kernels {
namespace {

// How much an error of an element matters: large weights more, small ones still by the sub-block's size.
void fill_weights(float* w, const float* x, int n) noexcept {
  float squares = 0;
  for (int i = 0; i < n; ++i) squares += x[i] * x[i];
  const float size = std::sqrt(squares / static_cast<float>(n));
  for (int i = 0; i < n; ++i) w[i] = size + std::abs(x[i]);
}

int nearest(float x, int low, int high) noexcept {
  return static_cast<int>(std::clamp(std::nearbyint(x), static_cast<float>(low), static_cast<float>(high)));
}

struct Fit {
  float scale = 0, min = 0;  // x ≈ scale*q - min, min >= 0
};

double error_of(const Fit& fit, const float* x, const float* w, const uint8_t* q, int n) noexcept {
  double error = 0;
  for (int i = 0; i < n; ++i) {
    const double e =
        static_cast<double>(fit.scale) * q[i] - static_cast<double>(fit.min) - static_cast<double>(x[i]);
    error += static_cast<double>(w[i]) * e * e;
  }
  return error;
}

// For fixed levels q, the scale and minimum of least weighted squares: two normal equations. The minimum may
// not be negative (files store it unsigned): then the best scale without one.
Fit least_squares(const float* x, const float* w, const uint8_t* q, int n) noexcept {
  double sw = 0, sq = 0, sqq = 0, sx = 0, sqx = 0;
  for (int i = 0; i < n; ++i) {
    const auto wi = static_cast<double>(w[i]);
    const double qi = q[i];
    const auto xi = static_cast<double>(x[i]);
    sw += wi;
    sq += wi * qi;
    sqq += wi * qi * qi;
    sx += wi * xi;
    sqx += wi * qi * xi;
  }
  const double determinant = sw * sqq - sq * sq;
  if (!(determinant > 0)) return {};
  const double scale = (sw * sqx - sq * sx) / determinant, min = (sq * sqx - sqq * sx) / determinant;
  if (min >= 0) return {static_cast<float>(scale), static_cast<float>(min)};
  return {static_cast<float>(sqq > 0 ? sqx / sqq : 0), 0};
}

// Scale and minimum of a sub-block of 32 in levels 0..top: of a few ranges around that of the values, the one
// whose rounding, refitted, errs least. Outliers may be cut off.
Fit fit_ranged(const float* x, int top) noexcept {
  constexpr int n = 32;
  float w[n];
  fill_weights(w, x, n);
  const float least = std::min(0.0f, *std::min_element(x, x + n)), most = *std::max_element(x, x + n);
  if (!(most > least)) return {0, -least};
  Fit best;
  double best_error = -1;
  constexpr int kTries = 20;  // ranges of top - 1 … top + 1 levels
  for (int t = 0; t <= kTries; ++t) {
    const float levels = static_cast<float>(top) + static_cast<float>(2 * t - kTries) / kTries;
    const float inverse = levels / (most - least);
    uint8_t q[n];
    for (int i = 0; i < n; ++i) q[i] = static_cast<uint8_t>(nearest((x[i] - least) * inverse, 0, top));
    const Fit fit = least_squares(x, w, q, n);
    const double error = error_of(fit, x, w, q, n);
    if (fit.scale > 0 && (best_error < 0 || error < best_error)) {
      best = fit;
      best_error = error;
    }
  }
  if (best_error < 0) return {(most - least) / static_cast<float>(top), -least};
  return best;
}

// Scales and minima rounded to 6 bits of their largest, and packed as unpack_scales reads them.
template <class Block>
void store_scales(Block& b, const Fit* fits) noexcept {
  float scale = 0, min = 0;
  for (int s = 0; s < 8; ++s) {
    scale = std::max(scale, fits[s].scale);
    min = std::max(min, fits[s].min);
  }
  b.d = to_f16(scale / 63);
  b.dmin = to_f16(min / 63);
  const float inverse_d = scale > 0 ? 63 / scale : 0, inverse_min = min > 0 ? 63 / min : 0;
  std::memset(b.scales, 0, sizeof(b.scales));
  for (int s = 0; s < 8; ++s) {
    const int sc = nearest(fits[s].scale * inverse_d, 0, 63), m = nearest(fits[s].min * inverse_min, 0, 63);
    if (s < 4) {
      b.scales[s] |= static_cast<uint8_t>(sc);
      b.scales[s + 4] |= static_cast<uint8_t>(m);
    } else {
      b.scales[s + 4] = static_cast<uint8_t>((sc & 15) | (m & 15) << 4);
      b.scales[s - 4] |= static_cast<uint8_t>(sc >> 4 << 6);
      b.scales[s] |= static_cast<uint8_t>(m >> 4 << 6);
    }
  }
}

// Levels (256) of the values at the scales as they are stored.
template <class Block>
void fill_levels(uint8_t* q, const Block& b, const float* x, int top) noexcept {
  const float d = to_float(b.d), dmin = to_float(b.dmin);
  uint8_t scales[8], mins[8];
  unpack_scales(b.scales, scales, mins);
  for (int s = 0; s < 8; ++s) {
    const float scale = d * static_cast<float>(scales[s]), min = dmin * static_cast<float>(mins[s]);
    for (int i = s * 32; i < s * 32 + 32; ++i)
      q[i] = scale > 0 ? static_cast<uint8_t>(nearest((x[i] + min) / scale, 0, top)) : uint8_t{0};
  }
}

template <class Block>
void fit_block(Block& b, uint8_t* q, const float* x, int top) noexcept {
  Fit fits[8];
  for (int s = 0; s < 8; ++s) fits[s] = fit_ranged(x + s * 32, top);
  store_scales(b, fits);
  fill_levels(q, b, x, top);
}

void store_low_halves(uint8_t* out, const uint8_t* q) noexcept {
  for (int i = 0; i < 4; ++i)
    for (int l = 0; l < 32; ++l)
      out[i * 32 + l] = static_cast<uint8_t>((q[i * 64 + l] & 15) | (q[i * 64 + 32 + l] & 15) << 4);
}

// Scale of a sub-block of 16 in levels -32..31, without a minimum: as fit_ranged.
float fit_symmetric(const float* x) noexcept {
  constexpr int n = 16;
  float most = 0;
  for (int i = 0; i < n; ++i)
    if (std::abs(x[i]) > std::abs(most)) most = x[i];
  if (most == 0) return 0;
  float best = most / -32;
  double best_gain = -1;
  for (int t = -9; t <= 9; ++t) {
    const float inverse = -(32 + 0.1f * static_cast<float>(t)) / most;
    // With x*x for weights; the error of the best scale sqx/sqq is the constant sxx - sqx^2/sqq.
    double sqx = 0, sqq = 0;
    for (int i = 0; i < n; ++i) {
      const double q = nearest(x[i] * inverse, -32, 31), xi = static_cast<double>(x[i]), w = xi * xi;
      sqx += w * q * xi;
      sqq += w * q * q;
    }
    if (sqq > 0 && sqx * sqx / sqq > best_gain) {
      best = static_cast<float>(sqx / sqq);
      best_gain = sqx * sqx / sqq;
    }
  }
  return best;
}

}  // namespace

void pack(BlockQ4_K& b, const float* x) noexcept {
  uint8_t q[256];
  fit_block(b, q, x, 15);
  store_low_halves(b.q, q);
}

void pack(BlockQ5_K& b, const float* x) noexcept {
  uint8_t q[256];
  fit_block(b, q, x, 31);
  store_low_halves(b.q, q);
  std::memset(b.qh, 0, sizeof(b.qh));
  for (int i = 0; i < 256; ++i) b.qh[i % 32] |= static_cast<uint8_t>((q[i] >> 4) << (i / 32));
}

void pack(BlockQ6_K& b, const float* x) noexcept {
  float fits[16], most = 0;
  for (int s = 0; s < 16; ++s) {
    fits[s] = fit_symmetric(x + s * 16);
    if (std::abs(fits[s]) > std::abs(most)) most = fits[s];
  }
  // The largest scale is stored as -128: one step more than 127 has.
  b.d = to_f16(most / -128);
  const float d = to_float(b.d), inverse = most != 0 ? -128 / most : 0;
  uint8_t q[256];
  for (int s = 0; s < 16; ++s) {
    b.scales[s] = static_cast<int8_t>(nearest(fits[s] * inverse, -128, 127));
    const float scale = d * static_cast<float>(b.scales[s]);
    for (int i = s * 16; i < s * 16 + 16; ++i)
      q[i] = static_cast<uint8_t>(32 + (scale != 0 ? nearest(x[i] / scale, -32, 31) : 0));
  }
  for (int half = 0; half < 2; ++half) {
    const uint8_t* h = q + half * 128;
    for (int l = 0; l < 64; ++l)
      b.ql[half * 64 + l] = static_cast<uint8_t>((h[l] & 15) | (h[l + 64] & 15) << 4);
    for (int l = 0; l < 32; ++l)
      b.qh[half * 32 + l] = static_cast<uint8_t>((h[l] >> 4) | (h[l + 32] >> 4) << 2 | (h[l + 64] >> 4) << 4 |
                                                 (h[l + 96] >> 4) << 6);
  }
}

}  // namespace tumbler::kernels
