// Sums of products of bytes without VNNI: pairs in 16 bits, which must not overflow. With inputs of at most
// 127 a sum of n products of two is at most 2 * 127 * n times the largest weight: 8 for 4 bits (30480), 4 for
// 5, 2 for 6.

struct Dot {
  Shorts pairs;
};
constexpr bool kDotWhole = false;  // weights of 8 bits have to be split
TUMBLER_INLINE Dot zero_dot() {
  return {zero_shorts()};
}
TUMBLER_INLINE Dot add_dot(Dot sum, Bytes weights, Bytes inp) {
  sum.pairs = add_shorts(sum.pairs, pair_products(weights, inp));
  pin(&sum.pairs);
  return sum;
}
TUMBLER_INLINE Ints total(Dot sum) {
  return pair_sums(sum.pairs);
}
