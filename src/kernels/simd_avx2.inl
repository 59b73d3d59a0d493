// Eight floats in an AVX2 register. The same names as simd_avx512.inl; see simd.h for what they mean.

constexpr int64_t kLanes = 8;
struct Vec {
  __m256 v;
};
struct Mask {
  __m256 m;
};

TUMBLER_INLINE Vec set(float x) {
  return {_mm256_set1_ps(x)};
}
TUMBLER_INLINE Vec zero() {
  return {_mm256_setzero_ps()};
}
TUMBLER_INLINE Vec operator+(Vec a, Vec b) {
  return {_mm256_add_ps(a.v, b.v)};
}
TUMBLER_INLINE Vec operator-(Vec a, Vec b) {
  return {_mm256_sub_ps(a.v, b.v)};
}
TUMBLER_INLINE Vec operator*(Vec a, Vec b) {
  return {_mm256_mul_ps(a.v, b.v)};
}
TUMBLER_INLINE Vec operator/(Vec a, Vec b) {
  return {_mm256_div_ps(a.v, b.v)};
}
TUMBLER_INLINE Vec fma(Vec a, Vec b, Vec c) {
  return {_mm256_fmadd_ps(a.v, b.v, c.v)};
}
TUMBLER_INLINE Vec fnma(Vec a, Vec b, Vec c) {
  return {_mm256_fnmadd_ps(a.v, b.v, c.v)};
}
TUMBLER_INLINE Vec max(Vec a, Vec b) {
  return {_mm256_max_ps(a.v, b.v)};
}
TUMBLER_INLINE Vec min(Vec a, Vec b) {
  return {_mm256_min_ps(a.v, b.v)};
}
TUMBLER_INLINE Vec sqrt(Vec a) {
  return {_mm256_sqrt_ps(a.v)};
}
TUMBLER_INLINE Vec abs(Vec a) {
  return {_mm256_andnot_ps(_mm256_set1_ps(-0.0f), a.v)};
}
TUMBLER_INLINE Vec copy_sign(Vec magnitude, Vec sign) {
  const __m256 bit = _mm256_set1_ps(-0.0f);
  return {_mm256_or_ps(_mm256_andnot_ps(bit, magnitude.v), _mm256_and_ps(bit, sign.v))};
}

TUMBLER_INLINE Mask less(Vec a, Vec b) {
  return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)};
}
TUMBLER_INLINE bool any(Mask mask) {
  return _mm256_movemask_ps(mask.m) != 0;
}
TUMBLER_INLINE Vec select(Mask mask, Vec yes, Vec no) {
  return {_mm256_blendv_ps(no.v, yes.v, mask.m)};
}

TUMBLER_INLINE Vec round_to_integer(Vec a) {
  return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
// a * 2^n for whole n in [-252, 254]; in two steps, since 2^n itself may be no normal float.
TUMBLER_INLINE Vec scale_by_power(Vec a, Vec n) {
  const __m256i k = _mm256_cvtps_epi32(n.v), half = _mm256_srai_epi32(k, 1), bias = _mm256_set1_epi32(127);
  const __m256i first = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
  const __m256i second = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(k, half), bias), 23);
  return {_mm256_mul_ps(_mm256_mul_ps(a.v, _mm256_castsi256_ps(first)), _mm256_castsi256_ps(second))};
}
// a = mantissa * 2^exponent with mantissa in [sqrt(1/2), sqrt(2)), for normal positive a.
TUMBLER_INLINE Vec split_exponent(Vec a, Vec* exponent) {
  const __m256i bits = _mm256_castps_si256(a.v), root_half = _mm256_set1_epi32(0x3f3504f3);
  const __m256i k = _mm256_srai_epi32(_mm256_sub_epi32(bits, root_half), 23);
  *exponent = {_mm256_cvtepi32_ps(k)};
  return {_mm256_castsi256_ps(_mm256_sub_epi32(bits, _mm256_slli_epi32(k, 23)))};
}

TUMBLER_INLINE __m128 fold_sum(__m128 a) {
  a = _mm_add_ps(a, _mm_movehl_ps(a, a));
  return _mm_add_ss(a, _mm_movehdup_ps(a));
}
TUMBLER_INLINE float sum(Vec a) {
  return _mm_cvtss_f32(fold_sum(_mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1))));
}
TUMBLER_INLINE float max(Vec a) {
  __m128 x = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  x = _mm_max_ps(x, _mm_movehl_ps(x, x));
  return _mm_cvtss_f32(_mm_max_ss(x, _mm_movehdup_ps(x)));
}

