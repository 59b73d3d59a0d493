// The vector functions of simd_test.cc for avx512. Not a test itself.
#include "kernels/intrinsics.h"
#include "kernels/kernel_testing.h"
#include "kernels/simd.h"

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl"))), \
                             apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl")
#endif
namespace tumbler::kernels::avx512 {
namespace {
#include "kernels/simd_avx512.inl"
//
#include "kernels/simd_math.inl"
//
#include "kernels/simd_probe.inl"
}  // namespace
}  // namespace tumbler::kernels::avx512
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace tumbler::kernels {
constinit const SimdProbe kAvx512Probe = avx512::make_probe();
}  // namespace tumbler::kernels
