// Register loops of the instructions that only some processors have; each is called after the processor was
// asked.
#include "kernels/intrinsics.h"
#include "kernels/isa.h"
#include "kernels/peak_loops.h"

namespace tumbler::kernels {
namespace {

constexpr int kChains = 12;

__attribute__((target("avx512f,avx512bf16"))) float bf16_avx512(int64_t rounds) {
  __m512 sums[kChains];
  for (int c = 0; c < kChains; ++c) sums[c] = _mm512_set1_ps(static_cast<float>(c));
  const __m512bh x = (__m512bh)_mm512_set1_epi32(0x3a003a00), y = (__m512bh)_mm512_set1_epi32(0x3a003a00);
  for (int64_t i = 0; i < rounds; ++i)
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) sums[c] = _mm512_dpbf16_ps(sums[c], x, y);
  for (int c = 1; c < kChains; ++c) sums[0] = _mm512_add_ps(sums[0], sums[c]);
  return _mm512_cvtss_f32(sums[0]);
}

__attribute__((target("avx512f,avx512vnni"))) float int8_avx512(int64_t rounds) {
  __m512i sums[kChains];
  for (int c = 0; c < kChains; ++c) sums[c] = _mm512_set1_epi32(c);
  const __m512i x = _mm512_set1_epi8(1), y = _mm512_set1_epi8(-1);
  for (int64_t i = 0; i < rounds; ++i)
#pragma GCC unroll 12
    for (int c = 0; c < kChains; ++c) sums[c] = _mm512_dpbusd_epi32(sums[c], x, y);
  for (int c = 1; c < kChains; ++c) sums[0] = _mm512_add_epi32(sums[0], sums[c]);
  return static_cast<float>(_mm_cvtsi128_si32(_mm512_castsi512_si128(sums[0])));
}

// Three instructions a step: bytes to 16-bit sums of two, those to 32-bit sums of four, and the addition.
__attribute__((target("avx2"))) float int8_avx2(int64_t rounds) {
  constexpr int kFewer = 8;  // 8 sums, 3 operands, and registers left for products on their way
  __m256i sums[kFewer];
  for (int c = 0; c < kFewer; ++c) sums[c] = _mm256_set1_epi32(c);
  __m256i x = _mm256_set1_epi8(1);
  const __m256i y = _mm256_set1_epi8(-1), ones = _mm256_set1_epi16(1);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 8
    for (int c = 0; c < kFewer; ++c) {
      __m256i sum = _mm256_add_epi32(sums[c], _mm256_madd_epi16(_mm256_maddubs_epi16(x, y), ones));
      // As if x were another one for the next chain: else one product serves all and only additions remain.
      __asm__("" : "+x"(sum), "+x"(x));
      sums[c] = sum;
    }
  }
  for (int c = 1; c < kFewer; ++c) sums[0] = _mm256_add_epi32(sums[0], sums[c]);
  return static_cast<float>(_mm_cvtsi128_si32(_mm256_castsi256_si128(sums[0])));
}

}  // namespace

DotLoop bf16_loop() {
  return has_fast_bf16() ? DotLoop{bf16_avx512, kChains * 32 * 2} : DotLoop{nullptr, 0};
}

DotLoop int8_loop() {
  switch (active_isa()) {
    case Isa::avx512:
      if (__builtin_cpu_supports("avx512vnni")) return {int8_avx512, kChains * 64 * 2};
      [[fallthrough]];
    case Isa::avx2:
      return {int8_avx2, 8 * 32 * 2};
    case Isa::ref:
      break;
  }
  return {nullptr, 0};
}

}  // namespace tumbler::kernels
