// The output head and its cross-entropy, a chunk of rows at a time: all logits of GPT-2 at B=4, T=1024 would
// be 823 MB.
#include <algorithm>

#include "base/check.h"
#include "kernels/cross_entropy.h"
#include "kernels/matmul.h"
#include "nn/pass.h"

namespace tumbler::nn {

using kernels::bf16;
using kernels::kIgnoreTarget;

// Rows [begin, begin + rows): logits, losses and, with gradients, the head's weight gradient and d_norm (into
// a_.delta).
template <class T>
double Pass<T>::head_chunk(const Batch& batch, int64_t begin, int64_t rows, std::span<float> losses,
                           bool gradients) {
  const auto first = static_cast<size_t>(begin), count = static_cast<size_t>(rows);
  const std::span<T> x = a_.norm.subspan(first * static_cast<size_t>(C_)),
                     d_x = a_.delta.subspan(first * static_cast<size_t>(C_));
  const std::span<const T> weight = parameters_.model<T>().head;
  const int32_t* targets = batch.targets.data() + first;
  const float* weights = (batch.weights.empty() ? ones_.data() : batch.weights.data()) + first;
  const double product = 2.0 * static_cast<double>(rows) * static_cast<double>(V_ * C_);
  const bool nothing = std::all_of(targets, targets + rows, [](int32_t t) { return t == kIgnoreTarget; });
  if (nothing) {
    std::fill_n(a_.chunk_losses.begin(), count, 0.0f);
    if (gradients) std::fill_n(d_x.begin(), count * static_cast<size_t>(C_), T{});
  } else {
    {
      Profiler::Scope scope(profiler, "head", product);
      kernels::matmul_forward<T, T>(kernels::Matrix<T>(a_.logits.data(), rows, V_, a_.logits_stride),
                                    const_matrix(x, rows, C_), const_matrix(weight, V_, C_), nullptr, false);
    }
    {
      Profiler::Scope scope(profiler, "cross-entropy");
      if (gradients)
        kernels::cross_entropy_forward_backward<T>(a_.chunk_losses.data(), a_.logits.data(), targets, weights,
                                                   rows, V_, a_.logits_stride);
      else
        kernels::cross_entropy_forward<T>(a_.chunk_losses.data(), a_.logits.data(), targets, rows, V_,
                                          a_.logits_stride);
    }
    if (gradients) {
      // forward was: logits = x * head^T, and logits are now their own gradient.
      {
        Profiler::Scope scope(profiler, "head d_weight", product);
        kernels::matmul_backward_weight<T>(
            matrix(parameters_.model_gradients().head, V_, C_),
            kernels::Matrix<const T>(a_.logits.data(), rows, V_, a_.logits_stride), const_matrix(x, rows, C_),
            true);
      }
      Profiler::Scope scope(profiler, "head d_inp", product);
      kernels::matmul_backward_input<T, T>(
          matrix(d_x, rows, C_), kernels::Matrix<const T>(a_.logits.data(), rows, V_, a_.logits_stride),
          const_matrix(weight, V_, C_), false);
    }
  }
  if (!losses.empty()) std::copy_n(a_.chunk_losses.begin(), count, losses.begin() + begin);
  double sum = 0;
  for (size_t i = 0; i < count; ++i)
    if (weights[i] != 0.0f) sum += static_cast<double>(weights[i]) * static_cast<double>(a_.chunk_losses[i]);
  return sum;
}

template <class T>
double Pass<T>::head(const Batch& batch, std::span<float> losses, bool gradients) {
  const auto n = static_cast<size_t>(run_.N);
  CHECK(batch.targets.size() == n);
  CHECK(batch.weights.empty() || batch.weights.size() == n);
  CHECK(losses.empty() || losses.size() == n);
  for (const int32_t t : batch.targets)
    CHECK(t == kIgnoreTarget || (t >= 0 && t < V_), "target {} of vocabulary {}", t, V_);
  if (batch.weights.empty()) ones_.resize(n, 1.0f);
  // Chunks of about the same size, in whole tiles: 1024 rows that could go as 3*320 + 64 go as 4*256.
  const auto most = static_cast<int64_t>(a_.chunk_losses.size()), chunks = (run_.N + most - 1) / most;
  const int64_t chunk = std::min(most, round_up<int64_t>((run_.N + chunks - 1) / chunks, 64));
  double sum = 0;
  for (int64_t begin = 0; begin < run_.N; begin += chunk)
    sum += head_chunk(batch, begin, std::min(chunk, run_.N - begin), losses, gradients);
  return sum;
}

template <class T>
double Pass<T>::loss(const Batch& batch, std::span<float> losses, bool gradients) {
  CHECK(!gradients || options_.training);
  forward(batch);
  const double sum = head(batch, losses, gradients);
  if (gradients) backward();
  return sum;
}

template <class T>
void Pass<T>::logits(std::span<const int64_t> rows, std::span<float> out) {
  CHECK(run_.N > 0 && out.size() == rows.size() * static_cast<size_t>(V_));
  const auto most = run_.N;
  for (size_t begin = 0; begin < rows.size(); begin += static_cast<size_t>(most)) {
    const auto count = std::min<int64_t>(most, static_cast<int64_t>(rows.size() - begin));
    for (int64_t i = 0; i < count; ++i) {
      const int64_t row = rows[begin + static_cast<size_t>(i)];
      CHECK(row >= 0 && row < run_.N, "row {} of {}", row, run_.N);
      std::copy_n(a_.norm.begin() + row * C_, C_, a_.delta.begin() + i * C_);
    }
    kernels::matmul_forward<T, float>({out.data() + begin * static_cast<size_t>(V_), count, V_},
                                      const_matrix(a_.delta, count, C_),
                                      const_matrix(parameters_.model<T>().head, V_, C_), nullptr, false);
  }
}

template class Pass<float>;
template class Pass<bf16>;

}  // namespace tumbler::nn
