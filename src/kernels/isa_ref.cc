// Every kernel in plain loops: what each op means, and the oracle of its tests. Sums are made in f64.
#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/table.h"

namespace tumbler::kernels::ref {
namespace {
#include "kernels/activation_ref.inl"
#include "kernels/cross_entropy_ref.inl"
#include "kernels/embedding_ref.inl"
#include "kernels/norm_ref.inl"
#include "kernels/optimizer_ref.inl"
#include "kernels/rope_ref.inl"
//
template <class T>
constexpr AttentionOps<T> make_attention_ops() {
  return {nullptr, nullptr, nullptr};
}
#include "kernels/table.inl"
}  // namespace
}  // namespace tumbler::kernels::ref

namespace tumbler::kernels {
constinit const Table kRefTable = ref::make_table();
}  // namespace tumbler::kernels
