// The bodies for AVX-512 on SIMDe, which does in C what the instructions do: their logic is tested on
// machines without them. Not a test itself; see tested_isas(). immintrin.h must not be included here, SIMDe
// takes its names.
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <simde/x86/fma.h>

#include "kernels/kernel_testing.h"
#include "kernels/packed_layout.h"
#include "kernels/simd.h"
#include "kernels/table.h"

// What SIMDe 0.7.4 lacks, or has wrong, of what simd_avx512.inl uses.
#define __mmask16 simde__mmask16
#define _MM_FROUND_NO_EXC SIMDE_MM_FROUND_NO_EXC
#pragma GCC diagnostic ignored \
    "-Wignored-attributes"  // vector types as template arguments lose their alignment: harmless

namespace {

template <class V, class S, int kCount>
struct Lanes {
  S lane[kCount];
  explicit Lanes(V v) {
    static_assert(sizeof(V) == sizeof(lane));
    __builtin_memcpy(lane, &v, sizeof v);
  }
  V vector() const {
    V v;
    __builtin_memcpy(&v, lane, sizeof v);
    return v;
  }
};
using Float16 = Lanes<__m512, float, 16>;
using Int16 = Lanes<__m512i, int32_t, 16>;
using Double8 = Lanes<__m512d, double, 8>;
using Short16 = Lanes<__m256i, uint16_t, 16>;

__m512 _mm512_maskz_loadu_ps(__mmask16 mask, const float* p) {
  Float16 x(_mm512_setzero_ps());
  for (int i = 0; i < 16; ++i)
    if ((mask >> i & 1) != 0) x.lane[i] = p[i];
  return x.vector();
}
void _mm512_mask_storeu_ps(float* p, __mmask16 mask, __m512 v) {
  const Float16 x(v);
  for (int i = 0; i < 16; ++i)
    if ((mask >> i & 1) != 0) p[i] = x.lane[i];
}
__m256i emulated_maskz_loadu_epi16(__mmask16 mask, const void* p) {
  Short16 x(_mm256_setzero_si256());
  for (int i = 0; i < 16; ++i)
    if ((mask >> i & 1) != 0) x.lane[i] = static_cast<const tumbler::kernels::bf16*>(p)[i].bits;
  return x.vector();
}
void emulated_mask_storeu_epi16(void* p, __mmask16 mask, __m256i v) {
  const Short16 x(v);
  for (int i = 0; i < 16; ++i)
    if ((mask >> i & 1) != 0) static_cast<tumbler::kernels::bf16*>(p)[i].bits = x.lane[i];
}
__m512i _mm512_cvtepu16_epi32(__m256i v) {
  const Short16 x(v);
  Int16 y(_mm512_setzero_si512());
  for (int i = 0; i < 16; ++i) y.lane[i] = x.lane[i];
  return y.vector();
}
__m256i _mm512_cvtepi32_epi16(__m512i v) {
  const Int16 x(v);
  Short16 y(_mm256_setzero_si256());
  for (int i = 0; i < 16; ++i) y.lane[i] = static_cast<uint16_t>(x.lane[i]);
  return y.vector();
}
__m512 _mm512_cvtepi32_ps(__m512i v) {
  const Int16 x(v);
  Float16 y(_mm512_setzero_ps());
  for (int i = 0; i < 16; ++i) y.lane[i] = static_cast<float>(x.lane[i]);
  return y.vector();
}
__m512i _mm512_srai_epi32(__m512i v, unsigned count) {
  Int16 x(v);
  for (int32_t& lane : x.lane) lane >>= count;
  return x.vector();
}
__m512d _mm512_cvtps_pd(__m256 v) {
  const Lanes<__m256, float, 8> x(v);
  Double8 y(_mm512_setzero_pd());
  for (int i = 0; i < 8; ++i) y.lane[i] = x.lane[i];
  return y.vector();
}
// SIMDe has this one, as a * exp2(n), which overflows at n = 128 where the instruction does not.
__m512 emulated_scalef_ps(__m512 a, __m512 n) {
  Float16 x(a);
  const Float16 power(n);
  for (int i = 0; i < 16; ++i) x.lane[i] = __builtin_ldexpf(x.lane[i], static_cast<int>(power.lane[i]));
  return x.vector();
}
#undef _mm512_scalef_ps
#define _mm512_scalef_ps emulated_scalef_ps
#undef _mm256_maskz_loadu_epi16
#undef _mm256_mask_storeu_epi16
#define _mm256_maskz_loadu_epi16 emulated_maskz_loadu_epi16
#define _mm256_mask_storeu_epi16 emulated_mask_storeu_epi16

// SIMDe rounds twice.
__m512 emulated_fmadd_ps(__m512 v, __m512 w, __m512 sum) {
  const Float16 a(v), b(w);
  Float16 y(sum);
  for (int i = 0; i < 16; ++i) y.lane[i] = __builtin_fmaf(a.lane[i], b.lane[i], y.lane[i]);
  return y.vector();
}
#undef _mm512_fmadd_ps
#define _mm512_fmadd_ps emulated_fmadd_ps

// Of packed weights.
using Byte16 = Lanes<__m128i, uint8_t, 16>;
using Byte64 = Lanes<__m512i, uint8_t, 64>;
using Short32 = Lanes<__m512i, int16_t, 32>;
__m512 _mm512_cvtph_ps(__m256i v) {
  const Short16 x(v);
  Float16 y(_mm512_setzero_ps());
  for (int i = 0; i < 16; ++i)
    y.lane[i] = tumbler::kernels::to_float(
        tumbler::kernels::f16{{static_cast<uint8_t>(x.lane[i]), static_cast<uint8_t>(x.lane[i] >> 8)}});
  return y.vector();
}
__m512i _mm512_cvtepu8_epi32(__m128i v) {
  const Byte16 x(v);
  Int16 y(_mm512_setzero_si512());
  for (int i = 0; i < 16; ++i) y.lane[i] = x.lane[i];
  return y.vector();
}
__m512i _mm512_cvtepi8_epi32(__m128i v) {
  const Byte16 x(v);
  Int16 y(_mm512_setzero_si512());
  for (int i = 0; i < 16; ++i) y.lane[i] = static_cast<int8_t>(x.lane[i]);
  return y.vector();
}
__m512i _mm512_cvtps_epi32(__m512 v) {
  const Float16 x(v);
  Int16 y(_mm512_setzero_si512());
  for (int i = 0; i < 16; ++i) y.lane[i] = static_cast<int32_t>(__builtin_nearbyintf(x.lane[i]));
  return y.vector();
}
__m512i emulated_madd_epi16(__m512i v, __m512i w) {
  const Short32 a(v), b(w);
  Int16 y(_mm512_setzero_si512());
  for (int i = 0; i < 16; ++i)
    y.lane[i] = a.lane[2 * i] * b.lane[2 * i] + a.lane[2 * i + 1] * b.lane[2 * i + 1];
  return y.vector();
}
#undef _mm512_madd_epi16
#define _mm512_madd_epi16 emulated_madd_epi16
__m512i emulated_dpbusd_epi32(__m512i sum, __m512i v, __m512i w) {
  const Byte64 a(v), b(w);
  Int16 y(sum);
  for (int i = 0; i < 64; ++i) y.lane[i / 4] += a.lane[i] * static_cast<int8_t>(b.lane[i]);
  return y.vector();
}
#undef _mm512_dpbusd_epi32
#define _mm512_dpbusd_epi32 emulated_dpbusd_epi32

}  // namespace

namespace tumbler::kernels::avx512_emulated {
namespace {
#include "kernels/simd_avx512.inl"
//
#include "kernels/all_simd.inl"
//
#include "kernels/simd_probe.inl"
}  // namespace
}  // namespace tumbler::kernels::avx512_emulated

namespace tumbler::kernels::avx512_vnni_emulated {
namespace {
#include "kernels/simd_avx512.inl"
//
#include "kernels/simd_math.inl"
//
#include "kernels/dot_vnni.inl"
#include "kernels/packed_simd.inl"
constexpr Table with_vnni(Table table) {
  table.packed = make_packed_ops();
  return table;
}
}  // namespace
}  // namespace tumbler::kernels::avx512_vnni_emulated

namespace tumbler::kernels {
constinit const Table kAvx512EmulatedTable = avx512_emulated::make_table();
constinit const Table kAvx512VnniEmulatedTable =
    avx512_vnni_emulated::with_vnni(avx512_emulated::make_table());
constinit const SimdProbe kAvx512EmulatedProbe = avx512_emulated::make_probe();
}  // namespace tumbler::kernels