// bf16 is the upper half of a float; rounding is to nearest even, NaN stays a quiet NaN: the bits of
// to_bf16().
TUMBLER_INLINE __m256i bf16_bits(Vec a) {
  const __m256i u = _mm256_castps_si256(a.v), high = _mm256_srli_epi32(u, 16);
  const __m256i even = _mm256_and_si256(high, _mm256_set1_epi32(1));
  const __m256i rounded =
      _mm256_srli_epi32(_mm256_add_epi32(u, _mm256_add_epi32(even, _mm256_set1_epi32(0x7fff))), 16);
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q));
  return _mm256_blendv_epi8(rounded, _mm256_or_si256(high, _mm256_set1_epi32(0x40)), nan);
}
TUMBLER_INLINE Vec widen(__m128i bits) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16))};
}
TUMBLER_INLINE __m128i narrow(Vec a) {
  const __m256i bits = bf16_bits(a);
  return _mm_packus_epi32(_mm256_castsi256_si128(bits), _mm256_extracti128_si256(bits, 1));
}
template <class T>
TUMBLER_INLINE Vec round_to(Vec a) {
  if constexpr (std::is_same_v<T, float>)
    return a;
  else
    return {_mm256_castsi256_ps(_mm256_slli_epi32(bf16_bits(a), 16))};
}

TUMBLER_INLINE __m256i first_lanes(int64_t n) {
  alignas(32) static constexpr int32_t kWindow[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kWindow + 8 - n));
}
TUMBLER_INLINE Vec load(const float* p, All) {
  return {_mm256_loadu_ps(p)};
}
TUMBLER_INLINE Vec load(const float* p, First first) {
  return {_mm256_maskload_ps(p, first_lanes(first.n))};
}
TUMBLER_INLINE Vec load(const bf16* p, All) {
  return widen(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
TUMBLER_INLINE Vec load(const bf16* p, First first) {
  alignas(16) uint16_t buffer[8] = {};
  for (int64_t i = 0; i < first.n; ++i) buffer[i] = p[i].bits;
  return widen(_mm_load_si128(reinterpret_cast<const __m128i*>(buffer)));
}
TUMBLER_INLINE void store(float* p, Vec a, All) {
  _mm256_storeu_ps(p, a.v);
}
TUMBLER_INLINE void store(float* p, Vec a, First first) {
  _mm256_maskstore_ps(p, first_lanes(first.n), a.v);
}
TUMBLER_INLINE void store(bf16* p, Vec a, All) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), narrow(a));
}
TUMBLER_INLINE void store(bf16* p, Vec a, First first) {
  alignas(16) uint16_t buffer[8];
  _mm_store_si128(reinterpret_cast<__m128i*>(buffer), narrow(a));
  for (int64_t i = 0; i < first.n; ++i) p[i].bits = buffer[i];
}
// a in the lanes that belong to the part, `other` in the rest.
TUMBLER_INLINE Vec keep(Vec a, Vec, All) {
  return a;
}
TUMBLER_INLINE Vec keep(Vec a, Vec other, First first) {
  return {_mm256_blendv_ps(other.v, a.v, _mm256_castsi256_ps(first_lanes(first.n)))};
}

// Adds the squares of a, in f64.
struct DoubleSum {
  __m256d low, high;
};
TUMBLER_INLINE DoubleSum zero_double_sum() {
  return {_mm256_setzero_pd(), _mm256_setzero_pd()};
}
TUMBLER_INLINE void add_squares(DoubleSum* sum, Vec a) {
  const __m256d low = _mm256_cvtps_pd(_mm256_castps256_ps128(a.v)),
                high = _mm256_cvtps_pd(_mm256_extractf128_ps(a.v, 1));
  sum->low = _mm256_fmadd_pd(low, low, sum->low);
  sum->high = _mm256_fmadd_pd(high, high, sum->high);
}
TUMBLER_INLINE double sum(const DoubleSum& a) {
  const __m256d x = _mm256_add_pd(a.low, a.high);
  const __m128d y = _mm_add_pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd(x, 1));
  return _mm_cvtsd_f64(_mm_add_sd(y, _mm_unpackhi_pd(y, y)));
}

