// exp, log, tanh and loops over the vector type of simd_avx2.inl or simd_avx512.inl. Polynomials are minimax
// fits on the stated interval, made by reweighted least squares on Chebyshev nodes; each comment has the
// error of the fit in exact arithmetic.

// Within 2 ulp; 0 below -104, inf above 88.8, denormal results are right to the last bit or two; NaN stays
// NaN.
TUMBLER_INLINE Vec exp(Vec x) {
  // min and max return their second argument where one is NaN. The limits keep n within scale_by_power's
  // range.
  x = max(set(-105.0f), min(set(89.0f), x));
  const Vec n = round_to_integer(x * set(1.44269504f));
  Vec r = fnma(n, set(0.693359375f), x);  // ln 2 in two parts; n * 0.693359375 (9 bits) is exact
  r = fnma(n, set(-2.12194440e-4f), r);
  // e^r = 1 + r + r^2 p(r) on |r| <= ln(2)/2: relative error 3.1e-9.
  Vec p = fma(set(1.38145964e-3f), r, set(8.36871709e-3f));
  p = fma(p, r, set(4.16683881e-2f));
  p = fma(p, r, set(1.66665206e-1f));
  p = fma(p, r, set(4.99999934e-1f));
  p = fma(r * r, p, r) + set(1.0f);
  return scale_by_power(p, n);
}

// Within 2 ulp for normal positive x; -inf at 0 and for denormals, inf at inf, NaN below 0.
TUMBLER_INLINE Vec log(Vec x) {
  Vec e;
  const Vec f = split_exponent(x, &e) - set(1.0f);
  // log(1+f) = f - f^2/2 + f^3 p(f) on sqrt(1/2) <= 1+f < sqrt(2): p's share is off by 7.3e-10 f.
  Vec p = fma(set(6.91541614e-2f), f, set(-1.17898254e-1f));
  p = fma(p, f, set(1.18729644e-1f));
  p = fma(p, f, set(-1.23843428e-1f));
  p = fma(p, f, set(1.42186593e-1f));
  p = fma(p, f, set(-1.66692510e-1f));
  p = fma(p, f, set(2.00022266e-1f));
  p = fma(p, f, set(-2.49999866e-1f));
  p = fma(p, f, set(3.33333104e-1f));
  const Vec f2 = f * f;
  Vec y = fma(e, set(-2.12194440e-4f), f2 * f * p);
  y = fnma(set(0.5f), f2, y) + f;
  y = fma(e, set(0.693359375f), y);
  const float inf = __builtin_inff();
  y = select(less(x, set(1.17549435e-38f)), set(-inf), y);
  y = select(less(x, zero()), set(__builtin_nanf("")), y);
  return select(less(x, set(inf)), y, x * x);  // inf and NaN
}

// 1 / (1 + e^-x); 0 and 1 at the ends.
TUMBLER_INLINE Vec sigmoid(Vec x) {
  return set(1.0f) / (set(1.0f) + exp(zero() - x));
}

// Within 3 ulp; exactly odd.
TUMBLER_INLINE Vec tanh(Vec x) {
  const Vec a = abs(x), y = x * x;
  // tanh x = x + x^3 p(x^2) on |x| <= 0.625: relative error 4.1e-9.
  Vec p = fma(set(-5.71704282e-3f), y, set(2.06505851e-2f));
  p = fma(p, y, set(-5.37434975e-2f));
  p = fma(p, y, set(1.33314913e-1f));
  p = fma(p, y, set(-3.33332839e-1f));
  const Vec small = fma(x * y, p, x);
  const Vec large = set(1.0f) - set(2.0f) / (exp(a + a) + set(1.0f));
  return select(less(a, set(0.625f)), small, copy_sign(large, x));
}

// body(i, part) for i = 0, kLanes, 2 kLanes, …: part is All{}, and First{n - i} at the end where n is no
// multiple of kLanes.
template <class Body>
TUMBLER_INLINE void for_lanes(int64_t n, Body body) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) body(i, All{});
  if (i < n) body(i, First{n - i});
}

// body(i, part, k) with k = 0, 1, 2, 3, 0, …, for sums in four accumulators: an FMA takes four cycles and two
// start in each.
template <class Body>
TUMBLER_INLINE void for_lanes4(int64_t n, Body body) {
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    body(i, All{}, 0);
    body(i + kLanes, All{}, 1);
    body(i + 2 * kLanes, All{}, 2);
    body(i + 3 * kLanes, All{}, 3);
  }
  for (; i + kLanes <= n; i += kLanes) body(i, All{}, 0);
  if (i < n) body(i, First{n - i}, 0);
}
struct Vec4 {
  Vec v[4];
};
TUMBLER_INLINE Vec4 zero4() {
  return {{zero(), zero(), zero(), zero()}};
}
TUMBLER_INLINE float sum(const Vec4& a) {
  return sum((a.v[0] + a.v[1]) + (a.v[2] + a.v[3]));
}
