// Every kernel for AVX-512. Nothing may be included inside the region but .inl files: see simd.h.
#include "kernels/intrinsics.h"
#include "kernels/packed_layout.h"
#include "kernels/simd.h"
#include "kernels/table.h"

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
#include "kernels/all_simd.inl"
}  // namespace
}  // namespace tumbler::kernels::avx512
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace tumbler::kernels {
constinit const Table kAvx512Table = avx512::make_table();
}  // namespace tumbler::kernels
