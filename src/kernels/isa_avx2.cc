// Every kernel for AVX2. Nothing may be included inside the region but .inl files: see simd.h.
#include <immintrin.h>

#include "kernels/packed_layout.h"
#include "kernels/simd.h"
#include "kernels/table.h"

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
#include "kernels/all_simd.inl"
}  // namespace
}  // namespace tumbler::kernels::avx2
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace tumbler::kernels {
constinit const Table kAvx2Table = avx2::make_table();
}  // namespace tumbler::kernels
