// Every kernel in plain loops: what each op means, and the oracle of its tests. Sums are made in f64.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/packed_layout.h"
#include "kernels/table.h"

namespace tumbler::kernels::ref {
namespace {
#include "kernels/activation_ref.inl"
#include "kernels/cross_entropy_ref.inl"
#include "kernels/embedding_ref.inl"
#include "kernels/norm_ref.inl"
#include "kernels/optimizer_ref.inl"
#include "kernels/packed_ref.inl"
#include "kernels/paged_attention_ref.inl"
#include "kernels/rope_ref.inl"
//
// One multiplication and one addition a round: what plain code that does not vectorise reaches.
constexpr int64_t kPeakFmaFlop = 2;
float peak_fma(int64_t rounds) {
  volatile float factor = 0.999f;
  const float x = factor;
  float a = 1;
  for (int64_t i = 0; i < rounds; ++i) a = a * x + 0.001f;
  return a;
}
float peak_read(const float* data, int64_t n) {
  float sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += data[i];
  return sum;
}
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
