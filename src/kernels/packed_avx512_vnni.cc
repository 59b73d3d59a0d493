// Products with packed weights for AVX-512 with VNNI. See simd.h for the regions.
#include "kernels/intrinsics.h"
#include "kernels/packed_layout.h"
#include "kernels/simd.h"
#include "kernels/table.h"

#ifdef __clang__
#pragma clang attribute push(                                                               \
    __attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni"))), \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")
#endif
namespace tumbler::kernels::avx512_vnni {
namespace {
#include "kernels/simd_avx512.inl"
//
#include "kernels/simd_math.inl"
//
#include "kernels/dot_vnni.inl"
#include "kernels/packed_simd.inl"
}  // namespace
}  // namespace tumbler::kernels::avx512_vnni
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace tumbler::kernels {
constinit const PackedOps kAvx512VnniPackedOps = avx512_vnni::make_packed_ops();
}  // namespace tumbler::kernels
