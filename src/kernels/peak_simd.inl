// Loops that do nothing but what is measured. Twelve accumulators hide the latency of 4 at two instructions a cycle.

constexpr int64_t kPeakFmaFlop = 12 * kLanes * 2;

// Multiply-adds in registers; the result keeps the compiler from dropping them.
inline float peak_fma(int64_t rounds) {
  Vec a0 = set(1), a1 = set(2), a2 = set(3), a3 = set(4), a4 = set(5), a5 = set(6), a6 = set(7), a7 = set(8), a8 = set(9), a9 = set(10),
      a10 = set(11), a11 = set(12);
  Vec x = set(0.999f), y = set(0.001f);
  for (int64_t i = 0; i < rounds; ++i) {
    a0 = fma(a0, x, y), a1 = fma(a1, x, y), a2 = fma(a2, x, y), a3 = fma(a3, x, y), a4 = fma(a4, x, y), a5 = fma(a5, x, y);
    a6 = fma(a6, x, y), a7 = fma(a7, x, y), a8 = fma(a8, x, y), a9 = fma(a9, x, y), a10 = fma(a10, x, y), a11 = fma(a11, x, y);
  }
  return sum(((a0 + a1) + (a2 + a3)) + ((a4 + a5) + (a6 + a7)) + ((a8 + a9) + (a10 + a11)));
}

// Sum of n floats, n a multiple of 8 vectors.
inline float peak_read(const float* data, int64_t n) {
  Vec a = zero(), b = zero(), c = zero(), d = zero();
  for (int64_t i = 0; i < n; i += 8 * kLanes) {
    a = a + load(data + i, All{}), b = b + load(data + i + kLanes, All{});
    c = c + load(data + i + 2 * kLanes, All{}), d = d + load(data + i + 3 * kLanes, All{});
    a = a + load(data + i + 4 * kLanes, All{}), b = b + load(data + i + 5 * kLanes, All{});
    c = c + load(data + i + 6 * kLanes, All{}), d = d + load(data + i + 7 * kLanes, All{});
  }
  return sum((a + b) + (c + d));
}
