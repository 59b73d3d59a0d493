// Sums of products of bytes with AVX512_VNNI: four at a time in 32 bits.

struct Dot {
  Ints sum;
};
constexpr bool kDotWhole = true;
TUMBLER_INLINE Dot zero_dot() {
  return {zero_ints()};
}
TUMBLER_INLINE Dot add_dot(Dot sum, Bytes weights, Bytes inp) {
  return {{_mm512_dpbusd_epi32(sum.sum.v, weights.v, inp.v)}};
}
TUMBLER_INLINE Ints total(Dot sum) {
  return sum.sum;
}
