// Sixteen floats in an AVX-512 register (F, BW, DQ, VL). The same names as simd_avx2.inl; see simd.h for what
// they mean. The bf16 instructions (AVX512_BF16) are not used here: vcvtneps2bf16 flushes denormals, and
// these loops wait for memory anyway.

constexpr int64_t kLanes = 16;
struct Vec {
  __m512 v;
};
struct Mask {
  __mmask16 m;
};

TUMBLER_INLINE Vec set(float x) {
  return {_mm512_set1_ps(x)};
}
TUMBLER_INLINE Vec zero() {
  return {_mm512_setzero_ps()};
}
TUMBLER_INLINE Vec operator+(Vec a, Vec b) {
  return {_mm512_add_ps(a.v, b.v)};
}
TUMBLER_INLINE Vec operator-(Vec a, Vec b) {
  return {_mm512_sub_ps(a.v, b.v)};
}
TUMBLER_INLINE Vec operator*(Vec a, Vec b) {
  return {_mm512_mul_ps(a.v, b.v)};
}
TUMBLER_INLINE Vec operator/(Vec a, Vec b) {
  return {_mm512_div_ps(a.v, b.v)};
}
TUMBLER_INLINE Vec fma(Vec a, Vec b, Vec c) {
  return {_mm512_fmadd_ps(a.v, b.v, c.v)};
}
TUMBLER_INLINE Vec fnma(Vec a, Vec b, Vec c) {
  return {_mm512_fnmadd_ps(a.v, b.v, c.v)};
}
TUMBLER_INLINE Vec max(Vec a, Vec b) {
  return {_mm512_max_ps(a.v, b.v)};
}
TUMBLER_INLINE Vec min(Vec a, Vec b) {
  return {_mm512_min_ps(a.v, b.v)};
}
TUMBLER_INLINE Vec sqrt(Vec a) {
  return {_mm512_sqrt_ps(a.v)};
}
TUMBLER_INLINE Vec abs(Vec a) {
  return {_mm512_andnot_ps(_mm512_set1_ps(-0.0f), a.v)};
}
TUMBLER_INLINE Vec copy_sign(Vec magnitude, Vec sign) {
  const __m512 bit = _mm512_set1_ps(-0.0f);
  return {_mm512_or_ps(_mm512_andnot_ps(bit, magnitude.v), _mm512_and_ps(bit, sign.v))};
}

TUMBLER_INLINE Mask less(Vec a, Vec b) {
  return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)};
}
TUMBLER_INLINE bool any(Mask mask) {
  return mask.m != 0;
}
TUMBLER_INLINE Vec select(Mask mask, Vec yes, Vec no) {
  return {_mm512_mask_blend_ps(mask.m, no.v, yes.v)};
}

TUMBLER_INLINE Vec round_to_integer(Vec a) {
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
// a * 2^n for whole n.
TUMBLER_INLINE Vec scale_by_power(Vec a, Vec n) {
  return {_mm512_scalef_ps(a.v, n.v)};
}
// a = mantissa * 2^exponent with mantissa in [sqrt(1/2), sqrt(2)), for normal positive a.
TUMBLER_INLINE Vec split_exponent(Vec a, Vec* exponent) {
  const __m512i bits = _mm512_castps_si512(a.v), root_half = _mm512_set1_epi32(0x3f3504f3);
  const __m512i k = _mm512_srai_epi32(_mm512_sub_epi32(bits, root_half), 23);
  *exponent = {_mm512_cvtepi32_ps(k)};
  return {_mm512_castsi512_ps(_mm512_sub_epi32(bits, _mm512_slli_epi32(k, 23)))};
}

// By hand and not by _mm512_reduce_*, whose order is the compiler's.
TUMBLER_INLINE __m256 upper_half(__m512 a) {
  return _mm256_castpd_ps(_mm512_maskz_extractf64x4_pd(0xf, _mm512_castps_pd(a), 1));
}
TUMBLER_INLINE float sum(Vec a) {
  const __m256 x = _mm256_add_ps(_mm512_castps512_ps256(a.v), upper_half(a.v));
  __m128 y = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  y = _mm_add_ps(y, _mm_movehl_ps(y, y));
  return _mm_cvtss_f32(_mm_add_ss(y, _mm_movehdup_ps(y)));
}
TUMBLER_INLINE float max(Vec a) {
  const __m256 x = _mm256_max_ps(_mm512_castps512_ps256(a.v), upper_half(a.v));
  __m128 y = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  y = _mm_max_ps(y, _mm_movehl_ps(y, y));
  return _mm_cvtss_f32(_mm_max_ss(y, _mm_movehdup_ps(y)));
}

// bf16 is the upper half of a float; rounding is to nearest even, NaN stays a quiet NaN: the bits of
// to_bf16().
TUMBLER_INLINE __m512i bf16_bits(Vec a) {
  const __m512i u = _mm512_castps_si512(a.v), high = _mm512_srli_epi32(u, 16);
  const __m512i even = _mm512_and_si512(high, _mm512_set1_epi32(1));
  const __m512i rounded =
      _mm512_srli_epi32(_mm512_add_epi32(u, _mm512_add_epi32(even, _mm512_set1_epi32(0x7fff))), 16);
  const __mmask16 nan = _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
  return _mm512_mask_blend_epi32(nan, rounded, _mm512_or_si512(high, _mm512_set1_epi32(0x40)));
}
TUMBLER_INLINE Vec widen(__m256i bits) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16))};
}
TUMBLER_INLINE __m256i narrow(Vec a) {
  return _mm512_cvtepi32_epi16(bf16_bits(a));
}
template <class T>
TUMBLER_INLINE Vec round_to(Vec a) {
  if constexpr (std::is_same_v<T, float>)
    return a;
  else
    return {_mm512_castsi512_ps(_mm512_slli_epi32(bf16_bits(a), 16))};
}

