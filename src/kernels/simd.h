// The SIMD layer: one vector type over AVX2 and AVX-512, so that a kernel's body is written once.
//
//   simd_avx2.inl, simd_avx512.inl   Vec (kLanes floats), Mask and what the processor does in an instruction
//   or a few simd_math.inl                    exp, log, tanh, sigmoid; loops; sums all_simd.inl includes
//   these bodies: norm_simd.inl, rope_simd.inl, … isa_avx2.cc, isa_avx512.cc       open a target region and a
//   namespace (avx2, avx512) and include all of the above inside
//
// Why regions and namespaces and not -mavx2 on a file: an inline function of some header, compiled there with
// AVX2, may be the copy that the linker keeps for the whole program. So every header comes BEFORE the region,
// everything inside it is in a namespace of its own without a name, and bodies call nothing from the standard
// library (use __builtin_… for what is missing).
// A struct of vectors has no default member values: its constructor would be made outside the region.
//
// How to write a body:
//
//   template <class T>
//   void scale_rows(T* x, float factor, int64_t n) {
//     const Vec f = set(factor);
//     for_lanes(n, [&](int64_t i, auto part) TUMBLER_INLINE_LAMBDA { store(x + i, load(x + i, part) * f,
//     part); });
//   }
//
//   load(p, part), store(p, v, part)   p is float or bf16, any alignment. part is All{} or First{n}, 0 < n <
//   kLanes: the other lanes
//                                      load as 0 and are not stored. keep(v, other, part) puts `other` into
//                                      them.
//   set, zero, + - * /, fma(a,b,c) = a*b + c, fnma(a,b,c) = c - a*b, sqrt, abs, copy_sign
//   min, max                           return the SECOND argument where one is NaN
//   less, any, select                  masks
//   round_to<T>(v)                     what store to T and load again would give
//   sum(v), max(v)                     over the lanes, always in the same order
//   exp, log, tanh, sigmoid            accuracy beside each
//
// To add an op: its pointer in table.h, a plain-loop twin in <op>_ref.inl, its body in <op>_simd.inl, both
// lines in table.inl. The table's functions are single-threaded and work on a range of rows; <op>.cc checks
// arguments, splits the rows over threads (parallel.h) and calls table(). isa_avx512_emulated_test.cc builds
// the AVX-512 bodies on SIMDe, so that tests run them anywhere.
#pragma once

#include <cstdint>
#include <type_traits>

#define TUMBLER_INLINE inline __attribute__((always_inline))
// On every lambda passed to for_lanes: a body called from two places would else become a real call a vector.
#define TUMBLER_INLINE_LAMBDA __attribute__((always_inline))
// Before a loop over registers: its trip count is a constant and it must be unrolled whole.
#ifdef __clang__
#define TUMBLER_UNROLL _Pragma("unroll")
#else
#define TUMBLER_UNROLL _Pragma("GCC unroll 16")
#endif

namespace tumbler::kernels {

struct All {};  // all lanes
struct First {  // the first n lanes
  int64_t n;
};

}  // namespace tumbler::kernels
