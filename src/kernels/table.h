// The functions of one instruction set, on one thread and a range of rows. op.cc calls them through table();
// simd.h says how they are made. Arguments mean what they do in the public header of the op, except where a
// comment here says otherwise.
#pragma once

#include <cstdint>

#include "kernels/activation.h"
#include "kernels/attention_table.h"
#include "kernels/cross_entropy.h"
#include "kernels/dtype.h"
#include "kernels/isa.h"
#include "kernels/optimizer.h"
#include "kernels/packed.h"
#include "kernels/paged_attention.h"
#include "kernels/peak_loops.h"
#include "kernels/rope.h"

namespace tumbler::kernels {

template <class T>
struct Ops {
  void (*rms_norm_forward)(T* out, float* rstd, T* residual, const T* delta, const float* weight, int64_t N,
                           int64_t C, float eps);
  // d_weight (C) += this range's part
  void (*rms_norm_backward)(T* d_residual, float* d_weight, const T* d_out, const T* residual,
                            const float* weight, const float* rstd, int64_t N, int64_t C);
  void (*layer_norm_forward)(T* out, float* mean, float* rstd, T* residual, const T* delta,
                             const float* weight, const float* bias, int64_t N, int64_t C, float eps);
  void (*layer_norm_backward)(T* d_residual, float* d_weight, float* d_bias, const T* d_out,
                              const T* residual, const float* weight, const float* mean, const float* rstd,
                              int64_t N, int64_t C);

  void (*qk_forward)(T* q, T* k, const T* qkv, const float* q_weight, const float* k_weight,
                     const float* cos_sin, const int32_t* positions, const QkShape& shape);
  // scratch: D floats; d_q_weight, d_k_weight (D) += this range's part
  void (*qk_backward)(T* d_qkv, float* d_q_weight, float* d_k_weight, const T* d_q, const T* d_k,
                      const T* qkv, const float* q_weight, const float* k_weight, const float* cos_sin,
                      const int32_t* positions, float* scratch, const QkShape& shape);

  void (*gelu_forward)(T* out, const T* inp, int64_t n);
  void (*gelu_backward)(T* d_inp, const T* d_out, const T* inp, int64_t n);
  void (*glu_forward)(T* out, const T* gate_up, Gate gate, int64_t N, int64_t I);
  void (*glu_backward)(T* d_gate_up, const T* d_out, const T* gate_up, Gate gate, int64_t N, int64_t I);
  void (*add_in_place)(T* a, const T* b, int64_t n);

  AttentionOps<T> attention;  // null in the table of `ref`: attention_ref.cc has no such units

  void (*embedding_forward)(T* out, const int32_t* tokens, const int32_t* positions, const T* wte,
                            const T* wpe, float scale, int64_t N, int64_t C);
  // Columns begin..end-1 of all N tokens.
  void (*embedding_backward)(float* d_wte, float* d_wpe, const T* d_out, const int32_t* tokens,
                             const int32_t* positions, float scale, int64_t N, int64_t C, int64_t begin,
                             int64_t end);

  void (*cross_entropy_forward)(float* losses, const T* logits, const int32_t* targets, int64_t N, int64_t V,
                                int64_t stride);
  void (*cross_entropy_forward_backward)(float* losses, T* logits, const int32_t* targets,
                                         const float* weights, int64_t N, int64_t V, int64_t stride);

  void (*adamw_update)(float* master, float* m, float* v, const float* grad, T* copy, const AdamW& h,
                       int64_t n);
  void (*apply_update)(float* master, const float* update, T* copy, float lr, float weight_decay, int64_t n);
};

struct Table {
  PeakLoops peak;
  PackedOps packed;
  PagedOps paged;
  Ops<float> f32;
  Ops<bf16> bf16_;
  void (*to_bf16)(bf16* out, const float* inp, int64_t n);
  void (*to_float)(float* out, const bf16* inp, int64_t n);
  double (*sum_of_squares)(const float* x, int64_t n);
  void (*scale)(float* x, float factor, int64_t n);
  void (*momentum_update)(float* momentum, float* out, const float* grad, float beta, float grad_scale,
                          bool nesterov, int64_t n);
};

extern const Table kRefTable, kAvx2Table, kAvx512Table;

// That of active_isa().
const Table& table();
// Those of table(), or with VNNI where the machine has it.
const PackedOps& packed_ops();
extern const PackedOps kAvx512VnniPackedOps;
template <class T>
const Ops<T>& ops() {
  if constexpr (std::is_same_v<T, float>)
    return table().f32;
  else
    return table().bf16_;
}

// Tests only: table() returns this one, whatever the ISA in force; null ends that.
void set_table_for_tests(const Table* table);

}  // namespace tumbler::kernels
