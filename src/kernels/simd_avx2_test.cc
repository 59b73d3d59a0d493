// The vector functions of simd_test.cc for avx2. Not a test itself.
#include <immintrin.h>

#include "kernels/kernel_testing.h"
#include "kernels/simd.h"

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif
namespace tumbler::kernels::avx2 {
namespace {
#include "kernels/simd_avx2.inl"
//
#include "kernels/simd_math.inl"
//
#include "kernels/simd_probe.inl"
}  // namespace
}  // namespace tumbler::kernels::avx2
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace tumbler::kernels {
constinit const SimdProbe kAvx2Probe = avx2::make_probe();
}  // namespace tumbler::kernels