// Whole numbers, for kernels on packed weights.
struct Bytes {  // 4 of each lane
  __m256i v;
};
struct Ints {  // one of 32 bits a lane
  __m256i v;
};
using Shorts = __m256i;  // two of each lane
TUMBLER_INLINE Bytes load_bytes(const uint8_t* p) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))};
}
TUMBLER_INLINE void store_bytes(uint8_t* p, Bytes a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a.v);
}
// The same 4 bytes for each lane.
TUMBLER_INLINE Bytes broadcast4(const int8_t* p) {
  int32_t word;
  __builtin_memcpy(&word, p, 4);
  return {_mm256_set1_epi32(word)};
}
TUMBLER_INLINE Bytes operator&(Bytes a, uint8_t mask) {
  return {_mm256_and_si256(a.v, _mm256_set1_epi8(static_cast<char>(mask)))};
}
TUMBLER_INLINE Bytes operator|(Bytes a, Bytes b) {
  return {_mm256_or_si256(a.v, b.v)};
}
// Shifts pairs of bytes: mask away what comes from the neighbour.
template <int kBits>
TUMBLER_INLINE Bytes shift_right(Bytes a) {
  if constexpr (kBits >= 0)
    return {_mm256_srli_epi16(a.v, kBits)};
  else
    return {_mm256_slli_epi16(a.v, -kBits)};
}
TUMBLER_INLINE Ints zero_ints() {
  return {_mm256_setzero_si256()};
}
TUMBLER_INLINE Ints set_ints(int32_t x) {
  return {_mm256_set1_epi32(x)};
}
TUMBLER_INLINE Ints operator+(Ints a, Ints b) {
  return {_mm256_add_epi32(a.v, b.v)};
}
TUMBLER_INLINE Ints operator-(Ints a, Ints b) {
  return {_mm256_sub_epi32(a.v, b.v)};
}
template <int kBits>
TUMBLER_INLINE Ints shift_left(Ints a) {
  return {_mm256_slli_epi32(a.v, kBits)};
}
TUMBLER_INLINE Vec to_vec(Ints a) {
  return {_mm256_cvtepi32_ps(a.v)};
}
TUMBLER_INLINE Vec load_f16(const uint8_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
TUMBLER_INLINE Vec load_u8(const uint8_t* p) {
  return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))))};
}
TUMBLER_INLINE Vec load_i8(const uint8_t* p) {
  return {_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))))};
}
TUMBLER_INLINE Shorts zero_shorts() {
  return _mm256_setzero_si256();
}
// Sums of products of two neighbours, unsigned times signed, in 16 bits that saturate; and of two of these in 32.
TUMBLER_INLINE Shorts pair_products(Bytes u8, Bytes i8) {
  return _mm256_maddubs_epi16(u8.v, i8.v);
}
TUMBLER_INLINE Shorts add_shorts(Shorts a, Shorts b) {
  return _mm256_add_epi16(a, b);
}
// Keeps the compiler from adding in another order: GCC makes trees of long sums, and spills their leaves.
TUMBLER_INLINE void pin(Shorts* a) {
  __asm__("" : "+x"(*a));
}
// Sums of products of two neighbours of 16 bits.
TUMBLER_INLINE Ints pair_products16(Bytes a, Bytes b) {
  return {_mm256_madd_epi16(a.v, b.v)};
}
TUMBLER_INLINE Bytes broadcast_pair(const int16_t* p) {
  int32_t word;
  __builtin_memcpy(&word, p, 4);
  return {_mm256_set1_epi32(word)};
}
// The lower and the upper of two bytes, as 16 bits with sign.
TUMBLER_INLINE Bytes lower_bytes(Bytes a) {
  return {_mm256_srai_epi16(_mm256_slli_epi16(a.v, 8), 8)};
}
TUMBLER_INLINE Bytes upper_bytes(Bytes a) {
  return {_mm256_srai_epi16(a.v, 8)};
}
TUMBLER_INLINE Bytes operator^(Bytes a, uint8_t mask) {
  return {_mm256_xor_si256(a.v, _mm256_set1_epi8(static_cast<char>(mask)))};
}
// 16 bytes as 16 bits; of each 4 the first, third, second, fourth.
TUMBLER_INLINE void store_wide(int16_t* to, const int8_t* from) {
  const __m256i wide = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to),
                      _mm256_shufflehi_epi16(_mm256_shufflelo_epi16(wide, 0xd8), 0xd8));
}
TUMBLER_INLINE Ints pair_sums(Shorts a) {
  return {_mm256_madd_epi16(a, _mm256_set1_epi16(1))};
}
// The nearest whole numbers of 8 floats within ±127 as bytes.
TUMBLER_INLINE void store_rounded(int8_t* p, Vec a) {
  const __m256i q = _mm256_cvtps_epi32(a.v);
  const __m128i shorts = _mm_packs_epi32(_mm256_castsi256_si128(q), _mm256_extracti128_si256(q, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi16(shorts, shorts));
}
