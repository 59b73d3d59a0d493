// The bodies of every op, inside the target region and namespace of one instruction set.
#include "kernels/simd_math.inl"
//
#include "kernels/activation_simd.inl"
#include "kernels/attention_simd.inl"
#include "kernels/cross_entropy_simd.inl"
#include "kernels/embedding_simd.inl"
#include "kernels/dot_pairs.inl"
#include "kernels/norm_simd.inl"
#include "kernels/optimizer_simd.inl"
#include "kernels/packed_simd.inl"
#include "kernels/paged_attention_simd.inl"
#include "kernels/peak_simd.inl"
#include "kernels/rope_simd.inl"
//
#include "kernels/table.inl"