TUMBLER_INLINE __mmask16 first_lanes(int64_t n) {
  return static_cast<__mmask16>((1u << n) - 1u);
}
TUMBLER_INLINE Vec load(const float* p, All) {
  return {_mm512_loadu_ps(p)};
}
TUMBLER_INLINE Vec load(const float* p, First first) {
  return {_mm512_maskz_loadu_ps(first_lanes(first.n), p)};
}
TUMBLER_INLINE Vec load(const bf16* p, All) {
  return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
TUMBLER_INLINE Vec load(const bf16* p, First first) {
  return widen(_mm256_maskz_loadu_epi16(first_lanes(first.n), p));
}
TUMBLER_INLINE void store(float* p, Vec a, All) {
  _mm512_storeu_ps(p, a.v);
}
TUMBLER_INLINE void store(float* p, Vec a, First first) {
  _mm512_mask_storeu_ps(p, first_lanes(first.n), a.v);
}
TUMBLER_INLINE void store(bf16* p, Vec a, All) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow(a));
}
TUMBLER_INLINE void store(bf16* p, Vec a, First first) {
  _mm256_mask_storeu_epi16(p, first_lanes(first.n), narrow(a));
}
// a in the lanes that belong to the part, `other` in the rest.
TUMBLER_INLINE Vec keep(Vec a, Vec, All) {
  return a;
}
TUMBLER_INLINE Vec keep(Vec a, Vec other, First first) {
  return {_mm512_mask_blend_ps(first_lanes(first.n), other.v, a.v)};
}

// Adds the squares of a, in f64.
struct DoubleSum {
  __m512d low, high;
};
TUMBLER_INLINE DoubleSum zero_double_sum() {
  return {_mm512_setzero_pd(), _mm512_setzero_pd()};
}
TUMBLER_INLINE void add_squares(DoubleSum* sum, Vec a) {
  const __m512d low = _mm512_cvtps_pd(_mm512_castps512_ps256(a.v)), high = _mm512_cvtps_pd(upper_half(a.v));
  sum->low = _mm512_fmadd_pd(low, low, sum->low);
  sum->high = _mm512_fmadd_pd(high, high, sum->high);
}
TUMBLER_INLINE double sum(const DoubleSum& a) {
  const __m512d x = _mm512_add_pd(a.low, a.high);
  const __m256d y = _mm256_add_pd(_mm512_castpd512_pd256(x), _mm512_maskz_extractf64x4_pd(0xf, x, 1));
  const __m128d z = _mm_add_pd(_mm256_castpd256_pd128(y), _mm256_extractf128_pd(y, 1));
  return _mm_cvtsd_f64(_mm_add_sd(z, _mm_unpackhi_pd(z, z)));
}

// Whole numbers, for kernels on packed weights.
struct Bytes {  // 4 of each lane
  __m512i v;
};
struct Ints {  // one of 32 bits a lane
  __m512i v;
};
using Shorts = __m512i;
TUMBLER_INLINE Bytes load_bytes(const uint8_t* p) {
  return {_mm512_loadu_si512(p)};
}
TUMBLER_INLINE void store_bytes(uint8_t* p, Bytes a) {
  _mm512_storeu_si512(p, a.v);
}
TUMBLER_INLINE Bytes broadcast4(const int8_t* p) {
  int32_t word;
  __builtin_memcpy(&word, p, 4);
  return {_mm512_set1_epi32(word)};
}
TUMBLER_INLINE Bytes operator&(Bytes a, uint8_t mask) {
  return {_mm512_and_si512(a.v, _mm512_set1_epi8(static_cast<char>(mask)))};
}
TUMBLER_INLINE Bytes operator|(Bytes a, Bytes b) {
  return {_mm512_or_si512(a.v, b.v)};
}
template <int kBits>
TUMBLER_INLINE Bytes shift_right(Bytes a) {
  if constexpr (kBits >= 0)
    return {_mm512_srli_epi16(a.v, kBits)};
  else
    return {_mm512_slli_epi16(a.v, -kBits)};
}
TUMBLER_INLINE Ints zero_ints() {
  return {_mm512_setzero_si512()};
}
TUMBLER_INLINE Ints set_ints(int32_t x) {
  return {_mm512_set1_epi32(x)};
}
TUMBLER_INLINE Ints operator+(Ints a, Ints b) {
  return {_mm512_add_epi32(a.v, b.v)};
}
TUMBLER_INLINE Ints operator-(Ints a, Ints b) {
  return {_mm512_sub_epi32(a.v, b.v)};
}
template <int kBits>
TUMBLER_INLINE Ints shift_left(Ints a) {
  return {_mm512_slli_epi32(a.v, kBits)};
}
TUMBLER_INLINE Vec to_vec(Ints a) {
  return {_mm512_cvtepi32_ps(a.v)};
}
TUMBLER_INLINE Vec load_f16(const uint8_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
TUMBLER_INLINE Vec load_u8(const uint8_t* p) {
  return {_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))))};
}
TUMBLER_INLINE Vec load_i8(const uint8_t* p) {
  return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))))};
}
TUMBLER_INLINE Shorts zero_shorts() {
  return _mm512_setzero_si512();
}
TUMBLER_INLINE Shorts pair_products(Bytes u8, Bytes i8) {
  return _mm512_maddubs_epi16(u8.v, i8.v);
}
TUMBLER_INLINE Shorts add_shorts(Shorts a, Shorts b) {
  return _mm512_add_epi16(a, b);
}
TUMBLER_INLINE void pin([[maybe_unused]] __m512i* a) {
#ifndef SIMDE_ENABLE_NATIVE_ALIASES
  __asm__("" : "+v"(*a));
#endif
}
// Sums of products of two neighbours of 16 bits.
TUMBLER_INLINE Ints pair_products16(Bytes a, Bytes b) {
  return {_mm512_madd_epi16(a.v, b.v)};
}
TUMBLER_INLINE Bytes broadcast_pair(const int16_t* p) {
  int32_t word;
  __builtin_memcpy(&word, p, 4);
  return {_mm512_set1_epi32(word)};
}
// The lower and the upper of two bytes, as 16 bits with sign.
TUMBLER_INLINE Bytes lower_bytes(Bytes a) {
  return {_mm512_srai_epi16(_mm512_slli_epi16(a.v, 8), 8)};
}
TUMBLER_INLINE Bytes upper_bytes(Bytes a) {
  return {_mm512_srai_epi16(a.v, 8)};
}
TUMBLER_INLINE Bytes operator^(Bytes a, uint8_t mask) {
  return {_mm512_xor_si512(a.v, _mm512_set1_epi8(static_cast<char>(mask)))};
}
// 16 bytes as 16 bits; of each 4 the first, third, second, fourth.
TUMBLER_INLINE void store_wide(int16_t* to, const int8_t* from) {
  const __m256i wide = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                      _mm256_shufflehi_epi16(_mm256_shufflelo_epi16(wide, 0xd8), 0xd8));
}
TUMBLER_INLINE Ints pair_sums(Shorts a) {
  return {_mm512_madd_epi16(a, _mm512_set1_epi16(1))};
}
TUMBLER_INLINE void store_rounded(int8_t* p, Vec a) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(a.v)));
}
